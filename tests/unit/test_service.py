"""The warm model of the service: opened once, used by one request at a time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthostat import storage
from orthostat.errors import BundleError, RefusedError, SceneError
from orthostat.planning.manifest import Recipe
from orthostat.prediction import batch as batch_module
from orthostat.prediction.facts import Facts
from orthostat.service.predictor import Predictor
from tests.unit.prediction_images import InThisProcess, make_recipe, write_image


class CountingModel(InThisProcess):
    """Knows how many predict at once."""

    running = 0
    most = 0

    def predict(self, image: Path, name: str, fill: float | None, folder: Path) -> Facts:
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.05)
        facts = super().predict(image, name, fill, folder)
        self.running -= 1
        return facts


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[CountingModel]:
    """The models that were opened, in this process instead of one of their own."""
    models: list[CountingModel] = []

    def open_process(*arguments: Any) -> CountingModel:
        models.append(CountingModel(*arguments))
        return models[-1]

    monkeypatch.setattr(batch_module, "ModelProcess", open_process)
    return models


@pytest.fixture
def image(tmp_path: Path) -> str:
    return str(write_image(tmp_path / "a.tif", np.array([[[50, 150], [200, 10]]], dtype=np.uint16)))


def recipe_of(tmp_path: Path, **changes: Any) -> Recipe:
    return make_recipe(tmp_path, engine="auto", fill=None, **changes)


def test_the_item_is_returned_when_it_is_committed(
    tmp_path: Path, image: str, opened: list[CountingModel]
) -> None:
    output = str(tmp_path / "out")
    item = Predictor().predict(recipe_of(tmp_path), image, output)
    assert item == storage.read_json(f"{output}/item.json")
    assert item["properties"]["orthostat:histogram"] == {"0": 2, "1": 2}
    assert storage.exists(f"{output}/labels.tif")


def test_a_model_stays_open_until_another_bundle_is_asked_for(
    tmp_path: Path, image: str, opened: list[CountingModel]
) -> None:
    predictor, recipe = Predictor(), recipe_of(tmp_path)
    for number in range(2):
        predictor.predict(recipe, image, str(tmp_path / str(number)))
    assert len(opened) == 1
    assert predictor.loaded_sha256 == recipe.sha256

    other = tmp_path / "other.zip"
    storage.write_bytes(str(other), Path(recipe.bundle).read_bytes() + b"\0")
    with pytest.raises(BundleError, match="named was ab"):
        predictor.predict(Recipe(bundle=str(other), sha256="ab" * 32), image, str(tmp_path / "out"))
    assert predictor.loaded_sha256 is None

    predictor.predict(recipe, image, str(tmp_path / "again"))
    assert len(opened) == 2


def test_a_failure_leaves_the_model_open(tmp_path: Path, image: str, opened: list[CountingModel]) -> None:
    predictor, recipe = Predictor(), recipe_of(tmp_path)
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(SceneError, match="no image"):
        predictor.predict(recipe, str(tmp_path / "text.tif"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    predictor.predict(recipe, image, str(tmp_path / "out"))
    assert len(opened) == 1


def test_requests_wait_for_each_other(tmp_path: Path, image: str, opened: list[CountingModel]) -> None:
    predictor, recipe = Predictor(), recipe_of(tmp_path)
    start = threading.Barrier(4)

    def request(number: int) -> None:
        start.wait()
        predictor.predict(recipe, image, str(tmp_path / str(number)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(request, range(4)))
    assert [model.most for model in opened] == [1]
    assert not predictor.is_busy


def test_only_the_named_bundles_are_opened(tmp_path: Path, image: str, opened: list[CountingModel]) -> None:
    recipe = recipe_of(tmp_path)
    with pytest.raises(RefusedError, match=r"none of the 1 .* start it with --sha256"):
        Predictor(["cd" * 32]).predict(recipe, image, str(tmp_path / "out"))
    with pytest.raises(RefusedError, match="none of the 1"):
        Predictor(["cd" * 32]).predict(Recipe(bundle=recipe.bundle), image, str(tmp_path / "out"))
    assert recipe.sha256
    Predictor([recipe.sha256.upper()]).predict(recipe, image, str(tmp_path / "out"))
    assert len(opened) == 1


def test_closing_removes_what_was_unpacked(
    tmp_path: Path, image: str, opened: list[CountingModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    predictor = Predictor()
    predictor.predict(recipe_of(tmp_path), image, str(tmp_path / "out"))
    assert [path for path in scratch.iterdir() if (path / "files/bundle").is_dir()]
    predictor.close()
    assert list(scratch.iterdir()) == []
    assert predictor.loaded_sha256 is None
