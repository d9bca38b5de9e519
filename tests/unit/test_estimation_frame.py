"""The population of an estimate: each part once, the whole of it, and every unit in its zone."""

import dataclasses

import numpy as np
import pytest
import shapely
from pyproj import CRS

from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import SampleError
from orthostat.estimation.frame import check_frame, check_parts, check_places, find_misfits, find_parts
from orthostat.estimation.sample import SampleStratum, SampleUnit
from orthostat.pipelines.config import Sample
from tests.builders_statistics import SAMPLE

WHOLE = Sample.model_validate(SAMPLE)
# A nation of two regions; the north has two municipalities of 1 km2, the south none.
BOXES = {
    "nation": (None, (500_000, 0, 502_000, 2_000)),
    "north": ("nation", (500_000, 1_000, 502_000, 2_000)),
    "north-1": ("north", (500_000, 1_000, 501_000, 2_000)),
    "north-2": ("north", (501_000, 1_000, 502_000, 2_000)),
    "south": ("nation", (500_000, 0, 502_000, 1_000)),
}


@pytest.fixture
def zones() -> ZoneSet:
    ids = tuple(BOXES)
    geometries = np.array([shapely.box(*BOXES[zone_id][1]) for zone_id in ids])
    return ZoneSet(ids, ids, tuple(BOXES[z][0] for z in ids), geometries, CRS("EPSG:32633"))


def strata(*zone_ids: str) -> list[SampleStratum]:
    return [SampleStratum("2025", zone_id, "all", 100, 1e6) for zone_id in zone_ids]


def unit(zone_id: str, x: float, y: float) -> SampleUnit:
    return SampleUnit("u1", "2025", zone_id, "all", x, y, "crop")


def test_a_zone_and_its_part_may_not_both_have_strata(zones: ZoneSet) -> None:
    check_parts(strata("north-1", "north-2", "south"), zones)
    with pytest.raises(SampleError, match="zone 'north-1' and zone 'north', which it is part of, both have"):
        check_parts(strata("north", "north-1", "south"), zones)
    with pytest.raises(SampleError, match="zone 'south' and zone 'nation'"):
        check_parts(strata("nation", "south"), zones)


def test_strata_of_unknown_zones_are_refused(zones: ZoneSet) -> None:
    with pytest.raises(SampleError, match=r"the zone.s. \['west'\], which the boundary file does not have"):
        check_parts(strata("south", "west"), zones)


def test_a_zone_is_made_of_all_its_sampled_parts(zones: ZoneSet) -> None:
    sampled = {"north-1", "north-2", "south"}
    assert find_parts("nation", zones, sampled, is_whole=True) == sampled
    assert find_parts("north", zones, sampled, is_whole=True) == {"north-1", "north-2"}
    assert find_parts("south", zones, sampled, is_whole=True) == {"south"}


def test_one_part_left_out_refuses_every_zone_above_it_and_names_it(zones: ZoneSet) -> None:
    with pytest.raises(
        SampleError, match=r"'nation' needs all of its parts: zone 'north' needs .*'north-2' has"
    ):
        find_parts("nation", zones, {"north-1", "south"}, is_whole=True)
    assert find_parts("nation", zones, {"north-1", "south"}, is_whole=False) == {"north-1", "south"}
    with pytest.raises(SampleError, match="'north' needs all of its parts"):
        find_parts("north", zones, {"south"}, is_whole=False)


def test_strata_that_are_not_the_zone_are_refused_with_both_areas() -> None:
    check_frame("a", 0.995e6, 1e6, WHOLE)
    with pytest.raises(SampleError, match=r"add up to 100 m2, the zone has 1000000 m2: -99.99%, allowed"):
        check_frame("a", 100.0, 1e6, WHOLE)
    with pytest.raises(SampleError, match=r"\+20.00%"):
        check_frame("a", 1.2e6, 1e6, WHOLE)


def test_a_declared_frame_may_be_a_part_of_the_zone_and_no_more() -> None:
    part = WHOLE.model_copy(update={"population": "frame"})
    check_frame("a", 100.0, 1e6, part)
    with pytest.raises(SampleError, match=r"\+20.00%"):
        check_frame("a", 1.2e6, 1e6, part)


def test_zones_whose_strata_do_not_fit_are_found_one_by_one() -> None:
    two = [*strata("south"), *strata("north-1"), *strata("north-1")]
    found = find_misfits(two, {"south": 1e6, "north-1": 1e6}, WHOLE)
    assert list(found) == ["north-1"]
    assert "+100.00%" in str(found["north-1"])


def test_units_lie_in_their_zone_or_a_pixel_beside_it(zones: ZoneSet) -> None:
    check_places([unit("south", 500_500, 500), unit("south", 500_500, 1_009)], zones, "EPSG:32633", 10)
    with pytest.raises(SampleError, match=r"1 of 2 units of 2025 lie outside .* is 11 m from zone 'south'"):
        check_places([unit("south", 500_500, 500), unit("south", 500_500, 1_011)], zones, "EPSG:32633", 10)
    with pytest.raises(SampleError, match="500 m from zone 'north-1'"):
        check_places([unit("north-1", 501_500, 1_500)], zones, "EPSG:32633", 10)


def test_a_wrong_coordinate_system_is_found(zones: ZoneSet) -> None:
    with pytest.raises(
        SampleError, match=r"1 of 1 units .* correct x and y, zone_id, or sample.crs, which is"
    ):
        check_places([unit("south", 500_500, 500)], zones, "EPSG:32634", 10)
    with pytest.raises(SampleError, match=r"1 of 1 units"):
        check_places([unit("south", 500_500, 500)], zones, "EPSG:4326", 10)
    there = dataclasses.replace(unit("south", 15.0045, 0.0045))
    check_places([there], zones, "EPSG:4326", 10)
