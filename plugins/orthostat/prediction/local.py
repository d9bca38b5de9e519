"""Predicting a local image into local files: all that happens between model and image, and no more."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from orthostat.errors import SceneError
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.blocks import Area
from orthostat.prediction.cells import classify_image
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.detections import detect_objects
from orthostat.prediction.engines.engine import Engine
from orthostat.prediction.facts import Facts
from orthostat.prediction.preview import draw_boxes, draw_classes
from orthostat.prediction.rasters import create_classes, create_scores, write_cog
from orthostat.prediction.read import Image, crs_text, open_image, read_grid
from orthostat.prediction.segmentation import label_image
from orthostat.prediction.size import require_size
from orthostat.prediction.statistics import image_statistics
from orthostat.prediction.vectors import write_boxes, write_polygons

Report = Callable[[float], None]
"""Gets the share of the image that is done, after each window."""

_OBSERVED = (LabelClass(0, "observed", "FFFFFF"),)


def predict_local(
    engine: Engine,
    path: Path,
    name: str,
    fill: float | None,
    folder: Path,
    wanted: PredictOptions,
    report: Report = lambda share: None,
    limits: Limits | None = None,
) -> Facts:
    """Predict the image at `path`, which errors call `name`, into files below `folder`.

    Raises SceneError when the image cannot be used, LimitError when it is too large.
    """
    with open_image(path, name, fill) as image:
        channels = _channels(engine, image)
        image.use_bands(channels)
        require_size(image, engine.options.chip_size, limits or Limits())
        if wanted.update_stats:
            engine.use_statistics(*image_statistics(image, channels))
        progress = _Progress(image, engine, report)
        task = engine.description.task
        run = {
            "semantic_segmentation": _segment,
            "chip_classification": _classify,
            "object_detection": _detect,
        }[task]
        engine.confidence.reset()
        histogram, counts, mean_score = run(engine, image, channels, folder, wanted, progress)
        labels = "observed.tif" if task == "object_detection" else "labels.tif"
        grid = read_grid(folder / labels)
        acquired = image.acquired()
        return Facts(
            files=tuple(sorted(file.name for file in folder.iterdir())),
            crs=grid.crs if image.is_placed else None,
            shape=grid.shape,
            transform=grid.transform,
            histogram=histogram,
            counts=counts,
            nonfinite_pixels=image.values.nonfinite_pixels,
            valid_fraction=sum(histogram.values()) / math.prod(grid.shape),
            value_ranges=tuple(image.values.ranges()),
            bands=tuple(image.facts()),
            mean_score=mean_score,
            acquired=None if acquired is None else acquired.isoformat(),
            source_crs=crs_text(image.crs) if image.is_placed else None,
            source_shape=image.shape,
        )


Outcome = tuple[dict[int, int], dict[int, int] | None, float | None]
"""Histogram, counts, mean score."""


def _segment(
    engine: Engine, image: Image, channels: list[int], folder: Path, wanted: PredictOptions, done: "_Progress"
) -> Outcome:
    classes = engine.description.classes
    plain, plain_scores = folder / "plain.tif", folder / "plain-scores.tif"
    with ExitStack() as stack:
        labels = stack.enter_context(create_classes(plain, image, classes))
        scores = stack.enter_context(create_scores(plain_scores, image, classes)) if wanted.scores else None
        for piece in label_image(engine, image, channels, done):
            labels.write(piece.area, piece.labels, piece.valid)
            if scores is not None and piece.scores is not None:
                scores.write(piece.area, piece.scores, piece.valid)
    _finish(plain, folder / "labels.tif")
    if wanted.scores:
        _finish(plain_scores, folder / "scores.tif", "AVERAGE")
    if wanted.polygons:
        write_polygons(folder / "polygons.parquet", image, folder / "labels.tif", classes)
    draw_classes(folder / "preview.png", folder / "labels.tif", classes)
    return labels.histogram(), None, engine.confidence.mean


def _classify(
    engine: Engine, image: Image, channels: list[int], folder: Path, wanted: PredictOptions, done: "_Progress"
) -> Outcome:
    classes = engine.description.classes
    with create_classes(folder / "plain.tif", image, classes) as labels:
        cells = classify_image(engine, image, channels, labels, done)
    _finish(folder / "plain.tif", folder / "labels.tif")
    write_boxes(folder / "cells.parquet", image, cells.corners, cells.class_ids, cells.scores, classes)
    draw_classes(folder / "preview.png", folder / "labels.tif", classes)
    return labels.histogram(), _count(cells.class_ids), engine.confidence.mean


def _detect(
    engine: Engine, image: Image, channels: list[int], folder: Path, wanted: PredictOptions, done: "_Progress"
) -> Outcome:
    classes = engine.description.classes
    with create_classes(folder / "plain.tif", image, _OBSERVED) as observed:
        found = detect_objects(engine, image, channels, observed, done)
    _finish(folder / "plain.tif", folder / "observed.tif")
    write_boxes(folder / "detections.parquet", image, found.corners, found.class_ids, found.scores, classes)
    draw_boxes(folder / "preview.png", image, found.corners, found.class_ids, classes)
    mean_score = float(found.scores.mean()) if found.scores.size else None
    return observed.histogram(), _count(found.class_ids), mean_score


def _finish(plain: Path, path: Path, resampling: str = "MODE") -> None:
    write_cog(plain, path, resampling)
    plain.unlink()


def _count(class_ids: np.ndarray) -> dict[int, int]:
    return {int(i): int(n) for i, n in zip(*np.unique(class_ids, return_counts=True), strict=True)}


def _channels(engine: Engine, image: Image) -> list[int]:
    """The bands that the model reads. Raises SceneError when the image has not those that it takes."""
    order = engine.options.channel_order
    if order is not None and max(order) >= image.bands:
        raise SceneError(
            f"{image.name} has {image.bands} band(s), the model reads bands "
            f"{[channel + 1 for channel in order]}; upload an image with all of them"
        )
    channels = image.colour_bands if order is None else list(order)
    given, taken = engine.channels(len(channels)), engine.description.channels
    if given != taken:
        raise SceneError(
            f"{image.name} gives the model {given} channel(s), it takes {taken}; "
            "upload an image with the bands that the model was trained on"
        )
    return channels


class _Progress:
    """Tells after each window how much of the image is done."""

    def __init__(self, image: Image, engine: Engine, report: Report):
        self._windows = math.prod(math.ceil(side / engine.options.stride) for side in image.shape)
        self._done = 0
        self._report = report

    def __call__(self, area: Area) -> None:
        self._done += 1
        self._report(min(self._done / self._windows, 1.0))
