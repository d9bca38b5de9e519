"""Where scenes overlap: which objects count, so that each one on the ground counts once.

A scene has the say where it wins the pixel (`keys.rank_scene`, with `majority` as `newest`). Its objects
that touch such a pixel are candidates. In their order, those with the centre on a pixel that their scene wins
first, then the surest, a candidate removes the later ones of other scenes that its box is the same as. So an
object at a seam counts once when both scenes see it, and once when each sees it on the other's side.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from orthostat.aggregation.detections import OBJECT, Objects
from orthostat.aggregation.grid import Integers, pixels_at, tile_bounds, tile_box, tile_side
from orthostat.aggregation.keys import rank_scene
from orthostat.aggregation.overlap import find_winners
from orthostat.aggregation.values import Tile
from orthostat.aggregation.windows import open_raster
from orthostat.errors import GridError
from orthostat.pipelines.config import Grid
from orthostat.prediction.item import Prediction

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """A scene near a tile."""

    scene: Prediction
    observed: str
    """URI of its raster of where there is data."""
    area: shapely.Polygon
    """Its outline in the grid's system."""
    objects: Objects


def compose_objects(
    grid: Grid, rule: str, merge_threshold: float, tile: Tile, sources: Sequence[Source]
) -> Objects:
    """The objects whose point lies in a tile (west and north borders included), each once, in their order.

    `sources` are all scenes within a tile's side of the tile. The result is that of reconciling the objects
    of the whole period at once: a margin is read around the tile that holds every box on which the tile's
    objects depend. Raises GridError when that takes more than a tile's side.
    """
    largest = max((_largest_side(source.objects) for source in sources), default=0.0)
    ordered = sorted(sources, key=lambda source: rank_scene(rule, source.scene))
    most = tile_side(grid) - largest / 2 - grid.resolution_m
    for margin in sorted({min(2 * largest, most), most}):
        found = _reconcile(grid, merge_threshold, tile, ordered, margin, largest)
        if found is not None:
            return found
    raise GridError(
        f"objects of up to {largest:.1f} m reach too far for tiles of {tile_side(grid):.1f} m; make "
        f"'grid.tile_size' larger than {grid.tile_size}, or leave out such boxes by a higher score_threshold"
    )


def _reconcile(
    grid: Grid, threshold: float, tile: Tile, ordered: Sequence[Source], margin: float, largest: float
) -> Objects | None:
    """The tile's objects as those within `margin` metres decide; None when others may have a say."""
    padding = max(0, int(np.ceil((margin + largest / 2) / grid.resolution_m))) + 1
    around = tile_box(grid, tile, padding * grid.resolution_m)
    ordered = [source for source in ordered if source.area.intersects(around)]
    corner = (tile[0] * grid.tile_size - padding, tile[1] * grid.tile_size - padding)
    side = grid.tile_size + 2 * padding
    with ExitStack() as stack:
        rasters = [stack.enter_context(open_raster(source.observed)) for source in ordered]
        winners = find_winners(rasters, grid, *corner, (side, side))
    parts, owned = [np.zeros(0, OBJECT)], [np.zeros(0, dtype=bool)]
    for number, source in enumerate(ordered, start=1):
        is_near = (_distance(grid, tile, source.objects) <= margin) | _lies_in(grid, tile, source.objects)
        near = source.objects[is_near]
        touches, is_own = _find_say(near, winners == number, grid, corner)
        parts.append(near[touches])
        owned.append(is_own[touches])
    objects, is_own = np.concatenate(parts), np.concatenate(owned)
    order = _sort(objects, is_own)
    objects = objects[order]
    first, second = find_same(objects, threshold)
    is_inside = _lies_in(grid, tile, objects)
    needed = _follow(is_inside, first, second)
    if (_distance(grid, tile, objects[needed]) > margin - largest).any():
        return None
    return objects[is_inside & suppress(len(objects), first, second)]


