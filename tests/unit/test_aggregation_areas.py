"""Areas on the ellipsoid, held against pyproj.Geod and against each other."""

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from orthostat.aggregation.areas import check_measurable, measure_pixels, measure_polygons
from orthostat.errors import GridError

LONLAT = CRS("EPSG:4326")


def along_parallels(west, south, east, north):
    """A box whose horizontal edges follow parallels: Geod connects vertices by geodesics."""
    xs = np.linspace(west, east, 40_001)
    return shapely.Polygon([*((x, south) for x in xs), *((x, north) for x in xs[::-1])])


@pytest.mark.parametrize("north", [0.5, 45.0, 60.5, -33.0, 90.0])
def test_row_areas_equal_those_of_geod(north):
    [area] = measure_pixels(LONLAT, Affine(0.5, 0, 10, 0, -0.5, north), 1, 1)[:, 0]
    true = abs(Geod(ellps="WGS84").geometry_area_perimeter(along_parallels(10, north - 0.5, 10.5, north))[0])
    assert area == pytest.approx(true, rel=1e-9)


def test_all_rows_of_the_globe_make_up_the_ellipsoid():
    areas = measure_pixels(LONLAT, Affine(360, 0, -180, 0, -1, 90), 180, 1)[:, 0]
    assert areas.sum() == pytest.approx(510_065_621_724_088.4, rel=1e-12)


def test_row_areas_on_a_sphere():
    sphere = CRS.from_proj4("+proj=longlat +R=6371000 +no_defs")
    [area] = measure_pixels(sphere, Affine(360, 0, -180, 0, -90, 90), 1, 1)[:, 0]
    assert area == pytest.approx(2 * np.pi * 6371000**2, rel=1e-12)


@pytest.mark.parametrize("pixel", [40_000.0, 1_000.0, 10.0])
@pytest.mark.parametrize("code", ["EPSG:3413", "EPSG:32633", "EPSG:3857"])
def test_pixels_make_up_the_polygon_that_they_fill_however_large_they_are(code, pixel):
    """In polar stereographic pixels of 40 km the scale bends within a pixel."""
    crs, columns, rows = CRS(code), 40, 30
    west, north = 300_000.0, 700_000.0 if code == "EPSG:3413" else 6_500_000.0
    transform = Affine(pixel, 0, west, 0, -pixel, north)
    areas = np.broadcast_to(measure_pixels(crs, transform, rows, columns), (rows, columns))
    boxes = [
        shapely.box(west, north - rows * pixel, west + columns * pixel, north),
        shapely.box(west, north - 10 * pixel, west + columns * pixel, north),
    ]
    whole, top = measure_polygons(crs, np.array(boxes))
    assert areas.sum() == pytest.approx(whole, rel=1e-9)
    assert areas[:10].sum() == pytest.approx(top, rel=1e-9)


@given(
    west=st.floats(-170, 160),
    south=st.floats(-89, 80),
    width=st.floats(0.001, 10),
    height=st.floats(0.001, 9),
)
@settings(max_examples=50, deadline=None)
def test_a_boxs_area_is_that_of_its_row(west, south, width, height):
    [row] = measure_pixels(LONLAT, Affine(width, 0, west, 0, -height, south + height), 1, 1)[:, 0]
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
    [[pixel]] = measure_pixels(feet, Affine(10, 0, 984_250, 0, -10, 200_000), 1, 1)
    [box] = measure_polygons(feet, np.array([shapely.box(984_250, 199_990, 984_260, 200_000)]))
    assert pixel == pytest.approx(100 * 0.09290341, rel=1e-3)
    assert box == pytest.approx(pixel, rel=1e-9)


def test_a_zone_far_from_the_centre_of_its_system_is_as_large_as_on_the_ellipsoid():
    """From 15 to 45 degrees east in UTM 33 it is 4.6 % too large in the plane."""
    utm, box = CRS("EPSG:32633"), shapely.box(15, 40, 45, 50)
    to_plane = Transformer.from_crs(LONLAT, utm, always_xy=True).transform
    plane = shapely.transform(shapely.segmentize(box, 0.002), to_plane, interleaved=False)
    assert plane.area > 1.046 * measure_polygons(LONLAT, np.array([box]))[0]
    [found] = measure_polygons(utm, np.array([plane]))
    assert found == pytest.approx(measure_polygons(LONLAT, np.array([box]))[0], rel=1e-8)


def test_pixels_and_the_polygon_around_them_agree_where_the_scale_varies():
    mercator, transform = CRS("EPSG:3395"), Affine(500, 0, 1e6, 0, -500, 8e6)
    pixels = measure_pixels(mercator, transform, 400, 300)
    assert pixels.shape == (400, 1) or pixels.shape == (400, 300)
    assert pixels[0, 0] < pixels[-1, 0]  # the north is shown larger than the south
    box = shapely.box(1e6, 8e6 - 400 * 500, 1e6 + 300 * 500, 8e6)
    total = np.broadcast_to(pixels, (400, 300)).sum()
    assert measure_polygons(mercator, np.array([box]))[0] == pytest.approx(total, rel=1e-7)
    parts = np.array([box & shapely.box(0, 7.9e6, 2e6, 9e6), box - shapely.box(0, 7.9e6, 2e6, 9e6)])
    assert measure_polygons(mercator, parts).sum() == pytest.approx(total, rel=1e-7)


def test_a_system_that_shows_areas_too_unevenly_is_refused():
    with pytest.raises(GridError, match=r"too unevenly|not defined everywhere"):
        measure_pixels(CRS("EPSG:3395"), Affine(1e5, 0, -1e7, 0, -1e5, 4e7), 800, 200)


def test_latitudes_beyond_the_pole_and_unknown_kinds_of_systems_are_refused():
    with pytest.raises(GridError, match="limit is 90 degrees"):
        check_measurable(LONLAT, (0, 80, 10, 91))
    with pytest.raises(GridError, match="neither projected nor geographic"):
        check_measurable(CRS("EPSG:4978"), (0, 0, 1, 1))
