"""A prediction: what is known of it without opening its pixels."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orthostat.prediction.classes import LabelClass
from orthostat.prediction.description import Task
from orthostat.prediction.engines.choice import EngineName
from orthostat.prediction.facts import BandFacts


@dataclass(frozen=True)
class File:
    """A stored file of a prediction."""

    href: str
    """Its URI."""
    sha256: str
    """Digest of its bytes: equal bytes give equal statistics."""


@dataclass(frozen=True)
class Prediction:
    """A committed prediction and its facts."""

    scene_id: str
    task: Task
    files: dict[str, File]
    """By name: `labels.tif` (segmentation and classification), `cells.parquet`, `detections.parquet`,
    `observed.tif` (detection: where there is data), `scores.tif`, `polygons.parquet`, `preview.png`."""
    acquired: datetime
    crs: str | None
    """Of the files as written; `EPSG:code`, else WKT; None when the image has no place on Earth."""
    shape: tuple[int, int]
    """Rows and columns of the labels as written."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients a, b, c, d, e, f from (column, row) to (x, y)."""
    classes: tuple[LabelClass, ...]
    histogram: dict[int, int]
    """Valid pixels per class id; for detections, observed pixels under 0."""
    counts: dict[int, int] | None
    """Cells or objects per class id; None for segmentation."""
    valid_fraction: float
    """Share of the pixels that hold data."""
    value_ranges: tuple[tuple[float, float] | None, ...]
    """Smallest and largest valid value of each band of the image; None for a band without one."""
    model_uri: str
    model_sha256: str
    network: str
    """The backbone, or the module of the bundle that makes the network."""
    channels: int
    """Channels that the network takes."""
    image_size: int
    """Side in pixels of what the network takes."""
    engine: EngineName
    device: str
    options: dict[str, Any]
    source_uri: str
    source_etag: str
    source_last_modified: datetime
    source_crs: str | None
    """Of the image, to be held against the labels' own `crs`."""
    source_shape: tuple[int, int]
    """Rows and columns of the image, to be held against the labels' own `shape`."""
    code_version: str
    software: dict[str, str]
    """Versions of what computed the labels."""
    cloud_cover_pct: float | None = None
    source_parts: tuple[str, ...] = ()
    """Files of a scene that has several; `source_uri` is the first of them."""
    nonfinite_pixels: int = 0
    """Pixels without data because a band that the model reads is NaN or infinite there."""
    bands: tuple[BandFacts, ...] = ()
    """Those that the model reads, in its order."""
    mean_score: float | None = None
    """Mean score of the winning classes, or of the objects found; None without any."""
    platform: str | None = None
    """What took the image, where the archive says so."""
    generation: str | None = None
    """The re-prediction that it comes from; None for the first."""

    @property
    def labels(self) -> File:
        """The class raster (uint8 class ids, nodata 255); for detections, 0 where there is data."""
        return self.files["observed.tif" if self.task == "object_detection" else "labels.tif"]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in `crs`."""
        rows, columns = self.shape
        a, b, c, d, e, f = self.transform
        xs = [c, c + a * columns, c + b * rows, c + a * columns + b * rows]
        ys = [f, f + d * columns, f + e * rows, f + d * columns + e * rows]
        return min(xs), min(ys), max(xs), max(ys)
