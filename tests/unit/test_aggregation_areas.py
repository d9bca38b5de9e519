"""Areas on the ellipsoid, held against pyproj.Geod and against each other."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod

from orthostat.aggregation.areas import check_measurable, measure_polygons, measure_rows
from orthostat.errors import GridError

LONLAT = CRS("EPSG:4326")


def along_parallels(west, south, east, north):
    """A box whose horizontal edges follow parallels: Geod connects vertices by geodesics."""
    xs = np.linspace(west, east, 40_001)
    return shapely.Polygon([*((x, south) for x in xs), *((x, north) for x in xs[::-1])])


@pytest.mark.parametrize("north", [0.5, 45.0, 60.5, -33.0, 90.0])
def test_row_areas_equal_those_of_geod(north):
    [area] = measure_rows(LONLAT, Affine(0.5, 0, 10, 0, -0.5, north), 1)
    true = abs(Geod(ellps="WGS84").geometry_area_perimeter(along_parallels(10, north - 0.5, 10.5, north))[0])
    assert area == pytest.approx(true, rel=1e-9)


def test_all_rows_of_the_globe_make_up_the_ellipsoid():
    areas = measure_rows(LONLAT, Affine(360, 0, -180, 0, -1, 90), 180)
    assert areas.sum() == pytest.approx(510_065_621_724_088.4, rel=1e-12)


def test_row_areas_on_a_sphere():
    sphere = CRS.from_proj4("+proj=longlat +R=6371000 +no_defs")
    [area] = measure_rows(sphere, Affine(360, 0, -180, 0, -90, 90), 1)
    assert area == pytest.approx(2 * np.pi * 6371000**2, rel=1e-12)


@given(
    west=st.floats(-170, 160),
    south=st.floats(-89, 80),
    width=st.floats(0.001, 10),
    height=st.floats(0.001, 9),
)
@settings(max_examples=50, deadline=None)
def test_a_boxs_area_is_that_of_its_row(west, south, width, height):
    [row] = measure_rows(LONLAT, Affine(width, 0, west, 0, -height, south + height), 1)
    [box] = measure_polygons(LONLAT, np.array([shapely.box(west, south, west + width, south + height)]))
    assert box == pytest.approx(row, rel=1e-7)


def test_halves_of_a_box_cut_along_a_diagonal_make_up_the_box_and_holes_count_off():
    box = shapely.box(0, 40, 2, 42)
    halves = [shapely.Polygon([(0, 40), (2, 40), (2, 42)]), shapely.Polygon([(0, 40), (2, 42), (0, 42)])]
    hole = shapely.box(0.5, 40.5, 1, 41)
    areas = measure_polygons(
        LONLAT, np.array([box, *halves, box - hole, hole, shapely.MultiPolygon(halves[:1])])
    )
    assert areas[1] + areas[2] == pytest.approx(areas[0], rel=1e-12)
    assert areas[1] > areas[2]  # the southern half is larger on the ground
    assert areas[3] == pytest.approx(areas[0] - areas[4], rel=1e-12)
    assert areas[5] == areas[1]


def test_areas_in_feet_are_given_in_square_metres():
    feet = CRS("EPSG:2263")
    assert measure_rows(feet, Affine(10, 0, 984_250, 0, -10, 200_000), 1)[0] == pytest.approx(
        100 * 0.09290341
    )
    assert measure_polygons(feet, np.array([shapely.box(0, 0, 10, 10)]))[0] == pytest.approx(100 * 0.09290341)


def test_latitudes_beyond_the_pole_and_unknown_kinds_of_systems_are_refused():
    with pytest.raises(GridError, match="limit is 90 degrees"):
        check_measurable(LONLAT, (0, 80, 10, 91))
    with pytest.raises(GridError, match="neither projected nor geographic"):
        check_measurable(CRS("EPSG:4978"), (0, 0, 1, 1))
