"""Estimates per zone and for a whole period."""

import dataclasses
import math

import pytest

from orthostat.errors import IdentityError, SampleError
from orthostat.estimation.period import estimate_accuracy, estimate_zone
from orthostat.estimation.sample import SampleStratum, SampleUnit

PERIOD = "2025-01"
STRATA = [
    SampleStratum(PERIOD, "north", "wet", 100, 10_000.0),
    SampleStratum(PERIOD, "north", "dry", 300, 30_000.0),
    SampleStratum(PERIOD, "south", "dry", 200, 20_000.0),
    SampleStratum("2025-02", "north", "dry", 400, 40_000.0),
]
# stratum, map class, reference class
DRAWN = {
    "north": [
        ("wet", "water", "water"),
        ("wet", "nodata", "water"),
        ("dry", "crop", "crop"),
        ("dry", "crop", "crop"),
        ("dry", "crop", "water"),
        ("dry", "water", "water"),
    ],
    "south": [("dry", "crop", "crop"), ("dry", "unobserved", "crop")],
}


def draw() -> tuple[list[SampleUnit], dict[str, str]]:
    units, map_classes = [], {}
    for zone_id, drawn in DRAWN.items():
        for stratum, mapped, reference in drawn:
            unit_id = str(len(units))
            units.append(SampleUnit(unit_id, PERIOD, zone_id, stratum, 0.0, 0.0, reference))
            map_classes[unit_id] = mapped
    units.append(SampleUnit("0", "2025-02", "north", "dry", 0.0, 0.0, "crop"))
    return units, map_classes


def test_areas_of_a_zone_by_hand() -> None:
    units, map_classes = draw()
    found = estimate_zone(units, map_classes, STRATA, PERIOD, "north", 6, ["water", "crop", "tree"])
    # water: 10 000 m2 * 2/2 + 30 000 m2 * 2/4; only the dry stratum varies, s2 = 1/3.
    se_m2 = 30_000 * math.sqrt((1 - 4 / 300) / 3 / 4)
    assert (found.period, found.zone_id, found.sample_size) == (PERIOD, "north", 6)
    assert found.area_m2 == 40_000
    assert list(found.classes) == ["water", "crop", "tree"]
    water, crop, tree = found.classes.values()
    assert water.estimate == pytest.approx(25_000)
    assert crop.estimate == pytest.approx(15_000)
    assert water.se == pytest.approx(se_m2)
    assert water.cv_pct == pytest.approx(100 * se_m2 / 25_000)
    assert not water.is_degenerate
    assert (tree.estimate, tree.se, tree.cv_pct, tree.is_degenerate) == (0, 0, None, True)
    assert (tree.ci_lower, tree.ci_upper > 10_000) == (0, True)
    assert found.effective_size == pytest.approx(
        1 / (0.25**2 * (1 - 2 / 100) / 2 + 0.75**2 * (1 - 4 / 300) / 4)
    )


def test_a_parent_is_the_sum_of_its_parts() -> None:
    units, map_classes = draw()
    parts = ["north", "south"]
    children = [estimate_zone(units, map_classes, STRATA, PERIOD, z, 2, ["crop", "water"]) for z in parts]
    parent = estimate_zone(units, map_classes, STRATA, PERIOD, "all", 8, ["crop", "water"], parts)
    areas = [child.classes["crop"].estimate for child in children]
    errors = [child.classes["crop"].se for child in children]
    assert parent.zone_id == "all"
    assert parent.area_m2 == 60_000
    assert parent.classes["crop"].estimate == pytest.approx(sum(areas))
    assert parent.classes["crop"].se == pytest.approx(math.hypot(*errors))


