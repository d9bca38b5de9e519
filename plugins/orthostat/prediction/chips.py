"""Chips of an image, read and prepared ahead of the model, a batch at a time."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthostat.prediction.blocks import Area
from orthostat.prediction.read import Image
from orthostat.prediction.windows import Span, Window

Prepare = Callable[[NDArray[Any]], NDArray[np.float32]]
"""From a chip as it is read, (rows, columns, channels), to the network's (channels, rows, columns)."""

_AHEAD = 2
"""Batches that wait for the model: one would do, but chips take unequal times."""
_EMPTY_AT_ONCE = 256
"""Windows without data that are handed on together, at most."""


@dataclass(frozen=True)
class Chip:
    """A window of the image."""

    window: Window
    valid: NDArray[np.bool_]
    """Shape (rows, columns): which pixels of the window's part inside the image hold data."""

    @property
    def is_empty(self) -> bool:
        """Nothing to predict."""
        return not self.valid.any()


@dataclass(frozen=True)
class ChipBatch:
    """Chips in the order of their windows, and what the network takes of those that hold data."""

    chips: Sequence[Chip]
    values: NDArray[np.float32] | None
    """Shape (chips with data, channels, rows, columns); None where there are none."""

    def pair(self, outputs: Iterable[Any]) -> Iterator[tuple[Chip, Any]]:
        """Each chip with the network's output for it, None for those without data."""
        remaining = iter(outputs)
        for chip in self.chips:
            yield chip, None if chip.is_empty else next(remaining)


def read_chips(
    image: Image, span: Span, channels: Sequence[int], prepare: Prepare, batch_size: int
) -> Iterator[ChipBatch]:
    """All chips of a span in row-major order, read by a thread of their own.

    Chips without data are not prepared and cost the model nothing. Raises SceneError when the image cannot be
    decoded, and whatever `prepare` raises.
    """
    batches: queue.Queue[ChipBatch | BaseException | None] = queue.Queue(_AHEAD)
    is_over = threading.Event()

    def fill() -> None:
        try:
            for batch in _batches(image, span, channels, prepare, batch_size):
                batches.put(batch)
                if is_over.is_set():
                    return
            batches.put(None)
        except BaseException as error:
            batches.put(error)

    reader = threading.Thread(target=fill, name="read", daemon=True)
    reader.start()
    try:
        while (batch := batches.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        is_over.set()
        while reader.is_alive():  # it may wait for room
            try:
                batches.get(timeout=0.05)
            except queue.Empty:
                continue


def _batches(
    image: Image, span: Span, channels: Sequence[int], prepare: Prepare, batch_size: int
) -> Iterator[ChipBatch]:
    chips: list[Chip] = []
    values: list[NDArray[np.float32]] = []
    for row in span.rows():
        block = image.block(_around(row, image.shape))
        for window in row:
            chip = Chip(window, block.valid_in(window.area))
            chips.append(chip)
            if not chip.is_empty:
                values.append(prepare(block.chip(window.area, channels)))
            if len(values) == batch_size or len(chips) == _EMPTY_AT_ONCE:
                yield ChipBatch(chips, np.stack(values) if values else None)
                chips, values = [], []
    if chips:
        yield ChipBatch(chips, np.stack(values) if values else None)


def _around(row: Sequence[Window], shape: tuple[int, int]) -> Area:
    """The part of the image that holds a row of windows: each block of the file is decoded once."""
    first, last = row[0].area, row[-1].area
    return Area(first.top, first.left, last.bottom, last.right).clip(*shape)
