"""Small images, a model that runs in this process, and a batch of them, for tests that need no child."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from orthostat import storage
from orthostat.gdal import without_account
from orthostat.layout import Layout, PredictionKey
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.options import PredictOptions
from orthostat.planning.manifest import Batch, Recipe
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.engines.choice import EngineName, open_engine
from orthostat.prediction.facts import Facts
from orthostat.prediction.launch import Launched
from orthostat.prediction.local import predict_local
from tests.builders import make_scene
from tests.onnx_bundle import write_onnx_bundle


def write_image(path: Path, bands: Any, **profile: Any) -> Path:
    """A GeoTIFF of `bands`, shape (bands, rows, columns), near 15 degrees east, 45 degrees north."""
    values: NDArray[Any] = np.asarray(bands)
    count, rows, columns = values.shape
    fields: dict[str, Any] = {
        "driver": "GTiff",
        "count": count,
        "height": rows,
        "width": columns,
        "dtype": values.dtype.name,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 500000, 0, -10, 4983400),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **(fields | profile)) as dataset:
        dataset.write(values)
    return path


class InThisProcess:
    """Stands in for ModelProcess: the same engine, without a child."""

    def __init__(
        self,
        bundle: Bundle,
        engine: EngineName,
        options: PredictOptions,
        scratch: Path,
        limits: Limits,
        early: Launched | None = None,
    ):
        self.sha256 = bundle.sha256
        self.engine = engine
        self._options = options
        self._limits = limits
        self._engine = open_engine(engine, bundle, options, 1)
        self.model = self._engine.description
        self.software, self.device = self._engine.software, self._engine.device

    def __enter__(self) -> "InThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """It runs."""

    def predict(self, image: Path, name: str, fill: float | None, folder: Path, report: Any = None) -> Facts:
        """Predict a local image; a child has no account of S3 either."""
        with without_account():
            return predict_local(self._engine, image, name, fill, folder, self._options, limits=self._limits)


def make_recipe(folder: Path, **changes: Any) -> Recipe:
    """A recipe for a model that says `high` where the only band, uint16, is over 100."""
    bundle = write_onnx_bundle(folder / "bundle.zip")
    fields: dict[str, Any] = {
        "bundle": str(bundle),
        "sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
        "engine": "onnx",
        "fill": 0,
    }
    return Recipe.model_validate(fields | changes)


def make_batch(folder: Path, names: list[str], recipe: Recipe | None = None, **changes: Any) -> Batch:
    """A batch of `scenes/NAME.tif` in `folder`, whose etags are those of the files as they are now."""
    scenes = []
    for name in names:
        found = storage.describe(str(folder / "scenes" / f"{name}.tif"))
        scenes.append(make_scene(name, image_uri=found.uri, etag=found.etag, size_bytes=found.size_bytes))
    fields: dict[str, Any] = {
        "output": str(folder / "output"),
        "recipe": recipe or make_recipe(folder),
        "options_sha256": "cd" * 32,
        "scenes": tuple(scenes),
    }
    return Batch.model_validate(fields | changes)


def key_of(batch: Batch, number: int) -> PredictionKey:
    """Where the prediction of a batch's scene goes."""
    scene = batch.scenes[number]
    return Layout(batch.output).prediction(
        batch.recipe.sha256 or "", batch.options_sha256, scene.acquired, scene.scene_id, scene.etag
    )
