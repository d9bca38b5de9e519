"""When a figure is published, and with which status."""

from typing import Any

import pytest

from orthostat.estimation.estimates import Estimate
from orthostat.estimation.period import ZoneEstimate
from orthostat.pipelines.config import Publication, Sample
from orthostat.statistics.rules import Published, publish_estimate, publish_map_count
from tests.builders_statistics import SAMPLE, make_area

RULES = Publication(min_coverage=0.8, normal_coverage=0.95, max_cv_pct=25, suppress_cv_pct=50)


def test_a_pixel_count_is_experimental_and_says_that_it_has_no_interval() -> None:
    published = publish_map_count(123.0, 0.99, RULES)
    assert (published.value, published.obs_status) == (123.0, "G")
    assert published.obs_note == "pixel count: no reference sample behind it, no interval"


def test_a_pixel_count_of_a_partly_seen_zone_stays_experimental_with_the_coverage_in_its_note() -> None:
    published = publish_map_count(123.0, 0.9, RULES)
    assert (published.value, published.obs_status) == (123.0, "G")
    assert published.obs_note is not None
    assert published.obs_note.endswith("; coverage 0.9 is below the normal 0.95")


@pytest.mark.parametrize("coverage", [0.0001, 0.7999])
def test_too_little_seen_leaves_the_count_empty_and_names_both_numbers(coverage: float) -> None:
    expected = (None, "O", f"coverage {coverage:.4g} is below 0.8")
    assert publish_map_count(0.0, coverage, RULES) == expected


def test_nothing_seen_is_never_published_as_nothing_there() -> None:
    rules = Publication(min_coverage=0.0)
    assert publish_map_count(0.0, 0.0, rules) == (None, "O", "nothing was observed")
    assert publish_map_count(0.0, 1e-9, rules).value == 0.0


def test_the_least_coverage_that_is_allowed_is_published() -> None:
    assert publish_map_count(0.0, 0.8, RULES).value == 0.0


def publish(
    area: Estimate, rules: Publication = RULES, *, size: int = 100, missed: int = 0, **sample: Any
) -> Published:
    """In a zone of 1,000 m2."""
    zone = ZoneEstimate("2024", "a", size - missed, missed, float(size), 1000.0, {})
    return publish_estimate(
        area, zone, Sample.model_validate(SAMPLE | {"is_simulated": False} | sample), rules
    )


@pytest.mark.parametrize(
    ("se_m2", "area_m2", "status", "note"),
    [
        (20.0, 100.0, "P", None),
        (25.0, 100.0, "P", None),
        (26.0, 100.0, "U", "CV 26 % is above 25 %"),
        (50.0, 100.0, "U", "CV 50 % is above 25 %"),
        (51.0, None, "Q", "CV 51 % is above 50 %"),
    ],
)
def test_an_estimate_gets_the_status_of_its_precision_whatever_the_map_saw(
    se_m2: float, area_m2: float | None, status: str, note: str | None
) -> None:
    assert publish(make_area(100.0, se_m2)) == (area_m2, status, note)


@pytest.mark.parametrize("estimate_m2", [0.0, 10.0, 30.0, 49.0])
@pytest.mark.parametrize(("size", "status"), [(30, "Q"), (300, "U"), (310, "P")])
def test_a_small_share_is_judged_by_the_design_whatever_came_out(
    estimate_m2: float, size: int, status: str
) -> None:
    """sqrt(0.95 / 0.05 / n) is 79.6 %, 25.2 % and 24.8 %."""
    published = publish(make_area(estimate_m2, 12.0), size=size)
    assert published.obs_status == status
    assert published.value == (None if status == "Q" else estimate_m2)
    if status == "U":
        expected = "below 5% of the population the design's CV counts, which 25.17 % is above 25 %"
        assert published.obs_note == expected


def test_an_estimate_without_variation_is_of_low_reliability() -> None:
    published = publish(make_area(1000.0, 0.0, is_degenerate=True))
    assert (published.value, published.obs_status) == (1000.0, "U")
    assert published.obs_note == "no standard error, as the sample shows no variation; see the interval"


@pytest.mark.parametrize(
    ("missed", "status", "note"),
    [
        (10, "P", None),
        (11, "U", "11.0% of the units could not be interpreted, above 10.0%"),
        (31, "O", "31.0% of the units could not be interpreted, above 30.0%"),
    ],
)
def test_units_that_nobody_could_interpret_count_against_the_figure(
    missed: int, status: str, note: str | None
) -> None:
    published = publish(make_area(100.0, 20.0), missed=missed)
    assert (published.obs_status, published.obs_note) == (status, note)
    assert (published.value is None) == (status == "O")


def test_a_figure_about_the_frame_says_so_and_has_another_definition() -> None:
    published = publish(make_area(100.0, 20.0), population="frame")
    assert published == (100.0, "D", "about the frame: all pixels of the zones")
    assert publish(make_area(100.0, 26.0), population="frame").obs_status == "U"


@pytest.mark.parametrize(
    ("se_m2", "expected"),
    [
        (10.0, (100.0, "G", "simulated sample")),
        (30.0, (100.0, "G", "simulated sample; CV 30 % is above 25 %")),
        (60.0, (None, "Q", "CV 60 % is above 50 %; simulated sample")),
    ],
)
def test_a_simulated_sample_is_called_simulated_and_never_better_than_experimental(
    se_m2: float, expected: tuple[float | None, str, str]
) -> None:
    assert publish(make_area(100.0, se_m2), is_simulated=True) == expected
