"""The estimators, against published examples, fractions worked by hand and what must hold for any sample."""

import dataclasses
import math
from fractions import Fraction
from statistics import covariance, variance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthostat.errors import SampleError
from orthostat.estimation.sample_size import required_sample_size
from orthostat.estimation.stratified import Stratum, Unit, estimate_population

# Olofsson et al. (2014), tables 8 and 9: rows are map classes, which are the strata, columns the reference.
OLOFSSON_CLASSES = ["deforestation", "gain", "forest", "non-forest"]
OLOFSSON_COUNTS = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
OLOFSSON_SIZES = [200_000, 150_000, 3_200_000, 6_450_000]
HA_PER_PIXEL = 0.09

# Stehman (2014), table 2: 40 units in four strata of ten, which are not the map classes.
STEHMAN_SIZES = {"A": 40_000, "B": 30_000, "C": 20_000, "D": 10_000}
STEHMAN_MAP = "AAAAAAABBBABBBBBBBBBBBCCCCCCBBDDDDDDDDDD"
STEHMAN_REFERENCE = "AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB"


def olofsson() -> tuple[list[Unit], list[Stratum]]:
    units = [
        Unit(mapped, mapped, reference)
        for mapped, row in zip(OLOFSSON_CLASSES, OLOFSSON_COUNTS, strict=True)
        for reference, number in zip(OLOFSSON_CLASSES, row, strict=True)
        for _ in range(number)
    ]
    sizes = zip(OLOFSSON_CLASSES, OLOFSSON_SIZES, strict=True)
    return units, [Stratum(name, size, size * HA_PER_PIXEL) for name, size in sizes]


def stehman() -> tuple[list[Unit], list[Stratum]]:
    strata = "".join(name * 10 for name in STEHMAN_SIZES)
    units = [Unit(*unit) for unit in zip(strata, STEHMAN_MAP, STEHMAN_REFERENCE, strict=True)]
    return units, [Stratum(name, size, size) for name, size in STEHMAN_SIZES.items()]


def test_olofsson_2014_falls_out_when_strata_are_map_classes() -> None:
    found = estimate_population(*olofsson(), finite_population=False, interval="normal")
    classes = [found.classes[name] for name in OLOFSSON_CLASSES]

    def figures(measure: str, figure: str) -> list[float]:
        return [getattr(getattr(of_class, measure), figure) for of_class in classes]

    def near(*values: float) -> object:
        return pytest.approx(list(values), abs=1e-6)

    assert found.overall_accuracy.estimate == pytest.approx(0.946511888, abs=1e-9)
    assert found.overall_accuracy.se == pytest.approx(0.009430417, abs=1e-9)
    assert figures("users_accuracy", "estimate") == near(0.88, 0.733333, 0.927273, 0.963077)
    assert figures("users_accuracy", "se") == near(0.037776, 0.051407, 0.020278, 0.010476)
    assert figures("producers_accuracy", "estimate") == near(0.748661, 0.847156, 0.934509, 0.961609)
    assert figures("producers_accuracy", "se") == near(0.108832, 0.129800, 0.017512, 0.009368)
    shares = (0.023508625, 0.012984615, 0.317522145, 0.645984615)
    assert figures("area_proportion", "estimate") == near(*shares)
    share_errors = (0.003490722, 0.002129153, 0.008792424, 0.009229964)
    assert figures("area_proportion", "se") == near(*share_errors)
    half_widths_ha = [1.96 * se for se in figures("area", "se")]
    assert figures("area", "estimate") == pytest.approx(
        [21157.762, 11686.154, 285769.930, 581386.154], abs=1e-3
    )
    assert half_widths_ha == pytest.approx([6157.634, 3755.826, 15509.836, 16281.656], abs=1e-3)
    assert round(figures("area", "estimate")[0] / HA_PER_PIXEL) == 235_086
    assert round(half_widths_ha[0] / HA_PER_PIXEL) == 68_418
    assert found.sample_size == 640
    assert found.area == pytest.approx(900_000)


