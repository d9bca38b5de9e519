"""Where the model looks: windows of an image, in the order and with the padding of Raster Vision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from orthostat.prediction.blocks import Area
from orthostat.prediction.options import ModelOptions

SPAN = 4096
"""Width in pixels of the part of an image that is worked on at a time: it bounds memory."""


@dataclass(frozen=True)
class Window:
    """A chip's place; like its parts, it may reach outside the image."""

    area: Area
    kept: Area
    """The part whose labels are kept."""
    own: Area
    """The part in which no later window begins: the own parts of all windows are the image, once."""


@dataclass(frozen=True)
class Span:
    """Columns `left` to before `right` of an image, and windows in them."""

    left: int
    right: int
    tops: Sequence[int]
    lefts: Sequence[int]
    options: ModelOptions
    last: tuple[int, int]
    """First row of the last windows, and first column."""

    def rows(self) -> Iterator[list[Window]]:
        """Windows row by row, from left to right."""
        for top in self.tops:
            yield [self._window(top, left) for left in self.lefts]

    def _window(self, top: int, left: int) -> Window:
        size, stride, crop = self.options.chip_size, self.options.stride, self.options.crop_size or 0
        last_top, last_left = self.last
        return Window(
            area=Area(top, left, top + size, left + size),
            kept=Area(top + crop, left + crop, top + size - crop, left + size - crop),
            own=Area(
                top,
                left,
                top + (size if top == last_top else stride),
                left + (size if left == last_left else stride),
            ),
        )


def spans(
    shape: tuple[int, int], options: ModelOptions, *, each_once: bool = False, width: int = SPAN
) -> Iterator[Span]:
    """The image, of `shape` rows and columns, from left to right.

    A window at a seam belongs to both spans, so that each has all that has a say in its pixels, or with
    `each_once` to the one in which it begins. Within a span windows come in row-major order, as in Raster
    Vision's Box.get_windows: whatever is added up is added in the same order for every pixel.
    """
    rows, columns = shape
    size, stride, crop = options.chip_size, options.stride, options.crop_size
    tops, lefts = starts(rows, size, stride, crop), starts(columns, size, stride, crop)
    step = max(width // stride, 1) * stride
    for left in range(0, columns, step):
        right = min(left + step, columns)
        reach = 0 if each_once else size - 1
        yield Span(
            left, right, tops, [i for i in lefts if left - reach <= i < right], options, (tops[-1], lefts[-1])
        )


def starts(extent: int, size: int, stride: int, crop: int | None) -> list[int]:
    """First pixels of the windows along one side of an image.

    Without crop the last window may reach beyond the end; with it, windows reach beyond both ends, as
    calculate_required_padding has it (rastervision/core/utils/misc.py).
    """
    if crop is None:
        padding = _required(extent, size, stride)
        return list(range(0, extent + padding - size + 1, stride))
    padding = ceil(_required(extent, size - 2 * crop, stride) / 2) + 2 * crop
    return list(range(-padding, extent + padding - size + 1, stride))


def _required(extent: int, size: int, stride: int) -> int:
    if extent <= size:
        return size - extent
    return size + ceil((extent - size) / stride) * stride - extent
