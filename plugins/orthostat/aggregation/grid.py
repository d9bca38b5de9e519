"""The common grid of a period: tiles of pixels, numbered from the grid's origin.

Tile (column, row) covers the pixel columns from column * tile_size to before (column + 1) * tile_size, and
rows likewise. Pixel columns grow eastwards, rows southwards; both may be negative.
"""

import math

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine

from orthostat.aggregation.areas import Bounds, Floats
from orthostat.aggregation.values import Tile
from orthostat.pipelines.config import Grid

Integers = npt.NDArray[np.int64]


def tile_bounds(grid: Grid, tile: Tile) -> Bounds:
    """West, south, east, north of a tile; neighbours share their edges to the last bit."""
    column, row = tile
    return (
        _x(grid, column * grid.tile_size),
        _y(grid, (row + 1) * grid.tile_size),
        _x(grid, (column + 1) * grid.tile_size),
        _y(grid, row * grid.tile_size),
    )


def tile_transform(grid: Grid, tile: Tile, first_row: int = 0) -> Affine:
    """Affine from (column, row) within a tile, counted from `first_row`, to (x, y)."""
    column, row = tile
    return pixel_transform(grid, column * grid.tile_size, row * grid.tile_size + first_row)


def pixel_transform(grid: Grid, first_column: int, first_row: int) -> Affine:
    """Affine from (column, row), counted from a pixel of the grid, to (x, y)."""
    return Affine(
        grid.resolution_m,
        0.0,
        _x(grid, first_column),
        0.0,
        -grid.resolution_m,
        _y(grid, first_row),
    )


def pixels_at(grid: Grid, x: Floats, y: Floats) -> tuple[Integers, Integers]:
    """Columns and rows of the grid's pixels that hold points; west and north borders belong to a pixel."""
    columns = np.floor((x - grid.origin[0]) / grid.resolution_m)
    rows = np.floor((grid.origin[1] - y) / grid.resolution_m)
    return columns.astype(np.int64), rows.astype(np.int64)


def tile_box(grid: Grid, tile: Tile, margin_m: float = 0.0) -> shapely.Polygon:
    """A tile's square, in the grid's system, with a margin around it."""
    west, south, east, north = tile_bounds(grid, tile)
    return shapely.box(west - margin_m, south - margin_m, east + margin_m, north + margin_m)


def tile_side(grid: Grid) -> float:
    """Side of a tile in metres."""
    return grid.tile_size * grid.resolution_m


def tiles_of(grid: Grid, bounds: Bounds) -> list[Tile]:
    """Tiles that share some area with `bounds` (in the grid's system), row by row from the north-west."""
    west, south, east, north = bounds
    side = tile_side(grid)
    columns = range(math.floor((west - grid.origin[0]) / side), math.ceil((east - grid.origin[0]) / side))
    rows = range(math.floor((grid.origin[1] - north) / side), math.ceil((grid.origin[1] - south) / side))
    return [(column, row) for row in rows for column in columns]


def find_offset(reference: Affine, other: Affine, shape: tuple[int, int]) -> tuple[int, int] | None:
    """Column and row of `other`'s first pixel in the grid of `reference`, or None when they are not aligned.

    `shape` is rows and columns of the raster on `other`. Aligned means that all its pixels lie on pixels of
    `reference`, to a thousandth of a pixel.
    """
    rows, columns = shape
    first_column, first_row = ~reference * (other * (0, 0))
    last_column, last_row = ~reference * (other * (columns, rows))
    column, row = round(first_column), round(first_row)
    errors = (
        first_column - column,
        first_row - row,
        last_column - (column + columns),
        last_row - (row + rows),
    )
    return (column, row) if max(map(abs, errors)) < 1e-3 else None


def _x(grid: Grid, pixel_column: int) -> float:
    return grid.origin[0] + pixel_column * grid.resolution_m


def _y(grid: Grid, pixel_row: int) -> float:
    return grid.origin[1] - pixel_row * grid.resolution_m