def test_stehman_2014_example_where_strata_differ_from_map_classes() -> None:
    found = estimate_population(*stehman())
    assert found.overall_accuracy is not None
    a, b, c = (found.classes[name] for name in "ABC")
    # By hand: 0.4 * 6/10 + 0.3 * 8/10 + 0.2 * 4/10 + 0.1 * 7/10
    assert found.overall_accuracy.estimate == pytest.approx(float(Fraction(63, 100)), abs=1e-12)
    assert found.overall_accuracy.se == pytest.approx(0.08464219, abs=1e-7)
    assert a.area_proportion.estimate == pytest.approx(0.35, abs=1e-12)
    assert a.area_proportion.se == pytest.approx(0.0822478, abs=1e-7)
    assert c.area_proportion.estimate == pytest.approx(0.20, abs=1e-12)
    assert c.area_proportion.se == pytest.approx(0.06427977, abs=1e-7)
    assert b.users_accuracy is not None
    # (0.4 * 1 + 0.3 * 7 + 0.2 * 1) / (0.4 * 3 + 0.3 * 9 + 0.2 * 4), in tenths
    assert b.users_accuracy.estimate == pytest.approx(float(Fraction(27, 47)), abs=1e-12)
    assert b.users_accuracy.se == pytest.approx(0.1247822, abs=1e-7)
    assert b.producers_accuracy is not None
    assert b.producers_accuracy.estimate == pytest.approx(float(Fraction(27, 34)), abs=1e-12)
    assert b.producers_accuracy.se == pytest.approx(0.1165479, abs=1e-7)


def ratio_by_the_book(
    y: dict[str, list[int]], x: dict[str, list[int]], sizes: dict[str, int]
) -> tuple[float, float]:
    """Stehman's formulas as printed, with s2y, s2x and sxy of the units' values."""
    total = sum(size * sum(x[name]) / len(x[name]) for name, size in sizes.items())
    ratio = sum(size * sum(y[name]) / len(y[name]) for name, size in sizes.items()) / total
    squares = sum(
        size**2
        * (1 - len(y[name]) / size)
        * (variance(y[name]) + ratio**2 * variance(x[name]) - 2 * ratio * covariance(x[name], y[name]))
        / len(y[name])
        for name, size in sizes.items()
    )
    return ratio, math.sqrt(squares) / total


@pytest.mark.parametrize("name", ["A", "B", "C", "D"])
def test_every_accuracy_of_the_stehman_example_follows_the_printed_formula(name: str) -> None:
    units, strata = stehman()
    by_stratum = {s: [unit for unit in units if unit.stratum == s] for s in STEHMAN_SIZES}
    right = {s: [int(u.map_class == u.reference_class == name) for u in by_stratum[s]] for s in by_stratum}
    mapped = {s: [int(u.map_class == name) for u in by_stratum[s]] for s in by_stratum}
    true = {s: [int(u.reference_class == name) for u in by_stratum[s]] for s in by_stratum}
    found = estimate_population(units, strata).classes[name]
    for accuracy, whole in ((found.users_accuracy, mapped), (found.producers_accuracy, true)):
        assert accuracy is not None
        expected = ratio_by_the_book(right, whole, STEHMAN_SIZES)
        assert (accuracy.estimate, accuracy.se) == pytest.approx(expected, abs=1e-12)


def test_a_small_sample_worked_by_hand() -> None:
    """Two strata that cut across the classes; with the correction 1 - n/N = 1 - 2/10 and 1 - 4/30."""
    units = [Unit("hill", "wood", "wood"), Unit("hill", "wood", "field")]
    units += [Unit("plain", "field", "field")] * 2 + [
        Unit("plain", "field", "wood"),
        Unit("plain", "wood", "wood"),
    ]
    strata = [Stratum("hill", 10, 10), Stratum("plain", 30, 30)]
    found = estimate_population(units, strata)

    # wood: hill 1/2, plain 2/4. s2: 1/2 and 1/3.
    wood = found.classes["wood"]
    variance_wood = (
        Fraction(1, 16) * Fraction(8, 10) * Fraction(1, 2) / 2
        + Fraction(9, 16) * Fraction(26, 30) * Fraction(1, 3) / 4
    )
    assert wood.area_proportion.estimate == 0.5
    assert wood.area_proportion.se == pytest.approx(math.sqrt(variance_wood), abs=1e-15)
    assert wood.area.estimate == 20
    assert wood.area.se == pytest.approx(40 * math.sqrt(variance_wood), abs=1e-13)

    # user's accuracy of wood: right hill 1 of 2, plain 1 of 4; mapped hill 2 of 2, plain 1 of 4.
    users = wood.users_accuracy
    assert users is not None
    ratio = (10 * Fraction(1, 2) + 30 * Fraction(1, 4)) / (10 + 30 * Fraction(1, 4))
    assert users.estimate == pytest.approx(float(ratio), abs=1e-15)
    hill, plain = [1 - ratio, -ratio], [1 - ratio, 0, 0, 0]
    squares = 100 * Fraction(8, 10) * variance(hill) / 2 + 900 * Fraction(26, 30) * variance(plain) / 4
    assert users.se == pytest.approx(math.sqrt(squares) / 17.5, abs=1e-15)


