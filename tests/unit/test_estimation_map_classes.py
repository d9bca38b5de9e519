"""The class that the composite has at a sample unit: pixel borders, tiles on all sides, other systems."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio import Affine

from orthostat import storage
from orthostat.errors import GridError, SampleError, StorageError
from orthostat.estimation import map_classes
from orthostat.estimation.map_classes import read_map_classes
from orthostat.estimation.sample import SampleUnit
from orthostat.pipelines.config import Grid

GRID = Grid(crs="EPSG:32621", resolution_m=10, origin=(500_000, 1_000_000), tile_size=16)
NAMES = {0: "water", 1: "crop", 2: "tree"}
SIDE = 160

Write = Callable[..., str]


@pytest.fixture
def write_tile(tmp_path: Path) -> Write:
    """Writes a tile that is 0 but for some (row, column) -> value; returns its URI."""

    def write(column: int, row: int, values: dict[tuple[int, int], int], **changes: object) -> str:
        pixels = np.zeros((16, 16), dtype=np.uint8)
        for pixel, value in values.items():
            pixels[pixel] = value
        path = tmp_path / f"{column}_{row}.tif"
        profile = {
            "driver": "GTiff",
            "width": 16,
            "height": 16,
            "count": 1,
            "dtype": "uint8",
            "crs": GRID.crs,
            "transform": Affine(10, 0, 500_000 + column * SIDE, 0, -10, 1_000_000 - row * SIDE),
        }
        with rasterio.open(path, "w", **{**profile, **changes}) as dataset:
            dataset.write(pixels, 1)
        return str(path)

    return write


def place(*points: tuple[float, float]) -> list[SampleUnit]:
    return [
        SampleUnit(str(index), "2025-01", "north", "s", 500_000 + x, 1_000_000 - y, "crop")
        for index, (x, y) in enumerate(points)
    ]


def read(units: list[SampleUnit], tiles: dict[tuple[int, int], str], crs: str = GRID.crs) -> list[str]:
    found = read_map_classes(units, tiles, GRID, NAMES, crs)
    assert list(found) == [unit.unit_id for unit in units]
    return list(found.values())


def test_each_pixel_owns_its_northern_and_western_edge(write_tile: Write) -> None:
    tile = write_tile(0, 0, {(2, 3): 1})
    inside = place((30, 20), (39.999, 20), (30, 29.999), (35, 25))
    outside = place((29.999, 25), (40, 25), (35, 19.999), (35, 30))
    assert read(inside, {(0, 0): tile}) == ["crop"] * 4
    assert read(outside, {(0, 0): tile}) == ["water"] * 4


def test_tiles_lie_on_all_sides_of_the_origin(write_tile: Write) -> None:
    tiles = {(-1, -1): write_tile(-1, -1, {(15, 15): 1}), (0, 0): write_tile(0, 0, {(0, 0): 2})}
    units = place((-0.001, -0.001), (0, 0), (0, -0.001), (-SIDE, -SIDE), (-SIDE - 0.001, -SIDE))
    assert read(units, tiles) == ["crop", "tree", "unobserved", "water", "unobserved"]


def test_what_the_composite_leaves_out_has_names_of_its_own(write_tile: Write) -> None:
    tile = write_tile(0, 0, {(0, 0): 254, (0, 1): 255})
    assert read(place((5, 5), (15, 5), (25, 5)), {(0, 0): tile}) == ["unobserved", "nodata", "water"]


def test_places_may_be_in_another_system(write_tile: Write) -> None:
    tile = write_tile(0, 0, {(7, 4): 1})
    longitude, latitude = Transformer.from_crs(GRID.crs, "EPSG:4326", always_xy=True).transform(
        500_045, 999_925
    )
    units = [SampleUnit("a", "2025-01", "north", "s", longitude, latitude, "crop")]
    assert read(units, {(0, 0): tile}, "EPSG:4326") == ["crop"]


def test_each_tile_is_fetched_once_and_only_where_units_are(
    write_tile: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = {(column, 0): write_tile(column, 0, {}) for column in range(3)}
    fetched = []

    def fetch(uri: str, folder: Path) -> Path:
        fetched.append(uri)
        return storage.local_copy(uri, folder)

    monkeypatch.setattr(map_classes, "storage", SimpleNamespace(local_copy=fetch))
    read(place((165, 5), (5, 5), (15, 5), (175, 5)), tiles)
    assert fetched == [tiles[0, 0], tiles[1, 0]]


def test_tiles_are_read_from_s3(write_tile: Write, s3_bucket: str) -> None:
    storage.upload(Path(write_tile(0, 0, {(0, 0): 2})), f"{s3_bucket}/tiles/0_0.tif")
    assert read(place((5, 5)), {(0, 0): f"{s3_bucket}/tiles/0_0.tif"}) == ["tree"]


def test_no_units_need_no_tiles() -> None:
    assert read([], {}) == []


def test_a_value_that_is_no_class_is_refused(write_tile: Write) -> None:
    with pytest.raises(GridError, match=r"value 9 at unit '0', known are \[0, 1, 2, 254, 255\]"):
        read(place((5, 5)), {(0, 0): write_tile(0, 0, {(0, 0): 9})})


def test_a_tile_off_the_grid_is_refused(write_tile: Write) -> None:
    with pytest.raises(GridError, match=r"tile \(1, 0\) of the grid has"):
        read(place((165, 5)), {(1, 0): write_tile(0, 0, {})})
    finer = write_tile(0, 0, {}, transform=Affine(5, 0, 500_000, 0, -5, 1_000_000))
    with pytest.raises(GridError, match="compose the period again on this grid"):
        read(place((5, 5)), {(0, 0): finer})


def test_a_tile_that_is_missing_or_no_raster_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no file"):
        read(place((5, 5)), {(0, 0): str(tmp_path / "gone.tif")})
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(GridError, match=r"text\.tif can't be read as a raster"):
        read(place((5, 5)), {(0, 0): str(tmp_path / "text.tif")})


def test_units_that_cannot_be_placed_are_refused() -> None:
    nowhere = [SampleUnit("a", "2025-01", "north", "s", 0.0, 1e30, "crop")]
    with pytest.raises(SampleError, match=r"unit 'a' at x 0.0, y 1e\+30 in EPSG:4326 has no place"):
        read(nowhere, {}, "EPSG:4326")
    with pytest.raises(SampleError, match="share a unit_id"):
        read(place((5, 5)) * 2, {})
    with pytest.raises(SampleError, match="none of the model's"):
        read_map_classes(place((5, 5)), {}, GRID, {0: "water"}, GRID.crs)
