"""The values of an image's bands, counted while its blocks pass by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthostat.prediction.blocks import Area, Block, is_finite


class BandValues:
    """Smallest, largest and mean values, each pixel once: neighbouring blocks overlap."""

    def __init__(self, bands: int):
        self._low: NDArray[np.float64] = np.full(bands, np.inf)
        self._high: NDArray[np.float64] = np.full(bands, -np.inf)
        self._count = np.zeros(bands, np.int64)
        self._sum = np.zeros(bands)
        self._squares = np.zeros(bands)
        self._shift: NDArray[np.float64] = np.full(bands, np.nan)
        self.nonfinite_pixels = 0
        """Pixels where a band that the model reads is NaN, infinite or beyond 1e30."""
        self._left, self._right, self._bottom, self._done = -1, 0, 0, 0

    def add(self, block: Block, model_bands: Sequence[int]) -> None:
        """Take into account what of the block is new; blocks come down a strip, strips from left to right."""
        area = self._new_part(block.area)
        rows, columns = area.slices(block.area.top, block.area.left)
        values = block.values.data[:, rows, columns]
        missing = np.ma.getmaskarray(block.values)[:, rows, columns]
        valid = block.valid[rows, columns]
        is_float = np.issubdtype(values.dtype, np.floating)
        if is_float:
            finite = is_finite(values)
            self.nonfinite_pixels += int((~finite[list(model_bands)]).any(axis=0).sum())
        for band, of_band in enumerate(values):
            counted = valid & ~missing[band]
            if is_float:
                counted &= finite[band]
            # Most blocks are whole: no copy of them.
            self._add_values(band, of_band.ravel() if counted.all() else of_band[counted])

    def _add_values(self, band: int, kept: NDArray[Any]) -> None:
        if not kept.size:
            return
        self._low[band] = min(self._low[band], kept.min())
        self._high[band] = max(self._high[band], kept.max())
        if np.isnan(self._shift[band]):  # near the mean, so that squares do not swallow their differences
            self._shift[band] = kept.mean(dtype=np.float64)
        moved = kept - self._shift[band]
        self._count[band] += kept.size
        self._sum[band] += moved.sum()
        self._squares[band] += np.dot(moved, moved)

    def _new_part(self, area: Area) -> Area:
        if area.left != self._left:
            self._done, self._left, self._bottom = self._right, area.left, 0
        fresh = Area(
            min(max(area.top, self._bottom), area.bottom),
            min(max(area.left, self._done), area.right),
            area.bottom,
            area.right,
        )
        self._bottom, self._right = max(self._bottom, area.bottom), max(self._right, area.right)
        return fresh

    def ranges(self) -> list[tuple[float, float] | None]:
        """Smallest and largest value per band; None where the band has no valid value."""
        return [
            (float(low), float(high)) if low <= high else None
            for low, high in zip(self._low, self._high, strict=True)
        ]

    def mean_and_deviation(self, band: int) -> tuple[float | None, float | None]:
        """Of the valid pixels of a band; None without any."""
        count = self._count[band]
        if not count:
            return None, None
        mean = self._sum[band] / count
        variance = max(self._squares[band] / count - mean**2, 0.0)
        return float(self._shift[band] + mean), float(np.sqrt(variance))
