"""The map class of each sample unit, read from a period's composite."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from pyproj import Transformer
from rasterio.errors import RasterioError

from orthostat import storage
from orthostat.aggregation.grid import tile_transform
from orthostat.aggregation.values import UNOBSERVED, Tile
from orthostat.errors import GridError, SampleError
from orthostat.estimation.sample import SampleUnit, check_reference_classes
from orthostat.gdal import without_account
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import NODATA
from orthostat.projection import parse_crs
from orthostat.scratch import scratch_folder

Pixels = npt.NDArray[np.int64]
"""Column and row of pixels, shape (n, 2); rows grow southwards."""


@without_account()
def read_map_classes(
    units: Sequence[SampleUnit],
    tiles: Mapping[Tile, str],
    grid: Grid,
    class_names: Mapping[int, str],
    crs: str,
) -> dict[str, str]:
    """Map class by unit_id for the units of one period; `crs` is that of the units' x and y.

    `tiles` gives the URI of each composed tile, a uint8 raster of tile_size x tile_size pixels, numbered as
    in aggregation.grid. A point on the border of two pixels belongs to the eastern or southern one. Units
    outside every tile, or where no scene is, are "unobserved"; those where scenes hold no data are "nodata".

    Raises SampleError when a unit stands twice, lies outside the coordinate system or has a reference class
    that the model does not know, GridError for a tile that is off the grid or has an unknown value,
    StorageError for a missing tile.
    """
    check_reference_classes(units, list(class_names.values()))
    if len({unit.unit_id for unit in units}) < len(units):
        raise SampleError(f"{len(units)} units share a unit_id; give the units of one period at a time")
    names = {**class_names, UNOBSERVED: "unobserved", NODATA: "nodata"}
    values = _read_values(_find_pixels(units, grid, crs), tiles, grid)
    unknown = [(unit, value) for unit, value in zip(units, values, strict=True) if value not in names]
    if unknown:
        raise GridError(
            f"the composite has the value {unknown[0][1]} at unit '{unknown[0][0].unit_id}', known are "
            f"{sorted(names)}; compose the period again with the model's classes"
        )
    return {unit.unit_id: names[value] for unit, value in zip(units, values, strict=True)}


def _find_pixels(units: Sequence[SampleUnit], grid: Grid, crs: str) -> Pixels:
    """Grid column and row of each unit, int64 of shape (n, 2)."""
    transformer = Transformer.from_crs(parse_crs(crs), parse_crs(grid.crs), always_xy=True)
    x, y = transformer.transform([unit.x for unit in units], [unit.y for unit in units])
    column = (np.asarray(x, dtype=np.float64) - grid.origin[0]) / grid.resolution_m
    row = (grid.origin[1] - np.asarray(y, dtype=np.float64)) / grid.resolution_m
    pixels = np.floor(np.stack([column, row], axis=1))
    for unit, pixel in zip(units, pixels, strict=True):
        if not np.isfinite(pixel).all():
            raise SampleError(
                f"unit '{unit.unit_id}' at x {unit.x}, y {unit.y} in {crs} has no place in {grid.crs}; "
                "correct its coordinates or sample.crs"
            )
    return pixels.astype(np.int64)


def _read_values(pixels: Pixels, tiles: Mapping[Tile, str], grid: Grid) -> list[int]:
    """The composite's value at each pixel; every tile is opened once."""
    values = np.full(len(pixels), UNOBSERVED, dtype=np.uint8)
    owners = pixels // grid.tile_size
    for column, row in sorted({(int(column), int(row)) for column, row in owners} & set(tiles)):
        inside = (owners == (column, row)).all(axis=1)
        columns, rows = (pixels[inside] % grid.tile_size).T
        values[inside] = _read_tile(tiles[column, row], (column, row), grid)[rows, columns]
    return [int(value) for value in values]


def _read_tile(uri: str, tile: Tile, grid: Grid) -> npt.NDArray[np.uint8]:
    """All values of a tile, uint8 of shape (tile_size, tile_size)."""
    with scratch_folder() as folder:
        path = storage.local_copy(uri, folder)
        try:
            with rasterio.open(path) as dataset:
                _check_place(dataset, uri, tile, grid)
                values: npt.NDArray[np.uint8] = dataset.read(1)
        except RasterioError as error:
            raise GridError(f"{uri} can't be read as a raster ({error}); compose the period again") from error
    return values


def _check_place(dataset: Any, uri: str, tile: Tile, grid: Grid) -> None:
    expected = tile_transform(grid, tile)
    # A millionth of a pixel, since a file may keep its corner in fewer digits.
    if dataset.shape != (grid.tile_size, grid.tile_size) or not dataset.transform.almost_equals(
        expected, precision=1e-6 * grid.resolution_m
    ):
        raise GridError(
            f"{uri} has the shape {dataset.shape} and the transform {tuple(dataset.transform)[:6]}, tile "
            f"{tile} of the grid has {(grid.tile_size, grid.tile_size)} and {tuple(expected)[:6]}; "
            "compose the period again on this grid"
        )
