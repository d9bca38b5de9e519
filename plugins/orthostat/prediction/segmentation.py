"""Semantic segmentation: from predictions of windows to one label per pixel, as Raster Vision merges them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from orthostat.prediction.blocks import Area
from orthostat.prediction.chips import Chip, ChipBatch, read_chips
from orthostat.prediction.engines.engine import Engine
from orthostat.prediction.read import Image
from orthostat.prediction.windows import Span, spans

Scores = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Piece:
    """Final labels of a part of the image."""

    area: Area
    labels: NDArray[np.uint8]
    """Shape (rows, columns)."""
    valid: NDArray[np.bool_]
    """Shape (rows, columns): pixels that hold data."""
    scores: Scores | None = None
    """Shape (classes, rows, columns), when they are averaged."""


def label_image(
    engine: Engine, image: Image, channels: Sequence[int], report: Callable[[Area], None] = lambda area: None
) -> Iterator[Piece]:
    """Labels of the whole image, in pieces that do not overlap and leave nothing out.

    Windows, their order and batches are those of Raster Vision's predict_scene_ss
    (pytorch_learner/utils/prediction.py), so that even floating-point results are the same. `report` gets the
    place of each window that is done. Raises SceneError when the image cannot be decoded.
    """
    options = engine.options
    classes, null_class = len(engine.description.classes), engine.description.null_class or 0
    for span in spans(image.shape, options):
        predicted = _predict(engine, image, span, channels, report)
        if not options.is_overlapping and not options.is_smooth:
            yield from _separate(predicted, image.shape, classes)
            continue
        make = Averages if options.is_smooth else Votes
        strip = Strip(
            make(classes, options.chip_size, span.right - span.left, null_class), span, image.shape[0]
        )
        yield from strip.merge(predicted)


def _predict(
    engine: Engine, image: Image, span: Span, channels: Sequence[int], report: Callable[[Area], None]
) -> Iterator[tuple[Chip, NDArray[Any] | None]]:
    """Each chip with its labels or scores; the model runs a batch ahead of the caller."""

    def segment(batch: ChipBatch) -> Iterable[Any]:
        if batch.values is None:
            return ()
        return engine.segment(batch.values, scores=engine.options.is_smooth)

    batches = read_chips(image, span, channels, engine.prepare, engine.options.batch_size)
    with ThreadPoolExecutor(1, thread_name_prefix="model") as model:
        for batch, outputs in _one_ahead((batch, model.submit(segment, batch)) for batch in batches):
            for chip, output in batch.pair(outputs.result()):
                report(chip.window.area)
                yield chip, output


def _one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each drawn before the one before it is handed on."""
    waiting: list[T] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def _separate(
    predicted: Iterator[tuple[Chip, NDArray[np.uint8] | None]], shape: tuple[int, int], classes: int
) -> Iterator[Piece]:
    """Labels of windows that do not overlap, one piece per window."""
    for chip, labels in predicted:
        area = chip.window.area.clip(*shape)
        if labels is None:
            yield Piece(area, np.zeros(chip.valid.shape, np.uint8), chip.valid)
            continue
        labels = labels[area.slices(chip.window.area.top, chip.window.area.left)]
        # A class that the bundle does not name gets no vote, and the first of classes without votes wins.
        yield Piece(area, np.where(labels < classes, labels, np.uint8(0)), chip.valid)


class Ballot(Protocol):
    """What windows say of the pixels of a strip."""

    def add(self, rows: slice, columns: slice, prediction: NDArray[Any]) -> None:
        """Take one window's prediction for a part of the strip into account."""
        ...

    def read(self, rows: int) -> tuple[NDArray[np.uint8], Scores | None]:
        """Labels of the first rows, and scores where there are any."""
        ...

    def roll(self, rows: int) -> None:
        """Forget the first rows, and begin as many at the end."""
        ...


