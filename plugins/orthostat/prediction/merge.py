"""From windows and their predictions to final labels, as Raster Vision merges them, but a strip at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rastervision.core.box import Box
from rastervision.core.data.label.semantic_segmentation_labels import SemanticSegmentationLabels

from orthostat.prediction.read import Area

Labels = tuple[Area, NDArray[np.uint8]]


@dataclass(frozen=True)
class Merge:
    """How predictions of windows become one label per pixel."""

    classes: int
    null_class: int
    """Class of pixels that no window hits, and of pixels without a score."""
    is_smooth: bool
    """Predictions are class scores that are averaged, not class ids that are counted as votes."""
    columns: int
    """Width of the pieces in which labels are given out."""

    def separate(
        self, windows: Iterable[Box], predictions: Iterable[NDArray[Any]], shape: tuple[int, int]
    ) -> Iterator[Labels]:
        """Labels of windows that do not overlap, one piece per window."""
        for window, prediction in zip(windows, predictions, strict=True):
            area = _area(window).clip(*shape)
            labels = self._empty(area.bottom - area.top, area.right - area.left)
            labels.add_window(_moved(window, area.top, area.left), prediction)
            yield area, self._read(labels, labels.extent)

    def overlapping(
        self, windows: Iterable[Box], predictions: Iterable[NDArray[Any]], shape: tuple[int, int], height: int
    ) -> Iterator[Labels]:
        """Labels of overlapping windows in row-major order, each at most `height` rows high.

        Rows above a row of windows are final: no later window reaches them.
        """
        rows, columns = shape
        strip = self._empty(height, columns)
        top = 0
        pairs = zip(windows, predictions, strict=True)
        for first, row in groupby(pairs, key=lambda pair: pair[0].ymin):
            final = min(first, rows) - top
            if final > 0:
                yield from self._pieces(strip, top, top + final, columns)
                self._roll(strip, final)
                top += final
            for window, prediction in row:
                strip.add_window(_moved(window, top, 0), prediction)
        yield from self._pieces(strip, top, rows, columns)

    def _pieces(self, strip: Any, top: int, bottom: int, columns: int) -> Iterator[Labels]:
        for left in range(0, columns, self.columns):
            area = Area(top, left, bottom, min(left + self.columns, columns))
            yield area, self._read(strip, Box(0, left, bottom - top, area.right))

    def _empty(self, rows: int, columns: int) -> Any:
        return SemanticSegmentationLabels.make_empty(
            Box(0, 0, rows, columns), self.classes, smooth=self.is_smooth
        )

    def _read(self, labels: Any, window: Box) -> NDArray[np.uint8]:
        return np.asarray(labels.get_label_arr(window, self.null_class), dtype=np.uint8)

    def _roll(self, strip: Any, rows: int) -> None:
        names = ("pixel_scores", "pixel_hits") if self.is_smooth else ("pixel_counts", "hit_mask")
        for array in (getattr(strip, name) for name in names):
            array[..., :-rows, :] = array[..., rows:, :].copy()
            array[..., -rows:, :] = 0


def _area(window: Box) -> Area:
    return Area(window.ymin, window.xmin, window.ymax, window.xmax)


def _moved(window: Box, top: int, left: int) -> Box:
    return Box(window.ymin - top, window.xmin - left, window.ymax - top, window.xmax - left)
