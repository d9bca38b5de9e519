"""Objects per zone: on a border shared by zones, each point lies in exactly one of them."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from shapely import box

from orthostat.aggregation.boundaries import project
from orthostat.aggregation.counts import ObjectCounts, count_objects, find_zones, sum_counts
from orthostat.aggregation.identities import check_identities
from orthostat.aggregation.table import PeriodTable, ZoneAreas, combine
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import IdentityError
from tests.builders_tiles import GRID, make_zones

UTM = CRS("EPSG:32633")


def owners(points, polygons):
    """Numbers of the polygons that each point belongs to."""
    polygon, point = find_zones(np.array(points, dtype=float), np.array(polygons, dtype=object))
    return [sorted(polygon[point == number].tolist()) for number in range(len(points))]


def test_points_inside_and_outside():
    ring = box(0, 0, 9, 9) - box(3, 3, 6, 6)
    parts = shapely.MultiPolygon([box(20, 0, 21, 1), box(30, 0, 31, 1)])
    assert owners([(1, 1), (4, 4), (10, 1), (20.5, 0.5), (30.5, 0.5), (25, 0.5)], [ring, parts]) == [
        [0], [], [], [1], [1], [],
    ]  # fmt: skip


def test_a_point_on_a_border_belongs_to_the_polygon_in_the_east_or_else_in_the_north():
    south_west, south_east, north = box(0, 0, 2, 2), box(2, 0, 4, 2), box(0, 2, 4, 4)
    points = [(2, 1), (1, 2), (2, 2), (0, 0), (4, 1), (1, 4), (3, 2), (0, 2)]
    assert owners(points, [south_west, south_east, north]) == [[1], [2], [2], [0], [], [], [2], [2]]


def test_a_hole_is_filled_by_its_zone_to_the_last_point():
    town = box(3, 3, 6, 6)
    country = box(0, 0, 9, 9) - town
    corners_and_sides = [(3, 3), (3, 6), (6, 3), (6, 6), (3, 4), (6, 4), (4, 3), (4, 6)]
    assert owners(corners_and_sides, [country, town]) == [[1], [0], [0], [0], [1], [0], [1], [0]]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_of_zones_that_tile_a_parent_each_point_belongs_to_one_and_to_the_parent(seed):
    rng = np.random.default_rng(seed)
    corners = np.unique(rng.integers(0, 9, (12, 2)), axis=0) * 2.0
    triangles = shapely.get_parts(shapely.delaunay_triangles(shapely.MultiPoint(corners)))
    if not len(triangles):
        return
    middles = (corners[:, None] + corners[None]).reshape(-1, 2) / 2
    points = np.concatenate([corners, middles, rng.integers(0, 17, (40, 2))])
    parent = shapely.union_all(triangles)
    for found in owners(points, [*triangles, parent]):
        assert found in ([], [*found[:1], len(triangles)])


def test_each_zone_counts_by_itself_and_classes_apart():
    zones = ZoneSet(
        ("left", "right", "whole"),
        ("left", "right", "whole"),
        ("whole", "whole", None),
        np.array([box(0, 0, 2, 2), box(2, 0, 4, 2), box(0, 0, 4, 2)], dtype=object),
        UTM,
    )
    points = np.array([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (9.0, 9.0)])
    counts = count_objects(points, np.array([0, 1, 1, 1]), UTM, zones)
    assert counts.zones == {"left": {0: 1}, "right": {1: 2}, "whole": {0: 1, 1: 2}}
    assert (counts.kept, counts.outside) == ({0: 1, 1: 3}, {1: 1})
    nothing = count_objects(np.zeros((0, 2)), np.zeros(0, np.int64), UTM, zones)
    assert nothing == sum_counts([]) == ObjectCounts(kept={}, outside={}, zones={})
    assert sum_counts([counts, nothing, counts]).zones["whole"] == {0: 2, 1: 4}


def test_points_are_taken_to_the_zones_own_system():
    there = Transformer.from_crs(UTM, 4326, always_xy=True).transform
    zones = make_zones(z=box(500_000, 4_983_000, 500_010, 4_983_010))
    degrees = replace(
        zones, geometries=shapely.transform(zones.geometries, there, interleaved=False), crs=CRS(4326)
    )
    points = np.array([(500_000.01, 4_983_005.0), (500_010.01, 4_983_005.0)])
    assert count_objects(points, np.array([0, 0]), UTM, degrees).zones == {"z": {0: 1}}


def part(kept, outside, **zones):
    return ObjectCounts(kept=kept, outside=outside, zones=zones).model_dump(mode="json")


def test_a_period_has_the_objects_of_its_tiles():
    zones = make_zones(z=box(500_000, 4_983_000, 500_010, 4_983_010), empty=box(0, 0, 1, 1))
    boundaries = project(zones, GRID)
    tabulations = {
        (0, 0): {"zones": {}, "objects": part({0: 3}, {0: 1}, z={0: 2})},
        (1, 0): {"zones": {}, "objects": part({0: 1, 1: 1}, {}, z={0: 1, 1: 1})},
    }
    table = combine(tabulations, boundaries, GRID, counts_objects=True)
    assert (table.zone("z").objects, table.zone("empty").objects) == ({0: 3, 1: 1}, {})
    assert table.objects is not None
    assert (table.objects.kept, table.objects.outside) == ({0: 4, 1: 1}, {0: 1})
    assert PeriodTable.model_validate(table.model_dump(mode="json")) == table
    with pytest.raises(IdentityError, match="counted in 1 of 2 tiles, which must be all"):
        combine(tabulations | {(1, 0): {"zones": {}}}, boundaries, GRID, counts_objects=True)
    with pytest.raises(IdentityError, match="counted in 2 of 2 tiles, which must be none"):
        combine(tabulations, boundaries, GRID)
    assert combine({}, boundaries, GRID, counts_objects=True).zone("z").objects == {}
    assert combine({}, boundaries, GRID).zone("z").objects is None


def make_table(parent, left, right, kept, outside):
    def row(zone_id, objects, area, above):
        return ZoneAreas(
            zone_id=zone_id,
            name=zone_id,
            parent_id=above,
            zone_area_m2=area,
            classes={0: area},
            nodata_m2=0.0,
            unobserved_m2=0.0,
            objects=objects,
        )

    zones = (row("l", left, 1.0, "p"), row("p", parent, 2.0, None), row("r", right, 1.0, "p"))
    return PeriodTable(zones=zones, objects=ObjectCounts(kept=kept, outside=outside, zones={}))


def test_children_must_have_the_objects_of_their_parent():
    check_identities(make_table({0: 3}, {0: 1}, {0: 2}, {0: 4}, {0: 1}))
    with pytest.raises(
        IdentityError, match=r"zone 'p': 3 objects of class 0, its 2 child zones have 2, allowed is no diff"
    ):
        check_identities(make_table({0: 3}, {0: 1}, {0: 1}, {0: 4}, {0: 1}))


def test_no_object_is_lost():
    with pytest.raises(
        IdentityError, match=r"class 0: 5 objects were composed, 4 lie in a zone .* so 1 are lost"
    ):
        check_identities(make_table({0: 3}, {0: 1}, {0: 2}, {0: 5}, {0: 1}))