def test_accuracies_are_about_what_the_map_shows() -> None:
    units, map_classes = draw()
    found = estimate_accuracy(units, map_classes, STRATA, PERIOD)
    # right and shown, in m2: wet 1 and 1 of 2, dry of the north 3 and 4 of 4, dry of the south 1 and 1 of 2
    right, shown = 5_000 + 22_500 + 10_000, 5_000 + 30_000 + 10_000
    assert found.overall_accuracy is not None
    assert found.overall_accuracy.estimate == pytest.approx(right / shown)
    assert (found.sample_size, found.mapped_size) == (8, 6)
    assert list(found.classes) == ["crop", "water"]
    crop, water = found.classes.values()
    assert crop.users_accuracy is not None
    assert crop.users_accuracy.estimate == pytest.approx((15_000 + 10_000) / (22_500 + 10_000))
    assert water.producers_accuracy is not None
    assert water.producers_accuracy.estimate == pytest.approx((5_000 + 7_500) / (5_000 + 15_000))
    # the area needs no map: the unit of the wet stratum that the map leaves out is water all the same
    assert water.area.estimate == pytest.approx(10_000 + 15_000)


def test_a_map_that_shows_no_unit_has_no_accuracy() -> None:
    units, map_classes = draw()
    found = estimate_accuracy(units, dict.fromkeys(map_classes, "unobserved"), STRATA, PERIOD)
    assert found.overall_accuracy is None
    assert found.classes["crop"].area.estimate == pytest.approx(35_000)


def test_a_unit_that_nobody_could_interpret_is_left_out_and_counted() -> None:
    units, map_classes = draw()
    units[4] = dataclasses.replace(units[4], reference_class="uninterpreted")
    found = estimate_zone(units, map_classes, STRATA, PERIOD, "north", 5, ["water", "crop"])
    assert (found.sample_size, found.uninterpreted_size) == (5, 1)
    assert found.classes["water"].estimate == pytest.approx(10_000 + 30_000 / 3)
    with pytest.raises(SampleError, match=r"has 5 interpreted sample unit.s. in 2025-01, 6 are needed"):
        estimate_zone(units, map_classes, STRATA, PERIOD, "north", 6, ["water", "crop"])


def test_a_reference_class_that_is_left_out_breaks_the_sum() -> None:
    units, map_classes = draw()
    with pytest.raises(IdentityError, match="add up to 15000 m2, its frame has 40000 m2"):
        estimate_zone(units, map_classes, STRATA, PERIOD, "north", 6, ["crop"])


def test_too_small_a_sample_is_refused_with_the_number_needed() -> None:
    units, map_classes = draw()
    with pytest.raises(
        SampleError, match=r"zone 'south' has 2 interpreted sample unit.s. in 2025-01, 30 are needed; draw 28"
    ):
        estimate_zone(units, map_classes, STRATA, PERIOD, "south", 30, ["crop"])


def test_a_zone_without_strata_is_refused() -> None:
    units, map_classes = draw()
    with pytest.raises(SampleError, match=r"no stratum of the zone.s. \['west'\] in 2025-01"):
        estimate_zone(units, map_classes, STRATA, PERIOD, "west", 0, ["crop"])
    with pytest.raises(SampleError, match="no stratum of any zone in 2026-01"):
        estimate_accuracy(units, map_classes, STRATA, "2026-01")


def test_a_stratum_with_one_unit_is_named_with_its_zone() -> None:
    units, map_classes = draw()
    with pytest.raises(SampleError, match="stratum 'south/dry' has 1 sample unit"):
        estimate_zone(units[:7], map_classes, STRATA, PERIOD, "south", 1, ["crop"])


def test_a_misspelt_stratum_is_refused_whatever_zone_is_asked_for() -> None:
    units, map_classes = draw()
    units[7] = dataclasses.replace(units[7], stratum="dri")
    with pytest.raises(SampleError, match="unit '7' of 2025-01 is in zone 'south', stratum 'dri', which"):
        estimate_zone(units, map_classes, STRATA, PERIOD, "north", 2, ["crop"])


def test_a_unit_without_a_map_class_is_refused() -> None:
    units, map_classes = draw()
    del map_classes["3"]
    with pytest.raises(SampleError, match="unit '3' of 2025-01 has no map class, 7 units have one"):
        estimate_accuracy(units, map_classes, STRATA, PERIOD)
