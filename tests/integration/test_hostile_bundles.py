"""Hostile bundles with code of their own, by the engine raster-vision: what they see, and that they never
meet."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from orthostat import storage
from orthostat.errors import BundleError
from orthostat.planning.manifest import Recipe
from orthostat.prediction.batch import open_model
from orthostat.service.models import WarmModels
from tests.integration import prediction_bundle
from tests.integration.prediction_bundle import write_bundle
from tests.unit.prediction_images import write_image

pytestmark = pytest.mark.slow

LOOK = """
import os as _os
if "PYTEST_CURRENT_TEST" not in _os.environ:
    _seen = sorted(name for name in _os.environ if name.startswith(("AWS", "ORTHOSTAT", "AIRFLOW", "PG")))
    raise RuntimeError(f"seen: {_seen}, argv: {_os.sys.argv[1:]}")
"""


def test_code_of_a_bundle_sees_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by the bundle's own code, when its network is loaded."""
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "ORTHOSTAT_DATABASE_URL",
        "AIRFLOW__CORE__FERNET_KEY",
        "PGPASSWORD",
    ):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setattr(prediction_bundle, "HUBCONF", prediction_bundle.HUBCONF + LOOK)
    bundle = write_bundle(tmp_path / "bundle.zip", has_onnx=False)
    with (
        pytest.raises(BundleError, match=r"RuntimeError: seen: \[\]"),
        open_model(Recipe(bundle=str(bundle), engine="raster-vision")),
    ):
        pass


def test_modules_of_the_same_name_in_two_bundles_do_not_meet(tmp_path: Path) -> None:
    """Both are called tiny, and one turns its scores round; each Item bears its own labels."""
    image = write_image(tmp_path / "a.tif", np.random.default_rng(3).integers(1, 900, (3, 64, 64), np.uint16))
    models, found = WarmModels(2, 1e6), {}
    for name in ("plain", "turned"):
        source = prediction_bundle.HUBCONF
        with pytest.MonkeyPatch.context() as patch:
            if name == "turned":
                patch.setattr(
                    prediction_bundle, "HUBCONF", source.replace("return torch.sin(4", "return -torch.sin(4")
                )
            bundle = write_bundle(tmp_path / f"{name}.zip", has_onnx=False, chip_sz=64)
        recipe = Recipe(bundle=str(bundle), sha256=storage.file_sha256(bundle), engine="raster-vision")
        (tmp_path / name).mkdir()
        with models.borrow(recipe, is_large=False) as process:
            process.predict(image, "a.tif", None, tmp_path / name)
        with rasterio.open(tmp_path / name / "labels.tif") as labels:
            found[name] = labels.read(1)
    assert models.count == 2
    models.close()
    assert (found["plain"] != found["turned"]).mean() > 0.5
