"""Estimates per zone and for a whole period."""

import dataclasses
import math

import pytest

from orthostat.errors import SampleError
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
    assert water.estimate_m2 == pytest.approx(25_000)
    assert crop.estimate_m2 == pytest.approx(15_000)
    assert water.se_m2 == pytest.approx(se_m2)
    assert water.cv_pct == pytest.approx(100 * se_m2 / 25_000)
    assert water.ci_lower_m2 == pytest.approx(25_000 - 1.96 * se_m2)
    assert water.ci_upper_m2 == 40_000
    assert not water.is_degenerate
    assert (tree.estimate_m2, tree.se_m2, tree.cv_pct, tree.is_degenerate) == (0, 0, None, True)


def test_a_parent_is_the_sum_of_its_parts() -> None:
    units, map_classes = draw()
    parts = ["north", "south"]
    children = [estimate_zone(units, map_classes, STRATA, PERIOD, z, 2, ["crop"]) for z in parts]
    parent = estimate_zone(units, map_classes, STRATA, PERIOD, "all", 8, ["crop"], parts)
    areas = [child.classes["crop"].estimate_m2 for child in children]
    errors = [child.classes["crop"].se_m2 for child in children]
    assert parent.zone_id == "all"
    assert parent.area_m2 == 60_000
    assert parent.classes["crop"].estimate_m2 == pytest.approx(sum(areas))
    assert parent.classes["crop"].se_m2 == pytest.approx(math.hypot(*errors))


def test_accuracy_of_the_period_counts_what_the_map_leaves_out_as_wrong() -> None:
    units, map_classes = draw()
    found = estimate_accuracy(units, map_classes, STRATA, PERIOD)
    # right: wet 1/2, dry of the north 3/4, dry of the south 1/2; weights 1/6, 3/6, 2/6
    assert found.overall_accuracy.estimate == pytest.approx(1 / 12 + 3 / 8 + 1 / 6)
    assert found.sample_size == 8
    crop = found.classes["crop"]
    assert crop.users_accuracy is not None
    assert crop.users_accuracy.estimate == pytest.approx(
        (30_000 / 2 + 20_000 / 2) / (30_000 * 3 / 4 + 20_000 / 2)
    )
    assert found.classes["unobserved"].producers_accuracy is None


def test_too_small_a_sample_is_refused_with_the_number_needed() -> None:
    units, map_classes = draw()
    with pytest.raises(
        SampleError, match=r"zone 'south' has 2 sample unit.s. in 2025-01, 30 are needed; draw 28"
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