def test_weights_come_from_areas_and_the_correction_from_sizes() -> None:
    units = [Unit("a", "x", "x"), Unit("a", "x", "y"), Unit("b", "y", "y"), Unit("b", "y", "y")]
    found = estimate_population(units, [Stratum("a", 4, 300.0), Stratum("b", 1000, 100.0)])
    x = found.classes["x"]
    assert x.area_proportion.estimate == 0.75 * 0.5
    assert x.area.estimate == 150
    assert x.area_proportion.se == pytest.approx(math.sqrt(0.75**2 * (1 - 2 / 4) * 0.5 / 2))


def test_accuracies_of_a_class_without_map_or_reference_units_are_undefined() -> None:
    units = [Unit("a", "only mapped", "rest"), Unit("a", "rest", "only true"), Unit("a", "rest", "rest")]
    classes = estimate_population(units, [Stratum("a", 100, 100)]).classes
    assert list(classes) == ["only mapped", "only true", "rest"]
    mapped, true = classes["only mapped"], classes["only true"]
    assert mapped.producers_accuracy is None
    assert mapped.users_accuracy is not None
    assert mapped.users_accuracy.estimate == 0
    assert mapped.area_proportion.estimate == 0
    assert true.users_accuracy is None
    assert true.producers_accuracy is not None
    assert true.producers_accuracy.estimate == 0


def test_normal_intervals_are_clipped_and_standard_errors_are_not() -> None:
    units = [Unit("a", "x", "x")] * 9 + [Unit("a", "y", "y")]
    strata = [Stratum("a", 1000, 50.0)]
    found = estimate_population(units, strata, finite_population=False, interval="normal")
    se = math.sqrt(0.9 * 0.1 / 9)
    x, y = found.classes["x"], found.classes["y"]
    assert (x.area_proportion.se, x.area_proportion.ci_upper) == (pytest.approx(se), 1)
    assert (y.area_proportion.se, y.area_proportion.ci_lower) == (pytest.approx(se), 0)
    assert x.area.ci_upper == 50
    assert x.area.ci_lower == pytest.approx(50 * (0.9 - 1.96 * se))
    assert y.area.ci_lower == 0


def test_agreement_of_all_units_gives_a_flagged_zero() -> None:
    found = estimate_population([Unit("a", "x", "x")] * 5, [Stratum("a", 100, 100)])
    assert found.overall_accuracy.se == 0
    assert found.overall_accuracy.is_degenerate
    assert not estimate_population(*stehman()).overall_accuracy.is_degenerate


@pytest.mark.parametrize(("number", "size"), [(0, 9), (1, 9)])
def test_a_stratum_with_fewer_than_two_units_is_refused(number: int, size: int) -> None:
    units = [Unit("big", "x", "x")] * 2 + [Unit("small", "x", "x")] * number
    with pytest.raises(
        SampleError, match=rf"stratum 'small' has {number} sample unit.*at least 2.*draw more"
    ):
        estimate_population(units, [Stratum("big", 50, 50), Stratum("small", size, size)])


def test_a_census_of_one_unit_is_enough_only_with_the_correction() -> None:
    units = [Unit("big", "x", "x"), Unit("big", "x", "y"), Unit("lake", "y", "y")]
    strata = [Stratum("big", 50, 50), Stratum("lake", 1, 50)]
    assert estimate_population(units, strata).classes["y"].area_proportion.estimate == 0.75
    with pytest.raises(SampleError, match="stratum 'lake' has 1 sample unit"):
        estimate_population(units, strata, finite_population=False)


