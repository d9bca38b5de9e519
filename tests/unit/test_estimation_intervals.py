"""Intervals that hold near 0 and 1: published values, by hand, and against the truth of many samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthostat.estimation.intervals import SampledShare, interval_of_ratio, interval_of_share
from orthostat.estimation.stratified import Stratum, Unit, estimate_population


@pytest.mark.parametrize(
    ("hits", "size", "lower", "upper"),
    # Newcombe (1998), Statist. Med. 17:857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_simple_random_sample_has_wilsons_interval(
    hits: int, size: int, lower: float, upper: float
) -> None:
    share = hits / size
    found = interval_of_share(
        [SampledShare(1.0, hits, size, 1.0)], share, math.sqrt(share * (1 - share) / size), "wilson"
    )
    assert found == pytest.approx((lower, upper), abs=1e-4)


def test_a_stratum_without_a_unit_of_the_class_widens_the_interval() -> None:
    """Halves of the population: 0 of 20 and 5 of 10; in each a unit more of the class and one of none."""
    parts = [SampledShare(0.5, 0, 20, 1.0), SampledShare(0.5, 5, 10, 1.0)]
    more = (1 / 22 + 6 / 12) / 2
    variance = (1 / 22 * 21 / 22 / 20 + 6 / 12 * 6 / 12 / 10) / 4
    size = more * (1 - more) / variance
    ratio = 1.96**2 / size
    half = 1.96 * math.sqrt(0.25 * 0.75 / size + ratio / size / 4)
    expected = [(0.25 + ratio / 2 + sign * half) / (1 + ratio) for sign in (-1, 1)]
    assert interval_of_share(parts, 0.25, 0.01, "wilson") == pytest.approx(expected)
    # a standard error that is larger than that counts instead
    lower, upper = interval_of_share(parts, 0.25, 0.2, "wilson")
    assert (lower < expected[0], upper > expected[1]) == (True, True)


def test_a_ratio_has_as_many_units_as_its_standard_error_says() -> None:
    lower, upper = interval_of_ratio(81 / 263, math.sqrt(81 * 182 / 263**3), 500, "wilson")
    assert (lower, upper) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    lower, upper = interval_of_ratio(1.0, 0.0, 20, "wilson")
    assert (lower, upper) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    assert interval_of_ratio(0.3, 0.1, 80, "normal") == pytest.approx((0.104, 0.496))


@given(
    st.lists(st.tuples(st.floats(0.01, 1), st.integers(0, 40), st.integers(2, 40)), min_size=1, max_size=6)
)
def test_no_interval_is_empty_and_each_holds_its_estimate(strata: list[tuple[float, int, int]]) -> None:
    units = [
        Unit(str(name), "map", "x" if number < min(hits, size) else "y")
        for name, (_, hits, size) in enumerate(strata)
        for number in range(size)
    ]
    areas = [Stratum(str(name), 10**6, weight) for name, (weight, _, _) in enumerate(strata)]
    share = estimate_population(units, areas, classes=["x"]).classes["x"].area_proportion
    assert 0 <= share.ci_lower <= share.estimate <= share.ci_upper <= 1
    assert share.ci_upper - share.ci_lower > 0.01


def test_a_census_has_no_interval() -> None:
    units = [Unit("a", "x", "x"), Unit("a", "x", "y")]
    share = estimate_population(units, [Stratum("a", 2, 2)]).classes["x"].area_proportion
    assert (share.ci_lower, share.estimate, share.ci_upper, share.is_degenerate) == (0.5, 0.5, 0.5, False)


def test_a_class_that_no_unit_is_of_may_still_be_there() -> None:
    units = [Unit("a", "x", "x")] * 20
    share = estimate_population(units, [Stratum("a", 10**9, 1)], classes=["rare"]).classes["rare"]
    assert share.area_proportion.estimate == 0
    assert share.area_proportion.ci_upper == pytest.approx(0.1611, abs=1e-4)
    assert share.users_accuracy is None


@pytest.mark.parametrize("sizes", [(15, 12, 3), (150, 120, 30)])
def test_intervals_hold_the_truth_of_a_rare_class_that_the_map_misses(sizes: tuple[int, ...]) -> None:
    """Strata are map classes; of a class of 1 % a third lies in the strata of others."""
    random = np.random.default_rng(1)
    weights, shares = (0.5, 0.4, 0.1), (0.003, 0.004, 0.069)
    truth = sum(w * s for w, s in zip(weights, shares, strict=True))
    strata = [Stratum(str(h), 10**6, weight) for h, weight in enumerate(weights)]
    held = 0
    for _ in range(1000):
        hits = random.binomial(sizes, shares)
        units = [
            Unit(str(h), "map", "rare" if number < hit else "other")
            for h, (hit, size) in enumerate(zip(hits, sizes, strict=True))
            for number in range(size)
        ]
        share = estimate_population(units, strata, classes=["rare"]).classes["rare"].area_proportion
        held += share.ci_lower <= truth <= share.ci_upper
    assert held / 1000 >= 0.93
