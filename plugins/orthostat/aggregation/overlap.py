"""Where scenes overlap: which one gives a pixel its class."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.warp import reproject
from rasterio.windows import Window

from orthostat.aggregation.grid import find_offset, pixel_transform
from orthostat.aggregation.values import UNOBSERVED
from orthostat.errors import GridError
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import NODATA
from orthostat.projection import parse_crs

Labels = npt.NDArray[np.uint8]
Winners = npt.NDArray[np.uint16]
STRIP_ROWS = 512
"""Rows of a tile that are composed at a time."""


def paint(layers: Iterable[Labels], shape: tuple[int, int]) -> Labels:
    """The last valid layer's class per pixel; 255 where layers hold nodata only, 254 where there is none.

    `layers` are uint8 of `shape`, by rising rank: class ids, 255 nodata, 254 outside the scene.
    """
    result = np.full(shape, UNOBSERVED, dtype=np.uint8)
    for layer in layers:
        is_new = (layer < UNOBSERVED) | ((layer == NODATA) & (result == UNOBSERVED))
        np.copyto(result, layer, where=is_new)
    return result


def vote(layers: Iterable[Labels], shape: tuple[int, int], count: int) -> Labels:
    """The class of most valid layers per pixel; among tied classes, the one that the highest rank gives.

    `layers` as for `paint`, `count` of them. A class's score is its votes, then the rank of its last voter:
    one number per pixel and class.
    """
    result = np.full(shape, UNOBSERVED, dtype=np.uint8)
    scores: dict[int, npt.NDArray[np.uint32]] = {}
    for rank, layer in enumerate(layers):
        result[layer == NODATA] = NODATA
        for class_id in np.unique(layer[layer < UNOBSERVED]).tolist():
            score = scores.setdefault(class_id, np.zeros(shape, dtype=np.uint32))
            has_vote = layer == class_id
            score[has_vote] = (score[has_vote] // count + 1) * count + rank
    best = np.zeros(shape, dtype=np.uint32)
    for class_id, score in scores.items():
        is_better = score > best
        result[is_better] = class_id
        best[is_better] = score[is_better]
    return result


def find_winners(
    scenes: Sequence[DatasetReader], grid: Grid, first_column: int, first_row: int, shape: tuple[int, int]
) -> Winners:
    """Which scene wins each pixel of a window of the grid, uint16 of `shape`: its number from 1, 0 for none.

    `scenes` are by rising rank; of the valid ones the last wins.
    """
    winners = np.zeros(shape, dtype=np.uint16)
    for top in range(0, shape[0], STRIP_ROWS):
        strip = winners[top : top + STRIP_ROWS]
        transform = pixel_transform(grid, first_column, first_row + top)
        for number, scene in enumerate(scenes, start=1):
            strip[read_strip(scene, grid, transform, strip.shape) < UNOBSERVED] = number
    return winners


def read_strip(scene: DatasetReader, grid: Grid, transform: Affine, shape: tuple[int, int]) -> Labels:
    """A window of the grid from one scene, uint8 of `shape` (rows, columns), 254 outside the scene.

    `transform` is that of the window's pixels (`grid.pixel_transform`).

    A plain read where the scene lies on the grid, else nearest neighbour: a pixel takes the class of the
    scene's pixel that its centre falls into. Raises GridError when the raster is not uint8 with nodata 255.
    """
    if scene.dtypes != ("uint8",) or scene.nodata != NODATA:
        raise GridError(
            f"{scene.name} has the types {scene.dtypes} and nodata {scene.nodata}, needed is one uint8 band "
            f"with nodata {NODATA}; predict the scene again"
        )
    crs = parse_crs(grid.crs)
    is_same = parse_crs(scene.crs).equals(crs, ignore_axis_order=True)
    offset = find_offset(transform, scene.transform, scene.shape) if is_same else None
    if offset is not None:
        return _read_aligned(scene, offset, shape)
    strip = np.full(shape, UNOBSERVED, dtype=np.uint8)
    reproject(
        rasterio.band(scene, 1),
        strip,
        dst_crs=crs.to_wkt(),
        dst_transform=transform,
        src_nodata=UNOBSERVED,  # 255 is then copied like a class, and what no pixel reaches stays 254
        dst_nodata=UNOBSERVED,
        resampling=Resampling.nearest,
        tolerance=0,  # the exact transformation: an approximate one depends on the strip
    )
    return strip


def _read_aligned(scene: DatasetReader, offset: tuple[int, int], shape: tuple[int, int]) -> Labels:
    """Copy the part of the scene that lies in a strip; `offset` is the scene's first column and row there."""
    strip = np.full(shape, UNOBSERVED, dtype=np.uint8)
    column, row = offset
    left, right = max(column, 0), min(column + scene.width, shape[1])
    top, bottom = max(row, 0), min(row + scene.height, shape[0])
    if left < right and top < bottom:
        window = Window(left - column, top - row, right - left, bottom - top)
        strip[top:bottom, left:right] = scene.read(1, window=window)
    return strip