class Votes:
    """Class ids are counted; uint8 counts, and the first of equals, as SemanticSegmentationDiscreteLabels."""

    def __init__(self, classes: int, rows: int, columns: int, null_class: int):
        self._counts = np.zeros((classes, rows, columns), np.uint8)
        self._is_hit = np.zeros((rows, columns), bool)
        self._null_class = null_class

    def add(self, rows: slice, columns: slice, prediction: NDArray[Any]) -> None:
        """Count the class ids, shape (rows, columns)."""
        for class_id, counts in enumerate(self._counts[:, rows, columns]):
            counts += prediction == class_id
        self._is_hit[rows, columns] = True

    def read(self, rows: int) -> tuple[NDArray[np.uint8], Scores | None]:
        """Labels of the first rows."""
        labels = self._counts[:, :rows].argmax(axis=0)
        return np.where(self._is_hit[:rows], labels, self._null_class).astype(np.uint8), None

    def roll(self, rows: int) -> None:
        """Forget the first rows."""
        _roll(self._counts, rows)
        _roll(self._is_hit, rows)


class Averages:
    """Scores are averaged in float16, as SemanticSegmentationSmoothLabels."""

    def __init__(self, classes: int, rows: int, columns: int, null_class: int):
        self._sums = np.zeros((classes, rows, columns), np.float16)
        self._hits = np.zeros((rows, columns), np.uint8)
        self._null_class = null_class

    def add(self, rows: slice, columns: slice, prediction: NDArray[Any]) -> None:
        """Add the scores, shape (classes, rows, columns)."""
        self._sums[:, rows, columns] += prediction.astype(np.float16)
        self._hits[rows, columns] += 1

    def read(self, rows: int) -> tuple[NDArray[np.uint8], Scores | None]:
        """Labels of the first rows, and their averages."""
        with np.errstate(invalid="ignore", divide="ignore"):
            averages = self._sums[:, :rows] / self._hits[:rows]
        labels = np.where(np.isnan(averages[0]), self._null_class, averages.argmax(axis=0))
        return labels.astype(np.uint8), averages.astype(np.float32)

    def roll(self, rows: int) -> None:
        """Forget the first rows."""
        _roll(self._sums, rows)
        _roll(self._hits, rows)


def _roll(array: NDArray[Any], rows: int) -> None:
    array[..., :-rows, :] = array[..., rows:, :].copy()
    array[..., -rows:, :] = 0


class Strip:
    """As many rows of a span as a window has: rows above the next row of windows are final."""

    def __init__(self, ballot: Ballot, span: Span, rows: int):
        self._ballot = ballot
        self._span = span
        self._rows = rows
        self._top = 0
        self._valid = np.zeros((span.options.chip_size, span.right - span.left), bool)

    def merge(self, predicted: Iterator[tuple[Chip, NDArray[Any] | None]]) -> Iterator[Piece]:
        """Pieces from top to bottom, each as wide as the span."""
        for chip, prediction in predicted:
            final = min(chip.window.area.top, self._rows) - self._top
            if final > 0:
                yield self._piece(final)
                self._ballot.roll(final)
                _roll(self._valid, final)
                self._top += final
            self._add(chip, prediction)
        yield self._piece(self._rows - self._top)

    def _add(self, chip: Chip, prediction: NDArray[Any] | None) -> None:
        span = Area(self._top, self._span.left, self._rows, self._span.right)
        area, kept = chip.window.area, chip.window.kept
        seen = area.intersection(span)
        inside = area.clip(self._rows, seen.right)
        self._valid[seen.slices(self._top, span.left)] = chip.valid[seen.slices(inside.top, inside.left)]
        counted = kept.intersection(span)
        if prediction is not None and counted.top < counted.bottom and counted.left < counted.right:
            rows, columns = counted.slices(self._top, span.left)
            self._ballot.add(rows, columns, prediction[..., *counted.slices(area.top, area.left)])

    def _piece(self, rows: int) -> Piece:
        labels, scores = self._ballot.read(rows)
        area = Area(self._top, self._span.left, self._top + rows, self._span.right)
        return Piece(area, labels, self._valid[:rows].copy(), scores)
