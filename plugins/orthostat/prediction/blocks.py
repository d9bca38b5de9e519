"""Rectangles of an image, and the pixels that were read in one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

_FARTHEST = 1e30
"""No measurement is larger; programs write the ends of float32 (3.4e38) where there are no data."""


def is_finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each value is a number that can be calculated with: not NaN, not infinite, nor beyond 1e30."""
    with np.errstate(invalid="ignore"):
        finite: NDArray[np.bool_] = np.abs(values) < _FARTHEST
    return finite


@dataclass(frozen=True)
class Area:
    """A rectangle of pixels: rows `top` to before `bottom`, columns `left` to before `right`."""

    top: int
    left: int
    bottom: int
    right: int

    def intersection(self, other: "Area") -> "Area":
        """The part that both have; they must touch."""
        return Area(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def clip(self, rows: int, columns: int) -> "Area":
        """The part inside a raster of that shape."""
        return Area(max(self.top, 0), max(self.left, 0), min(self.bottom, rows), min(self.right, columns))

    def slices(self, top: int, left: int) -> tuple[slice, slice]:
        """Rows and columns of this area in an array whose first pixel is (top, left)."""
        return slice(self.top - top, self.bottom - top), slice(self.left - left, self.right - left)

    @property
    def window(self) -> Window:
        """For rasterio."""
        return Window(self.left, self.top, self.right - self.left, self.bottom - self.top)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Block:
    """Pixels of an image that were read together."""

    area: Area
    values: np.ma.MaskedArray[Any, Any]
    """Shape (bands, rows, columns); masked where the file says that a band holds no data."""
    valid: NDArray[np.bool_]
    """Shape (rows, columns): pixels that hold data."""
    nodata: Sequence[float | None]
    """What the file says means no data, per band."""

    def chip(self, area: Area, channels: Sequence[int]) -> NDArray[Any]:
        """Shape (rows, columns, channels), zero outside the block and where the file says no data.

        This is what Raster Vision's RasterioSource gives its transformers (core/data/utils/rasterio.py), if
        the block holds all of the image that lies in `area`.
        """
        inside = area.intersection(self.area)
        values = self.values[list(channels), *inside.slices(self.area.top, self.area.left)].filled(0)
        chip = np.zeros((area.bottom - area.top, area.right - area.left, len(channels)), values.dtype)
        for band, channel in zip(values, channels, strict=True):
            nodata = self.nodata[channel]
            if nodata is not None and nodata != 0:
                band[band == nodata] = 0
            if np.issubdtype(band.dtype, np.floating):  # one NaN would spread over all that the network sees
                band[~is_finite(band)] = 0
        chip[inside.slices(area.top, area.left)] = values.transpose(1, 2, 0)
        return chip

    def valid_in(self, area: Area) -> NDArray[np.bool_]:
        """Which pixels of the part of `area` inside the block hold data."""
        rows, columns = area.intersection(self.area).slices(self.area.top, self.area.left)
        return self.valid[rows, columns]
