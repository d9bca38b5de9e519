"""A period is summed from the tabulations of its tiles, and from what lies outside them."""

from pathlib import Path

import numpy as np
import pytest
from shapely import box

from orthostat import storage
from orthostat.aggregation import boundaries as boundaries_module
from orthostat.aggregation.boundaries import project, store_boundaries
from orthostat.aggregation.identities import check_identities
from orthostat.aggregation.table import PeriodTable, combine, read_table
from orthostat.aggregation.tabulate import tabulate
from orthostat.errors import MissingError
from orthostat.pipelines.config import Grid
from tests.builders import make_pipeline
from tests.builders_tiles import GRID, at, make_work, make_zones, write_tile


def test_a_period_is_the_sum_of_its_tiles_and_of_what_lies_outside(tmp_path):
    left = np.full((16, 16), 1)
    left[:, 8:] = 254
    right = np.full((16, 16), 255)
    right[:8] = 2
    zones = make_zones(z=at(0, 16, 40, 0), far=at(100, 101, 101, 100))
    work, boundaries = make_work(tmp_path, zones, ((0, 0), (1, 0)))
    for task, values in zip(work.tiles, (left, right), strict=True):
        write_tile(task, values)
    tabulate(work)
    table = read_table(work.tiles, boundaries, GRID)
    zone = table.zone("z")
    assert zone.classes == pytest.approx({1: 8 * 16 * 100, 2: 8 * 16 * 100})
    assert zone.nodata_m2 == pytest.approx(8 * 16 * 100)
    assert zone.unobserved_m2 == pytest.approx(8 * 16 * 100 + 8 * 16 * 100)  # 254, and columns 32 to 40
    assert zone.coverage == pytest.approx(16 / 40)
    assert table.zone("far").unobserved_m2 == pytest.approx(100)
    check_identities(table)
    assert PeriodTable.model_validate(table.model_dump(mode="json")) == table


def test_what_lies_outside_all_tiles_is_measured_on_the_ellipsoid_too(tmp_path):
    """In UTM 7 degrees out, where the plane is 0.6 % too large."""
    x, y = 1_050_000.0, 4_983_400.0
    grid = Grid(crs="EPSG:32633", resolution_m=100, origin=(x, y), tile_size=16)
    zones = make_zones(
        "EPSG:32633", z=box(x, y - 1600, x + 9_000, y), far=box(x, y + 9_000, x + 100, y + 9_100)
    )
    work, boundaries = make_work(tmp_path, zones, grid=grid)
    write_tile(work.tiles[0], np.ones((16, 16)), x=x, y=y, res=100.0, crs="EPSG:32633")
    tabulate(work)
    table = read_table(work.tiles, boundaries, grid)
    check_identities(table, tolerance=1e-8)
    zone = table.zone("z")
    assert zone.classes[1] < 1600**2 / 1.006
    assert zone.unobserved_m2 == pytest.approx(zone.classes[1] * 7400 / 1600, rel=1e-3)


def test_a_tile_that_is_not_tabulated_stops_the_sum(tmp_path):
    work, boundaries = make_work(tmp_path, make_zones(z=at(0, 16, 40, 0)), ((0, 0), (1, 0)))
    write_tile(work.tiles[0], np.ones((16, 16)))
    tabulate(work.model_copy(update={"tiles": work.tiles[:1]}))
    with pytest.raises(MissingError, match=r"there is no file .*/tabulations/1_0-ab.json"):
        read_table(work.tiles, boundaries, GRID)


def test_a_tile_that_is_tabulated_is_left_alone(tmp_path):
    work, _ = make_work(tmp_path, make_zones(z=at(0, 16, 16, 0)))
    storage.write_json(work.tiles[0].tabulation_uri, {"zones": {}})
    tabulate(work)
    assert storage.read_json(work.tiles[0].tabulation_uri) == {"zones": {}}


def test_no_tiles_at_all_leave_everything_unobserved():
    zone = combine({}, project(make_zones(z=at(0, 1, 1, 0)), GRID), GRID).zone("z")
    assert (zone.classes, zone.unobserved_m2, zone.coverage) == ({}, pytest.approx(100), 0.0)


def test_a_tabulation_says_what_each_zone_holds_of_the_tile(tmp_path):
    work, _ = make_work(tmp_path, make_zones(z=at(0, 16, 16, 0), far=at(100, 101, 101, 100)))
    write_tile(work.tiles[0], np.ones((16, 16)))
    tabulate(work)
    assert storage.read_json(work.tiles[0].tabulation_uri) == {
        "zones": {"z": {"area_m2": pytest.approx(25600.0), "values": {"1": pytest.approx(25600.0)}}}
    }


def test_zones_of_the_same_bytes_are_read_once_and_others_again(tmp_path, monkeypatch):
    read = []
    read_pipeline_zones = boundaries_module.read_pipeline_zones
    monkeypatch.setattr(
        boundaries_module,
        "read_pipeline_zones",
        lambda zones: read.append(zones) or read_pipeline_zones(zones),
    )
    zones = make_zones(a=at(0, 4, 4, 0), b=at(4, 4, 8, 0))
    work, first = make_work(tmp_path, zones)
    columns = {"id_column": "zone_id", "parent_column": "parent_id", "version": "1"}
    pipeline = make_pipeline(
        "s3://none", grid=GRID.model_dump(), zones={"uri": str(tmp_path / "zones.gpkg"), **columns}
    ).model_copy(update={"output": str(tmp_path)})
    uri, again = store_boundaries(pipeline)
    assert (uri, again.digest(), again.drawn.names) == (
        work.boundaries_uri,
        first.digest(),
        first.drawn.names,
    )
    assert len(read) == 1
    Path(uri).unlink()  # what lies below the output may be removed: it is made again
    assert store_boundaries(pipeline)[1].digest() == first.digest()
    other, changed = make_work(tmp_path, make_zones(a=at(0, 4, 4, 0), b=at(4, 4, 9, 0)))
    assert changed.digest() != first.digest()
    assert other.boundaries_uri != uri
    assert len(read) == 3
