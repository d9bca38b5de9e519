"""Predicting one scene: from an image file to a class raster, then to the Item that commits it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from orthostat import __version__, storage
from orthostat.errors import OrthostatError
from orthostat.layout import PredictionKey
from orthostat.prediction.failure import Failure
from orthostat.prediction.item import Prediction
from orthostat.prediction.read import Block, Image, crs_text, open_image
from orthostat.prediction.write import LabelRaster, create_labels, read_grid, write_cog
from orthostat.scenes.scene import Scene

if TYPE_CHECKING:
    from orthostat.prediction.model import Model

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_GEOJSON = "application/geo+json"


@dataclass(frozen=True)
class Work:
    """One scene to predict, and where its prediction goes."""

    scene: Scene
    key: PredictionKey
    is_dated_by_file: bool = False
    """Take the acquisition time from the file's TIFFTAG_DATETIME where it has one."""


def predict_scene(
    model: "Model", model_sha256: str, work: Work, path: Path, fill: float | None, scratch: Path
) -> Prediction:
    """Predict the image at `path`, store the class raster, and commit it by storing the Item last.

    Raises SceneError when the image cannot be used, StorageError when the result cannot be stored.
    """
    scene = work.scene
    with open_image(path, scene.image_uri, fill) as image:
        model.check(image)
        ranges = ValueRanges(image.bands)
        with create_labels(scratch / "plain.tif", image, model.classes) as labels:
            _fill_labels(model, image, labels, ranges)
        write_cog(scratch / "plain.tif", scratch / "labels.tif")
        histogram = labels.histogram()
        dated = image.acquired() if work.is_dated_by_file else None
        written = read_grid(scratch / "labels.tif")
        rows, columns = written.shape
        prediction = Prediction(
            scene_id=scene.scene_id,
            labels_href=work.key.labels,
            labels_sha256=storage.file_sha256(scratch / "labels.tif"),
            acquired=dated or scene.acquired,
            crs=written.crs,
            shape=written.shape,
            transform=written.transform,
            classes=model.classes,
            histogram=histogram,
            valid_fraction=sum(histogram.values()) / (rows * columns),
            value_ranges=ranges.ranges(),
            model_sha256=model_sha256,
            options={"chip_size": model.options.chip_size, "batch_size": model.options.batch_size},
            source_uri=scene.image_uri,
            source_etag=scene.etag,
            source_last_modified=scene.last_modified,
            source_crs=crs_text(image.crs),
            source_shape=image.shape,
            code_version=__version__,
            software=model.software,
            cloud_cover_pct=scene.cloud_cover_pct,
        )
    storage.upload(scratch / "labels.tif", work.key.labels, _COG)
    storage.write_bytes(work.key.item, storage.dump_json(prediction.to_stac()), _GEOJSON)
    storage.delete(work.key.failure)
    return prediction


def record_failure(work: Work, kind: Literal["image", "runtime"], error: Exception) -> Failure:
    """Store why a scene has no prediction. A prediction that stands there from before is left alone."""
    scene = work.scene
    reason = str(error) if isinstance(error, OrthostatError) else f"{type(error).__name__}: {error}"
    failure = Failure(
        scene_id=scene.scene_id, image_uri=scene.image_uri, etag=scene.etag, kind=kind, reason=reason
    )
    storage.write_json(work.key.failure, failure.model_dump(mode="json"))
    return failure


class ValueRanges:
    """Smallest and largest valid value of each band, while blocks pass by."""

    def __init__(self, bands: int):
        self._low: NDArray[np.float64] = np.full(bands, np.inf)
        self._high: NDArray[np.float64] = np.full(bands, -np.inf)

    def add(self, block: Block) -> None:
        """Take the block's valid, finite values into account."""
        for band, values in enumerate(block.values):
            kept = values[block.valid].compressed()
            kept = kept[np.isfinite(kept)]
            if kept.size:
                self._low[band] = min(self._low[band], kept.min())
                self._high[band] = max(self._high[band], kept.max())

    def ranges(self) -> tuple[tuple[float, float] | None, ...]:
        """Per band; None where the band has no valid value."""
        return tuple(
            (float(low), float(high)) if low <= high else None
            for low, high in zip(self._low, self._high, strict=True)
        )


def _fill_labels(model: "Model", image: Image, labels: LabelRaster, ranges: ValueRanges) -> None:
    for area, class_ids in model.label(image):
        block = image.block(area)
        ranges.add(block)
        labels.write(area, class_ids, block.valid)