def find_same(objects: Objects, threshold: float) -> tuple[Integers, Integers]:
    """Pairs (earlier, later) of objects of different scenes that are one by their boxes, earlier rising.

    They are one where the intersection over the union is larger than `threshold`; over the smaller box where
    the edge of an image cuts one of the two: half a car, seen from one side, is in the whole one.
    """
    west, south, east, north = objects["box"].T
    boxes = shapely.box(west, south, east, north)
    first, second = shapely.STRtree(boxes).query(boxes)
    is_pair = (second > first) & (objects["scene"][first] != objects["scene"][second])
    first, second = first[is_pair], second[is_pair]
    width = np.minimum(east[first], east[second]) - np.maximum(west[first], west[second])
    height = np.minimum(north[first], north[second]) - np.maximum(south[first], south[second])
    common = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (east - west) * (north - south)
    union = areas[first] + areas[second] - common
    is_cut = objects["is_cut"][first] | objects["is_cut"][second]
    with np.errstate(invalid="ignore"):
        is_same = ~(common / np.where(is_cut, np.minimum(areas[first], areas[second]), union) <= threshold)
    first, second = first[is_same], second[is_same]
    order = np.lexsort((second, first))
    return first[order], second[order]


def suppress(count: int, first: Integers, second: Integers) -> Flags:
    """Which of `count` objects stay: an object that stays removes the later ones of its pairs."""
    stays = np.ones(count, dtype=bool)
    numbers, starts = np.unique(first, return_index=True)
    for number, rivals in zip(numbers.tolist(), np.split(second, starts[1:]), strict=False):
        if stays[number]:
            stays[rivals] = False
    return stays


def _follow(wanted: Flags, first: Integers, second: Integers) -> Flags:
    """The wanted objects and those on which it depends, directly or not, whether they stay."""
    while True:
        more = wanted.copy()
        more[first[wanted[second]]] = True
        if (more == wanted).all():
            return wanted
        wanted = more


def _find_say(objects: Objects, is_won: Flags, grid: Grid, corner: tuple[int, int]) -> tuple[Flags, Flags]:
    """Whether an object's box touches a pixel that its scene wins, and whether its point lies on one.

    `is_won` is a window of the grid (rows, columns) whose first pixel is `corner` (column, row).
    """
    rows, columns = is_won.shape
    x, y = pixels_at(grid, *objects["point"].T)
    column, row = np.clip(x - corner[0], 0, columns - 1), np.clip(y - corner[1], 0, rows - 1)
    is_own = is_won[row, column]
    west, south, east, north = objects["box"].T
    left, top = pixels_at(grid, west, north)
    right, bottom = pixels_at(grid, np.nextafter(east, west), np.nextafter(south, north))
    left, right = np.clip([left - corner[0], right - corner[0] + 1], 0, columns)
    top, bottom = np.clip([top - corner[1], bottom - corner[1] + 1], 0, rows)
    sums = np.zeros((rows + 1, columns + 1), dtype=np.int32)
    np.cumsum(is_won, axis=0, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums, axis=1, dtype=np.int32, out=sums)
    won = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return (won > 0) | is_own, is_own


def _sort(objects: Objects, is_own: Flags) -> Integers:
    """The order of suppression: on own ground first, then the surest, then by scene id and by position."""
    position = [objects["box"][:, side] for side in range(4)]
    return np.lexsort((objects["class_id"], *position, objects["scene"], -objects["score"], ~is_own))


def _largest_side(objects: Objects) -> float:
    west, south, east, north = objects["box"].T
    return float(np.maximum(east - west, north - south).max(initial=0.0))


def _distance(grid: Grid, tile: Tile, objects: Objects) -> npt.NDArray[np.float64]:
    """How far the boxes' centres lie outside the tile, along the farther axis, in metres; 0 inside."""
    west, south, east, north = tile_bounds(grid, tile)
    x = (objects["box"][:, 0] + objects["box"][:, 2]) / 2
    y = (objects["box"][:, 1] + objects["box"][:, 3]) / 2
    distances: npt.NDArray[np.float64] = np.maximum.reduce([west - x, x - east, south - y, y - north])
    return np.maximum(distances, 0.0)


def _lies_in(grid: Grid, tile: Tile, objects: Objects) -> Flags:
    columns, rows = pixels_at(grid, *objects["point"].T)
    is_inside: Flags = (columns // grid.tile_size == tile[0]) & (rows // grid.tile_size == tile[1])
    return is_inside
