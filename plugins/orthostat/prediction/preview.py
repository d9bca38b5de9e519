"""A small picture of a prediction, for people."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from orthostat.prediction.classes import NODATA, LabelClass
from orthostat.prediction.read import Image

_SIDE = 512
"""Longest side of a preview in pixels."""


def draw_classes(path: Path, labels_path: Path, classes: Sequence[LabelClass]) -> None:
    """A class raster in the classes' colours, transparent where there is no data."""
    from PIL import Image as Picture  # here, as no model waits for it

    with rasterio.open(labels_path) as dataset:
        shape = _fit(dataset.shape)
        labels = dataset.read(1, out_shape=shape)
    palette = np.zeros((256, 4), np.uint8)
    for entry in classes:
        palette[entry.class_id] = (*entry.rgb, 255)
    palette[NODATA] = 0
    Picture.fromarray(palette[labels]).save(path)


def draw_boxes(
    path: Path,
    image: Image,
    corners: NDArray[np.float64],
    class_ids: NDArray[np.int64],
    classes: Sequence[LabelClass],
) -> None:
    """The image, stretched to what the eye can see, with the boxes in the classes' colours.

    `corners` has the shape (boxes, 4): top, left, bottom, right in pixels of the image.
    """
    from PIL import Image as Picture
    from PIL import ImageDraw

    rows, columns = _fit(image.shape)
    picture = Picture.fromarray(image.thumbnail((rows, columns)))
    draw = ImageDraw.Draw(picture)
    scale = rows / image.shape[0], columns / image.shape[1]
    for (top, left, bottom, right), class_id in zip(corners, class_ids, strict=True):
        place = (left * scale[1], top * scale[0], right * scale[1], bottom * scale[0])
        draw.rectangle(place, outline=classes[int(class_id)].rgb, width=2)
    picture.save(path)


def _fit(shape: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, _SIDE / max(shape))
    return max(round(shape[0] * factor), 1), max(round(shape[1] * factor), 1)