def test_what_the_design_does_not_allow_is_refused() -> None:
    two = [Unit("a", "x", "x")] * 2
    with pytest.raises(SampleError, match=r"stratum 'b', the strata are \['a'\]; add it"):
        estimate_population([*two, Unit("b", "x", "x")], [Stratum("a", 5, 5)])
    with pytest.raises(SampleError, match="stratum 'a' has 2 sample units but a size of 1"):
        estimate_population(two, [Stratum("a", 1, 1)])
    with pytest.raises(SampleError, match=r"\['a'\] stand more than once"):
        estimate_population(two, [Stratum("a", 5, 5), Stratum("a", 6, 6)])
    with pytest.raises(SampleError, match=r"stratum 'a' has the size 5 and the area 0"):
        Stratum("a", 5, 0)


def test_sample_size_of_olofsson_2014() -> None:
    weights, accuracies = [0.02, 0.015, 0.32, 0.645], [0.7, 0.6, 0.9, 0.95]
    assert required_sample_size(weights, accuracies, 0.01) == 641
    assert required_sample_size([1.0], [0.7], 0.01) == 2100  # 0.7 * 0.3 / 0.0001, in floats a little more
    with pytest.raises(SampleError, match=r"weights with the sum 0\.500000"):
        required_sample_size([0.5], [0.5], 0.05)
    with pytest.raises(SampleError, match="a target above 0"):
        required_sample_size([1.0], [0.5], 0.0)
    with pytest.raises(SampleError, match="give shares from 0 to 1"):
        required_sample_size([1.0], [1.5], 0.1)


classes = st.sampled_from(["1", "2", "3", "4"])


@st.composite
def samples(draw: st.DrawFn) -> tuple[list[Unit], list[Stratum]]:
    units, strata = [], []
    for name in "abc"[: draw(st.integers(1, 3))]:
        pairs = draw(st.lists(st.tuples(classes, classes), min_size=2, max_size=12))
        units += [Unit(name, *pair) for pair in pairs]
        size = len(pairs) + draw(st.integers(0, 1000))
        strata.append(Stratum(name, size, size * draw(st.sampled_from([1.0, 0.09, 7.3]))))
    return units, strata


@given(samples(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_shares_sum_to_one_and_areas_to_the_total(
    sample: tuple[list[Unit], list[Stratum]], finite_population: bool
) -> None:
    found = estimate_population(*sample, finite_population=finite_population)
    assert sum(c.area_proportion.estimate for c in found.classes.values()) == pytest.approx(1)
    assert sum(c.area.estimate for c in found.classes.values()) == pytest.approx(found.area)
    assert found.area == pytest.approx(sum(stratum.area for stratum in sample[1]))
    for of_class in found.classes.values():
        for share in (of_class.users_accuracy, of_class.producers_accuracy, of_class.area_proportion):
            if share is not None:
                assert 0 <= share.ci_lower <= share.estimate <= share.ci_upper <= 1
        assert 0 <= of_class.area.ci_lower <= of_class.area.estimate <= of_class.area.ci_upper <= found.area


@given(samples(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_never_matters(sample: tuple[list[Unit], list[Stratum]], random: object) -> None:
    units, strata = sample
    shuffled, shuffled_strata = list(units), list(strata)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(shuffled_strata)  # type: ignore[attr-defined]
    assert estimate_population(shuffled, shuffled_strata) == estimate_population(units, strata)


@given(samples())
@settings(max_examples=60, deadline=None)
def test_a_class_merged_from_two_has_the_sum_of_their_areas(sample: tuple[list[Unit], list[Stratum]]) -> None:
    units, strata = sample
    merged = [dataclasses.replace(u, reference_class="1") if u.reference_class == "2" else u for u in units]

    def area(name: str, of: list[Unit]) -> float:
        found = estimate_population(of, strata).classes
        return found[name].area.estimate if name in found else 0.0

    assert area("1", merged) == pytest.approx(area("1", units) + area("2", units))


@given(samples())
@settings(max_examples=60, deadline=None)
def test_a_census_has_no_sampling_error_and_repeats_the_counts(
    sample: tuple[list[Unit], list[Stratum]],
) -> None:
    units, _ = sample
    names = sorted({unit.stratum for unit in units})
    sizes = {name: sum(unit.stratum == name for unit in units) for name in names}
    found = estimate_population(units, [Stratum(name, size, size) for name, size in sizes.items()])
    assert found.overall_accuracy.se == 0
    assert not found.overall_accuracy.is_degenerate
    for name, of_class in found.classes.items():
        assert of_class.area.se == 0
        assert of_class.area.estimate == pytest.approx(sum(u.reference_class == name for u in units))
