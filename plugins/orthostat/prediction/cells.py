"""Chip classification: each window is a cell with one class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orthostat.prediction.blocks import Area
from orthostat.prediction.chips import Chip, read_chips
from orthostat.prediction.engines.engine import Engine
from orthostat.prediction.rasters import ClassRaster
from orthostat.prediction.read import Image
from orthostat.prediction.windows import spans


@dataclass(frozen=True)
class Cells:
    """The classified windows of an image, row by row."""

    corners: NDArray[np.float64]
    """Shape (cells, 4): top, left, bottom, right in pixels, clipped to the image."""
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    """The network's output for the class of the cell."""


def classify_image(
    engine: Engine,
    image: Image,
    channels: Sequence[int],
    raster: ClassRaster,
    report: Callable[[Area], None] = lambda area: None,
) -> Cells:
    """Classify every window that holds data, and write each pixel's class.

    Windows are those of Raster Vision's predict_scene_cc (pytorch_learner/utils/prediction.py). Where cells
    overlap, a pixel is of the one that begins last. Raises SceneError when the image cannot be decoded.
    """
    cells: list[tuple[Area, int, float]] = []
    for span in spans(image.shape, engine.options, each_once=True):
        for batch in read_chips(image, span, channels, engine.prepare, engine.options.batch_size):
            outputs = () if batch.values is None else engine.classify(batch.values)
            for chip, output in batch.pair(outputs):
                report(chip.window.area)
                class_id = 0 if output is None else int(np.argmax(output))
                _write(chip, class_id, raster, image.shape)
                if output is not None:
                    cells.append((chip.window.area.clip(*image.shape), class_id, float(output[class_id])))
    cells.sort(key=lambda cell: (cell[0].top, cell[0].left))
    return Cells(
        np.array([(a.top, a.left, a.bottom, a.right) for a, _, _ in cells], np.float64).reshape(-1, 4),
        np.array([class_id for _, class_id, _ in cells], np.int64),
        np.array([score for _, _, score in cells], np.float64),
    )


def _write(chip: Chip, class_id: int, raster: ClassRaster, shape: tuple[int, int]) -> None:
    area, own = chip.window.area.clip(*shape), chip.window.own.clip(*shape)
    valid = chip.valid[own.slices(area.top, area.left)]
    raster.write(own, np.full(valid.shape, class_id, np.uint8), valid)
