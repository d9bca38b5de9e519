"""From a period's areas and estimates to the rows of the tables."""

import pytest

from orthostat.errors import ConfigurationError, ReleaseError
from orthostat.statistics.check import check_rows
from orthostat.statistics.codes import Row
from orthostat.statistics.rows import build_accuracy, build_rows
from orthostat.statistics.schema import ACCURACY, OBSERVATIONS
from tests.builders import make_pipeline
from tests.builders_statistics import (
    CLASSES,
    SAMPLE,
    make_area,
    make_estimate,
    make_population,
    make_provenance,
    make_table,
)


def find(rows: list[Row], zone_id: str, class_name: str, method: str) -> Row:
    (row,) = [
        row
        for row in rows
        if (row["zone_id"], row["class_name"], row["method"]) == (zone_id, class_name, method)
    ]
    return row


def test_without_a_sample_every_zone_and_class_has_one_pixel_count() -> None:
    rows = build_rows(make_pipeline(), "2024-01", make_table(), CLASSES, {}, make_provenance())
    assert [(row["zone_id"], row["class_name"], row["method"]) for row in rows] == [
        ("a", "water", "MAP_COUNT"),
        ("a", "crop", "MAP_COUNT"),
        ("b", "water", "MAP_COUNT"),
        ("b", "crop", "MAP_COUNT"),
    ]
    water = find(rows, "a", "water", "MAP_COUNT")
    assert (water["area_m2"], water["obs_status"], water["coverage"]) == (250_000.0, "G", 0.95)
    half_seen = find(rows, "b", "water", "MAP_COUNT")
    assert (half_seen["area_m2"], half_seen["obs_status"]) == (None, "O")
    assert half_seen["mapped_area_m2"] is None
    check_rows(rows, OBSERVATIONS)


def test_an_estimate_stands_beside_the_pixel_count_and_never_replaces_it() -> None:
    pipeline = make_pipeline(sample=SAMPLE | {"is_simulated": False})
    estimates = {"a": make_estimate()}
    rows = build_rows(pipeline, "2024-01", make_table(), CLASSES, estimates, make_provenance())
    count, estimate = find(rows, "a", "water", "MAP_COUNT"), find(rows, "a", "water", "STRATIFIED")
    assert (count["area_m2"], count["ci_lower_m2"], count["is_simulated"]) == (250_000.0, None, False)
    assert (estimate["area_m2"], estimate["mapped_area_m2"]) == (200_000.0, 250_000.0)
    assert estimate["std_err_m2"] == 20_000.0
    assert estimate["ci_lower_m2"] == pytest.approx(160_800.0)
    assert (estimate["cv_pct"], estimate["conf_level"]) == (10.0, 0.95)
    assert (estimate["sample_size"], estimate["sample_id"], estimate["obs_status"]) == (60, "made-1", "P")
    assert [row for row in rows if row["zone_id"] == "b" and row["method"] == "STRATIFIED"] == []
    check_rows(rows, OBSERVATIONS)


def test_a_suppressed_estimate_cannot_be_read_from_its_interval() -> None:
    estimates = {"a": make_estimate(water=make_area(100_000.0, 60_000.0))}
    pipeline = make_pipeline(sample=SAMPLE)
    rows = build_rows(pipeline, "2024-01", make_table(), CLASSES, estimates, make_provenance())
    water = find(rows, "a", "water", "STRATIFIED")
    assert water["obs_status"] == "Q"
    hidden = ("area_m2", "std_err_m2", "ci_lower_m2", "ci_upper_m2", "cv_pct")
    assert [water[name] for name in hidden] == [None] * 5
    assert water["is_simulated"] is True
    check_rows(rows, OBSERVATIONS)


def test_what_is_withheld_stands_nowhere_in_its_row() -> None:
    """Too little was seen of zone b: neither its count nor what lies beside its estimate shows it."""
    pipeline = make_pipeline(sample=SAMPLE | {"is_simulated": False})
    estimates = {"b": make_estimate()}
    rows = build_rows(pipeline, "2024-01", make_table(), CLASSES, estimates, make_provenance())
    count, estimate = find(rows, "b", "water", "MAP_COUNT"), find(rows, "b", "water", "STRATIFIED")
    assert (count["area_m2"], count["mapped_area_m2"], count["obs_status"]) == (None, None, "O")
    assert (estimate["area_m2"], estimate["mapped_area_m2"]) == (200_000.0, None)
    assert 500_000.0 not in {value for name, value in count.items() if name != "valid_area_m2"}
    check_rows(rows, OBSERVATIONS)
    shown = [row | {"mapped_area_m2": 500_000.0} if row is count else row for row in rows]
    with pytest.raises(ReleaseError, match="a MAP_COUNT row without a value shows no mapped area or count"):
        check_rows(shown, OBSERVATIONS)


def test_a_refused_sample_leaves_a_row_that_says_why() -> None:
    estimates = {"b": "zone 'b' has 3 sample unit(s), 30 are needed"}
    pipeline = make_pipeline(sample=SAMPLE)
    rows = build_rows(pipeline, "2024-01", make_table(), CLASSES, estimates, make_provenance())
    crop = find(rows, "b", "crop", "STRATIFIED")
    assert (crop["area_m2"], crop["obs_status"], crop["obs_note"]) == (None, "O", estimates["b"])
    check_rows(rows, OBSERVATIONS)


def test_only_the_published_classes_are_in_the_table() -> None:
    pipeline = make_pipeline(publication={"classes": ["crop"]})
    rows = build_rows(pipeline, "2024-01", make_table(), CLASSES, {}, make_provenance())
    assert {row["class_name"] for row in rows} == {"crop"}


def test_a_class_that_the_model_does_not_know_is_refused() -> None:
    pipeline = make_pipeline(publication={"classes": ["corn"]})
    with pytest.raises(ConfigurationError, match=r"names \['corn'\], the model knows \['water', 'crop'\]"):
        build_rows(pipeline, "2024-01", make_table(), CLASSES, {}, make_provenance())


@pytest.mark.parametrize(
    ("period_length", "period", "freq"),
    [("month", "2024-01", "M"), ("quarter", "2024-Q1", "Q"), ("year", "2024", "A")],
)
def test_the_frequency_is_that_of_the_pipeline(period_length: str, period: str, freq: str) -> None:
    pipeline = make_pipeline(period=period_length)
    rows = build_rows(pipeline, period, make_table(), CLASSES, {}, make_provenance())
    assert set(check_rows(rows, OBSERVATIONS)["freq"].to_pylist()) == {freq}


def test_the_accuracy_table_has_the_overall_and_two_rows_per_class() -> None:
    pipeline = make_pipeline(sample=SAMPLE)
    rows = check_rows(
        build_accuracy(pipeline, "2024-01", CLASSES, make_population(), "1" * 64), ACCURACY
    ).to_pylist()
    assert [(row["class_name"], row["measure"], row["value"]) for row in rows] == [
        ("ALL", "OA", 0.9),
        ("crop", "PA", None),
        ("crop", "UA", None),
        ("water", "PA", None),
        ("water", "UA", 0.8),
    ]
    assert {row["is_simulated"] for row in rows} == {True}
