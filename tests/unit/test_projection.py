import pytest

from orthostat.errors import GridError
from orthostat.projection import check_areal_scale, parse_crs, parse_projected


@pytest.mark.parametrize("crs", ["EPSG:32621", "EPSG:3035", "EPSG:6933"])
def test_projected_systems_in_metres_hold_a_grid(crs):
    assert parse_projected(crs).is_projected


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ("EPSG:4326", "is not projected"),
        ("EPSG:3857", "Web Mercator"),
        ("ESRI:102100", "Web Mercator"),
        ("EPSG:2263", "units of 0.3048"),
        ("UTM 21", "is no coordinate system"),
    ],
)
def test_systems_that_hold_no_grid_are_refused(crs, message):
    with pytest.raises(GridError, match=message):
        parse_projected(crs)


def test_utm_keeps_areas_within_its_zone_but_not_far_outside():
    utm = parse_crs("EPSG:32633")
    check_areal_scale(utm, (166_000, 0, 834_000, 9_000_000))
    with pytest.raises(GridError, match=r"areas 1\.0\d+ times .* at most 1% distortion .* warp"):
        check_areal_scale(utm, (166_000, 0, 1_600_000, 1_000_000))


def test_equal_area_systems_keep_areas_everywhere():
    check_areal_scale(parse_crs("EPSG:3035"), (2_600_000, 1_400_000, 7_300_000, 5_400_000))


def test_world_mercator_is_refused_away_from_the_equator_and_web_mercator_everywhere():
    mercator = parse_crs("EPSG:3395")
    check_areal_scale(mercator, (0, -1000, 1000, 1000))
    with pytest.raises(GridError, match="times their size"):
        check_areal_scale(mercator, (0, 5_000_000, 1000, 5_001_000))
    with pytest.raises(GridError, match="Web Mercator"):
        check_areal_scale(parse_crs("EPSG:3857"), (0, 0, 1000, 1000))


def test_coordinates_that_the_system_does_not_know_are_refused():
    with pytest.raises(GridError, match="not defined everywhere"):
        check_areal_scale(parse_crs("EPSG:3035"), (0, 0, 1e9, 1e9))
