"""What the process of the model tells its parent of a prediction."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

BUNDLE, IMAGE = "{bundle}", "{image}"
"""What the process calls bundle and image: the parent, which knows their addresses, puts these in."""


@dataclass(frozen=True)
class BandFacts:
    """A band that the model reads."""

    name: str | None
    """As the image calls it."""
    mean: float | None
    """Of the valid pixels; None without any."""
    deviation: float | None
    """Standard deviation of the valid pixels."""


class Facts(BaseModel):
    """What is known of a prediction once its files lie there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[str, ...]
    """Names of the files in the folder of the prediction."""
    crs: str | None
    """Of the files as written; None when the image has no place on Earth."""
    shape: tuple[int, int]
    """Rows and columns of the class raster as written."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients a, b, c, d, e, f from (column, row) to (x, y)."""
    histogram: dict[int, int]
    """Valid pixels per class id; for detections, observed pixels under 0."""
    counts: dict[int, int] | None
    """Cells or objects per class id; None for segmentation."""
    nonfinite_pixels: int
    """Pixels without data because a band that the model reads is NaN or infinite there."""
    valid_fraction: float
    """Share of the pixels that hold data."""
    value_ranges: tuple[tuple[float, float] | None, ...]
    """Smallest and largest valid value of each band of the image; None for a band without one."""
    bands: tuple[BandFacts, ...] = ()
    """Those that the model reads, in its order."""
    mean_score: float | None = None
    """Mean score of the winning classes, or of the objects found; None without any."""
    acquired: str | None
    """TIFFTAG_DATETIME, ISO 8601, where the file has a readable one."""
    source_crs: str | None
    source_shape: tuple[int, int]
