"""The identities that areas must fulfil: a zone's figures sum to its area, children to their parent."""

import uuid

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS
from shapely import box

from orthostat.aggregation.identities import check_identities
from orthostat.aggregation.table import PeriodTable, ZoneAreas, read_table
from orthostat.aggregation.tabulate import tabulate
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import IdentityError
from tests.builders_tiles import EQUAL_AREA, GRID, X, Y, make_work, write_tile


def make_row(zone_id, classes, *, area=1000.0, nodata=0.0, unobserved=0.0, parent=None):
    return ZoneAreas(
        zone_id=zone_id,
        name=zone_id,
        parent_id=parent,
        zone_area_m2=area,
        classes=classes,
        nodata_m2=nodata,
        unobserved_m2=unobserved,
    )


def test_identities_hold_to_a_millionth_of_the_zone():
    check_identities(PeriodTable(zones=(make_row("a", {1: 600.0, 2: 300.0005}, nodata=50, unobserved=50),)))
    table = PeriodTable(zones=(make_row("a", {1: 600.0, 2: 300.002}, nodata=50, unobserved=50),))
    with pytest.raises(
        IdentityError,
        match=r"zone 'a': classes \+ nodata \+ unobserved = 1000.002 m2, its area is 1000.000 m2, difference "
        r"\+0.002 m2, allowed 0.001 m2",
    ):
        check_identities(table)
    check_identities(table, tolerance=1e-5)
    with pytest.raises(IdentityError, match="nan"):
        check_identities(PeriodTable(zones=(make_row("a", {1: float("nan")}),)))


def test_children_must_sum_to_their_parent_in_every_figure():
    parent = make_row("p", {1: 500.0, 2: 500.0})
    left = make_row("l", {1: 500.0}, area=500, parent="p")
    check_identities(PeriodTable(zones=(parent, left, make_row("r", {2: 500.0}, area=500, parent="p"))))
    wrong = make_row("r", {2: 400.0, 3: 100.0}, area=500, parent="p")
    with pytest.raises(IdentityError) as error:
        check_identities(PeriodTable(zones=(parent, left, wrong)))
    assert "2 figure(s)" in str(error.value)
    assert "class 2 is 500.000 m2, its 2 child zones sum to 400.000 m2, difference -100.000" in str(
        error.value
    )
    assert "class 3 is 0.000 m2, its 2 child zones sum to 100.000 m2" in str(error.value)
    with pytest.raises(IdentityError, match=r"zone area is 1000.000 m2, its 1 child zones sum to 500.000 m2"):
        check_identities(PeriodTable(zones=(parent, left)))


corner = st.tuples(st.floats(-8, 40), st.floats(-8, 24))


@given(corners=st.lists(corner, min_size=3, max_size=8), cut=st.floats(-5, 37), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_identities_hold_for_any_zones_and_any_composite(tmp_path, corners, cut, seed):
    whole = shapely.convex_hull(shapely.MultiPoint([(X + 10 * x, Y - 10 * y) for x, y in corners]))
    left = whole & box(X - 1000, Y - 1000, X + 10 * cut, Y + 1000)
    right = whole & box(X + 10 * cut, Y - 1000, X + 1000, Y + 1000)
    if min(shape.area if shape.geom_type == "Polygon" else 0 for shape in (whole, left, right)) < 1:
        return
    zones = ZoneSet(
        ("left", "right", "whole"),
        ("left", "right", "whole"),
        ("whole", "whole", None),
        np.array([left, right, whole], dtype=object),
        CRS(EQUAL_AREA),
    )
    work, boundaries = make_work(tmp_path / str(uuid.uuid4()), zones, ((0, 0), (1, 0)))
    rng = np.random.default_rng(seed)
    for task in work.tiles:
        write_tile(task, rng.choice([0, 1, 2, 254, 255], (16, 16)))
    tabulate(work)
    table = read_table(work.tiles, boundaries, GRID)
    check_identities(table)
    assert all(0 <= zone.coverage <= 1 for zone in table.zones)
