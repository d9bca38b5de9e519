"""When a figure is published, and with which status."""

import pytest

from orthostat.pipelines.config import Publication
from orthostat.statistics.rules import publish_estimate, publish_map_count
from tests.builders_statistics import make_area

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


@pytest.mark.parametrize("coverage", [0.0, 0.7999])
def test_too_little_seen_leaves_the_value_empty_and_names_both_numbers(coverage: float) -> None:
    expected = (None, "O", f"coverage {coverage:.4g} is below 0.8")
    assert publish_map_count(0.0, coverage, RULES) == expected
    assert publish_estimate(make_area(), coverage, False, RULES) == expected


def test_the_least_coverage_that_is_allowed_is_published() -> None:
    assert publish_map_count(0.0, 0.8, RULES).value == 0.0


@pytest.mark.parametrize(
    ("se_m2", "coverage", "area_m2", "status", "note"),
    [
        (20.0, 1.0, 100.0, "P", None),
        (25.0, 0.95, 100.0, "P", None),
        (26.0, 1.0, 100.0, "U", "CV 26 % is above 25 %"),
        (20.0, 0.9, 100.0, "U", "coverage 0.9 is below the normal 0.95"),
        (26.0, 0.9, 100.0, "U", "CV 26 % is above 25 %; coverage 0.9 is below the normal 0.95"),
        (50.0, 1.0, 100.0, "U", "CV 50 % is above 25 %"),
        (51.0, 1.0, None, "Q", "CV 51 % is above 50 %"),
    ],
)
def test_an_estimate_gets_the_status_of_its_precision_and_coverage(
    se_m2: float, coverage: float, area_m2: float | None, status: str, note: str | None
) -> None:
    assert publish_estimate(make_area(100.0, se_m2), coverage, False, RULES) == (area_m2, status, note)


def test_an_estimate_without_variation_is_of_low_reliability() -> None:
    area = make_area(0.0, 0.0, is_degenerate=True)
    published = publish_estimate(area, 1.0, False, RULES)
    assert (published.value, published.obs_status) == (0.0, "U")
    assert published.obs_note is not None
    assert "shows no variation" in published.obs_note


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
    assert publish_estimate(make_area(100.0, se_m2), 1.0, True, RULES) == expected
