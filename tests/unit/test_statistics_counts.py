"""Counts of objects in the table: rows, what must hold for them, and how they are shown."""

import csv
import io
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from orthostat.aggregation.counts import ObjectCounts
from orthostat.aggregation.detections import OBJECT, write_objects
from orthostat.aggregation.table import PeriodTable
from orthostat.aggregation.zones import read_zones
from orthostat.errors import ReleaseError
from orthostat.pipelines.config import Grid
from orthostat.statistics.check import check_rows
from orthostat.statistics.codes import Row
from orthostat.statistics.composite import draw_composite
from orthostat.statistics.display import format_table
from orthostat.statistics.maps import draw_map
from orthostat.statistics.rows import build_rows
from orthostat.statistics.schema import OBSERVATIONS
from orthostat.statistics.tables import dump_csv, dump_parquet, read_parquet
from tests.builders import make_pipeline
from tests.builders_objects import CLASSES
from tests.builders_statistics import make_provenance, make_table, make_tables, write_zones


def make_counts(cars: int = 1200) -> list[Row]:
    """Rows of zone `a` (95 % observed), with cars and no ship, and zone `b` (half observed)."""
    a, b = make_table().zones
    table = PeriodTable(
        zones=(
            a.model_copy(update={"classes": {0: 950_000.0}, "objects": {0: cars}}),
            b.model_copy(update={"objects": {0: 7, 1: 1}}),
        ),
        objects=ObjectCounts(kept={0: cars + 7, 1: 1}, outside={}, zones={}),
    )
    return build_rows(make_pipeline(), "2024-01", table, CLASSES, {}, make_provenance())


ROWS = make_counts()
CARS = {"zone_id": "a", "class_id": 0}
HIDDEN = {"zone_id": "b", "class_id": 0}


def test_every_zone_and_class_has_a_count_with_its_coverage() -> None:
    rows = check_rows(ROWS, OBSERVATIONS).to_pylist()
    shown = ("zone_id", "class_name", "object_count", "mapped_count", "coverage", "obs_status")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("a", "car", 1200, 1200, 0.95, "G"),
        ("a", "ship", 0, 0, 0.95, "G"),
        ("b", "car", None, None, 0.5, "O"),
        ("b", "ship", None, None, 0.5, "O"),
    ]
    assert {(row["indicator"], row["method"]) for row in rows} == {("COUNT", "MAP_COUNT")}
    areas = ("area_m2", "mapped_area_m2", "std_err_m2", "ci_lower_m2", "ci_upper_m2", "cv_pct", "conf_level")
    assert {row[name] for row in rows for name in areas} == {None}
    assert rows[0]["obs_note"] == "object count: no reference sample behind it, no interval"
    assert rows[2]["obs_note"] == "coverage 0.5 is below 0.8"


def test_areas_have_no_count() -> None:
    rows = check_rows(make_tables()["observation"], OBSERVATIONS).to_pylist()
    assert {(row["indicator"], row["object_count"], row["mapped_count"]) for row in rows} == {
        ("AREA", None, None)
    }


def changed(key: Row, **changes: Any) -> list[Row]:
    return [row | changes if key.items() <= row.items() else dict(row) for row in ROWS]


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        (CARS, {"object_count": None}, "the figure is empty exactly when"),
        (CARS, {"obs_status": "O"}, "the figure is empty exactly when"),
        (HIDDEN, {"object_count": 7}, "the figure is empty exactly when"),
        (CARS, {"object_count": 1199}, "shows the mapped area or count"),
        (CARS, {"object_count": -1, "mapped_count": -1}, "whole number of at least 0"),
        (CARS, {"object_count": 1.5}, "1.5 in column object_count"),
        (CARS, {"area_m2": 1.0}, "holds the figures of its indicator and no other"),
        (CARS, {"mapped_area_m2": 1.0}, "holds the figures of its indicator and no other"),
        (HIDDEN, {"mapped_count": 7}, "a MAP_COUNT row without a value shows no mapped area or count"),
        (CARS, {"indicator": "AREA"}, "holds the figures of its indicator and no other"),
        (CARS, {"indicator": "NUMBER"}, "is one of AREA, COUNT"),
        (CARS, {"method": "STRATIFIED"}, "a COUNT row has the method MAP_COUNT"),
        (CARS, {"sample_size": 3}, "MAP_COUNT row has no standard error"),
        (CARS, {"obs_status": "A"}, "does not have status A"),
    ],
)
def test_a_count_that_breaks_a_rule_is_refused(key: Row, changes: Row, message: str) -> None:
    with pytest.raises(ReleaseError, match=f"(?s){message}"):
        check_rows(changed(key, **changes), OBSERVATIONS)


