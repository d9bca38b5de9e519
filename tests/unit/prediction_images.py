"""Small images, a stand-in for the model, and a batch of them, for tests that need no torch."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import rasterio
from numpy.typing import NDArray

from orthostat import storage
from orthostat.errors import SceneError
from orthostat.layout import Layout, PredictionKey
from orthostat.planning.manifest import Batch
from orthostat.prediction.item import LabelClass
from orthostat.prediction.read import Area, Image
from tests.builders import make_scene


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


class HalvingModel:
    """Class 1 where the first band is over 100, else class 0; two rows at a time. Takes one band."""

    classes = (LabelClass(0, "low", "0000FF"), LabelClass(1, "high", "FFFF00"))
    options = SimpleNamespace(chip_size=2, batch_size=1)
    software: ClassVar = {"numpy": "2"}

    def check(self, image: Image) -> None:
        if image.bands != 1:
            raise SceneError(f"{image.name} has {image.bands} bands, the model takes 1")

    def label(self, image: Image) -> Iterator[tuple[Area, NDArray[np.uint8]]]:
        rows, columns = image.shape
        for top in range(0, rows, 2):
            area = Area(top, 0, min(top + 2, rows), columns)
            yield area, (image.block(area).values.data[0] > 100).astype(np.uint8)


def write_empty_bundle(uri: str) -> str:
    """A bundle that unpacks but holds no model; returns its digest."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(zipfile.ZipInfo("learner-config.json"), "{}")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("pipeline-config.json"), "{}")
        archive.writestr(zipfile.ZipInfo("model-bundle.zip"), inner.getvalue())
    storage.write_bytes(uri, outer.getvalue())
    return hashlib.sha256(outer.getvalue()).hexdigest()


def make_batch(folder: Path, names: list[str], **changes: Any) -> Batch:
    """A batch of `scenes/NAME.tif` in `folder`, whose etags are those of the files as they are now."""
    scenes = []
    for name in names:
        found = storage.describe(str(folder / "scenes" / f"{name}.tif"))
        scenes.append(make_scene(name, image_uri=found.uri, etag=found.etag, size_bytes=found.size_bytes))
    fields: dict[str, Any] = {
        "output": str(folder / "output"),
        "bundle": str(folder / "bundle.zip"),
        "bundle_sha256": write_empty_bundle(str(folder / "bundle.zip")),
        "chip_size": 2,
        "batch_size": 1,
        "fill": 0,
        "options_sha256": "cd" * 32,
        "scenes": tuple(scenes),
    }
    return Batch.model_validate(fields | changes)


def key_of(batch: Batch, number: int) -> PredictionKey:
    """Where the prediction of a batch's scene goes."""
    scene = batch.scenes[number]
    return Layout(batch.output).prediction(
        batch.bundle_sha256, batch.options_sha256, scene.acquired, scene.scene_id, scene.etag
    )
