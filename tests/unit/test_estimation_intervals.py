"""Intervals that hold near 0 and 1: published values, by hand, and against the truth of many samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthostat.estimation.estimates import ClassEstimates
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


def ratio(hits: int, misses: int, others: int = 0) -> tuple[list[SampledShare], list[SampledShare]]:
    """Units of one stratum that are right, and those that are wrong."""
    size = hits + misses + others
    return [SampledShare(1.0, hits, size, 1.0)], [SampledShare(1.0, misses, size, 1.0)]


def test_a_ratio_of_one_stratum_has_wilsons_interval() -> None:
    se = math.sqrt(81 * 182 / 263**3)
    lower, upper = interval_of_ratio(*ratio(81, 182), 81 / 263, se, 500, "wilson")
    assert (lower, upper) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    lower, upper = interval_of_ratio(*ratio(20, 0), 1.0, 0.0, 20, "wilson")
    assert (lower, upper) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    assert interval_of_ratio(*ratio(24, 56), 0.3, 0.1, 80, "normal") == pytest.approx((0.104, 0.496))


def accuracies(drawn: list[tuple[int, str, str, int]], weights: tuple[float, ...]) -> ClassEstimates:
    """Of class b: `drawn` are stratum, map class, reference class and number of units."""
    units = [Unit(str(h), mapped, true) for h, mapped, true, number in drawn for _ in range(number)]
    strata = [Stratum(str(h), 10**6, weight) for h, weight in enumerate(weights)]
    return estimate_population(units, strata).classes["b"]


def test_a_large_stratum_without_the_class_may_hold_most_of_it() -> None:
    """All 100 units of it are of class a; 3.7 % of it, Wilson's limit, is 370 times all that was found."""
    found = accuracies([(0, "a", "a", 100), (1, "b", "b", 100)], (10_000.0, 1.0))
    assert found.producers_accuracy is not None
    assert (found.producers_accuracy.estimate, found.producers_accuracy.ci_upper) == (1.0, 1.0)
    assert 0 < found.producers_accuracy.ci_lower < 1 / 371
    assert found.users_accuracy is not None  # it is about what is mapped as b, which lies in its own stratum
    assert found.users_accuracy.ci_lower == pytest.approx(0.963, abs=1e-3)


@pytest.mark.parametrize("sizes", [(60, 30), (300, 100)])
def test_intervals_hold_the_producers_accuracy_of_a_class_that_the_map_misses(sizes: tuple[int, int]) -> None:
    """2 % of the large stratum is of the class: one or two units of 60, often none."""
    random = np.random.default_rng(5)
    truth, held = 0.09 / (0.09 + 0.018), 0
    for _ in range(1000):
        missed, right = random.binomial(sizes, (0.02, 0.9)).tolist()
        found = accuracies(
            [
                (0, "a", "b", missed),
                (0, "a", "a", sizes[0] - missed),
                (1, "b", "b", right),
                (1, "b", "a", sizes[1] - right),
            ],
            (0.9, 0.1),
        ).producers_accuracy
        assert found is not None
        held += found.ci_lower <= truth <= found.ci_upper
    assert held / 1000 >= 0.93


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


cell = st.tuples(st.integers(0, 1), st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 40))


@given(st.lists(cell, min_size=1, max_size=12), st.floats(0.001, 1000))
def test_accuracies_lie_within_their_intervals(drawn: list[tuple[int, str, str, int]], weight: float) -> None:
    both = [*drawn, (0, "a", "a", 2), (1, "b", "b", 2)]
    found = accuracies(both, (weight, 1.0))
    for accuracy in (found.users_accuracy, found.producers_accuracy):
        assert accuracy is not None
        assert 0 <= accuracy.ci_lower <= accuracy.estimate <= accuracy.ci_upper <= 1
        assert accuracy.ci_upper > accuracy.ci_lower


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
