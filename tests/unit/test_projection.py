import numpy as np
import pytest

from orthostat.errors import GridError
from orthostat.projection import areal_scale, check_defined, parse_crs, parse_projected


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


def test_areal_scale_of_equal_area_and_conformal_systems():
    laea = areal_scale(parse_crs("EPSG:3035"), np.array([2_600_000.0]), np.array([1_400_000.0]))
    assert laea == pytest.approx([1], abs=1e-9)
    utm = areal_scale(parse_crs("EPSG:32633"), np.array([500_000.0]), np.array([5_000_000.0]))
    assert utm == pytest.approx([0.9996**2], abs=1e-9)


def test_far_from_its_centre_a_system_is_still_defined_but_web_mercator_is_refused_everywhere():
    check_defined(parse_crs("EPSG:32633"), (166_000, 0, 1_600_000, 1_000_000))
    check_defined(parse_crs("EPSG:3395"), (0, 5_000_000, 1000, 5_001_000))
    with pytest.raises(GridError, match="Web Mercator"):
        check_defined(parse_crs("EPSG:3857"), (0, 0, 1000, 1000))


def test_coordinates_that_the_system_does_not_know_are_refused():
    with pytest.raises(GridError, match="not defined everywhere"):
        check_defined(parse_crs("EPSG:3035"), (0, 0, 1e9, 1e9))
