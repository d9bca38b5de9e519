"""The synthetic world is what the demo says it is: always the same, with known truth and a sound sample."""

import numpy as np
import pytest
from pyproj import CRS

from demo.synthetic.sample import draw_sample, sample_size
from demo.synthetic.scenes import FOOTPRINTS, SCENE_SHAPE, observe
from demo.synthetic.truth import (
    CLASSES,
    PERIODS,
    SEED,
    SHAPE,
    TRANSFORM,
    make_world,
    make_zones,
    truth_areas,
    zone_of_pixels,
)
from orthostat.aggregation.areas import measure_polygons


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module")
def zones():
    return make_zones()


@pytest.fixture(scope="module")
def drawn(world, zones):
    return draw_sample(world, zones)


def test_the_world_is_the_same_every_time(world):
    again = make_world()
    assert all(np.array_equal(a, b) for a, b in zip(world.months, again.months, strict=True))
    first, second = (observe(world.months[0], world.parcels, np.random.default_rng(SEED)) for _ in range(2))
    assert np.array_equal(first, second)


def test_true_areas_add_up_to_each_zone_with_its_cut_pixels(world, zones):
    true = measure_polygons(CRS(zones.crs), zones.geometry.to_numpy())
    for cover in world.months:
        areas = truth_areas(cover, zones)
        for zone_id, polygon, area_m2 in zip(zones["zone_id"], zones.geometry, true, strict=True):
            assert sum(areas[zone_id].values()) == pytest.approx(area_m2, rel=2e-5)
            assert polygon.area % 100 > 1e-3


def test_the_water_rises_the_towns_grow_and_the_crops_lose(world, zones):
    totals = {name: [] for name in CLASSES}
    for cover in world.months:
        for name in CLASSES:
            totals[name].append(sum(areas[name] for areas in truth_areas(cover, zones).values()))
    assert totals["water"] == sorted(totals["water"])
    assert totals["built"] == sorted(totals["built"])
    assert totals["crop"] == sorted(totals["crop"], reverse=True)


def test_zones_share_borders_without_gap_or_overlap(zones):
    assert zones.union_all().area == pytest.approx(zones.area.sum(), abs=1e-3)
    assert zones.union_all().geom_type == "Polygon"


def test_strata_hold_every_pixel_of_a_zone_once(zones, drawn):
    _, strata = drawn
    pixels = np.bincount(zone_of_pixels(zones).ravel(), minlength=len(zones))
    for period in PERIODS:
        sizes = strata[strata["period"] == period].groupby("zone_id")["size"].sum()
        assert sizes.to_dict() == dict(zip(zones["zone_id"], pixels, strict=True))
    assert strata["area_m2"].to_numpy() == pytest.approx(strata["size"].to_numpy() * 100, rel=1e-3)


def test_every_stratum_is_sampled_without_repeating_a_pixel(drawn):
    sample, strata = drawn
    keys = ["period", "zone_id", "stratum"]
    counts = sample.groupby(keys).size()
    for row in strata.itertuples():
        assert counts[row.period, row.zone_id, row.stratum] == sample_size(row.size) >= 2
    assert len(counts) == len(strata)
    assert not sample.duplicated(["period", "x", "y"]).any()
    assert sample["unit_id"].is_unique


def test_a_unit_lies_at_a_pixel_centre_of_its_zone_and_says_the_truth(world, zones, drawn):
    sample, _ = drawn
    zone_of_pixel = zone_of_pixels(zones)
    names = list(CLASSES)
    for unit in sample.iloc[::50].itertuples():
        column, row = ~TRANSFORM * (unit.x, unit.y)
        assert (row % 1, column % 1) == (0.5, 0.5)
        at = int(row), int(column)
        assert zones["zone_id"][zone_of_pixel[at]] == unit.zone_id
        assert names[world.months[PERIODS.index(unit.period)][at]] == unit.reference_class


def test_the_scenes_of_a_month_cover_the_world_and_overlap():
    times = np.zeros(SHAPE, int)
    for footprint in FOOTPRINTS:
        rows, columns = SCENE_SHAPE
        times[footprint.row : footprint.row + rows, footprint.column : footprint.column + columns] += 1
    assert times.min() == 1
    assert times.max() == 4