def release_columns(rows: list[Row]) -> list[Row]:
    checked = check_rows(rows, OBSERVATIONS).to_pylist()
    return [row | {"release_id": "v1-0", "is_break": False, "break_note": None} for row in checked]


def test_the_terminal_table_shows_objects_and_no_empty_column_of_areas() -> None:
    lines = format_table(release_columns(ROWS)).splitlines()
    assert lines[0].split("  ")[0] == "period"
    assert "objects" in lines[0]
    assert "km2" not in lines[0]
    assert " ".join(lines[2].split()) == "2024-01 a Aland car MAP_COUNT 1,200 95.00 G"
    assert " ".join(lines[4].split()) == "2024-01 b Bland car MAP_COUNT - 50.00 O"
    assert "MAP_COUNT: counted objects, each once; not an estimate, no interval" in lines


def test_exports_tell_empty_from_zero() -> None:
    table = check_rows(ROWS, OBSERVATIONS)
    lines = list(csv.DictReader(io.StringIO(dump_csv(table).decode())))
    assert [(line["object_count"], line["area_m2"]) for line in lines] == [
        ("1200", ""), ("0", ""), ("", ""), ("", ""),
    ]  # fmt: skip
    assert read_parquet(dump_parquet(table)) == table
    assert str(table.schema.field("object_count").type) == "int64"


@pytest.fixture
def zones(tmp_path: Path) -> Any:
    uri = str(tmp_path / "zones.geojson")
    write_zones(uri)
    return read_zones(uri, "zone_id", "name").to_frame().to_crs("EPSG:32633")


def test_a_map_of_counts_is_the_same_bytes_again_and_another_with_other_figures(zones: Any) -> None:
    png = draw_map(release_columns(ROWS), zones, "Made")
    assert png == draw_map(release_columns(ROWS), zones, "Made")
    assert png != draw_map(release_columns(make_counts(1201)), zones, "Made")


def write_tile(folder: Path, number: int, points: list[tuple[float, float]]) -> tuple[str, str]:
    """A tile of 1 km, observed in its middle, and its objects."""
    west, north = 500_000 + 1000 * number, 4_984_000
    pixels = np.zeros((50, 50), dtype=np.uint8)
    pixels[:5] = 254
    tile, objects = folder / f"{number}.tif", folder / f"{number}.parquet"
    profile = {"count": 1, "crs": "EPSG:32633", "dtype": "uint8", "nodata": 255}
    transform = from_origin(west, north, 20, 20)
    with rasterio.open(tile, "w", "GTiff", width=50, height=50, transform=transform, **profile) as file:
        file.write(pixels, 1)
    found = np.zeros(len(points), OBJECT)
    found["point"] = np.reshape([(west + east, north - south) for east, south in points], (-1, 2))
    write_objects(objects, found, ["A"], CLASSES, Grid(crs="EPSG:32633", resolution_m=20))
    return str(tile), str(objects)


def test_the_objects_are_drawn_as_dots_on_what_was_observed(zones: gpd.GeoDataFrame, tmp_path: Path) -> None:
    tiles, objects = zip(
        write_tile(tmp_path, 0, [(300, 300), (600, 700)]), write_tile(tmp_path, 1, []), strict=True
    )
    png = draw_composite(tiles, CLASSES, zones, "Made", objects)
    assert png == draw_composite(tiles[::-1], CLASSES, zones, "Made", objects[::-1])
    assert png != draw_composite(tiles, CLASSES, zones, "Made", objects[1:])
