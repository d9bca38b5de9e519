"""What must hold for every row that leaves; each case breaks one rule."""

from typing import Any

import numpy as np
import pytest

from orthostat.errors import ReleaseError
from orthostat.statistics.check import check_rows
from orthostat.statistics.codes import Row
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS
from tests.builders import make_pipeline
from tests.builders_statistics import SAMPLE, make_tables

TABLES = make_tables(pipeline=make_pipeline(sample=SAMPLE))
ROWS, ACCURACIES, SCENES = TABLES["observation"], TABLES["accuracy"], TABLES["lineage"]
COUNT = {"zone_id": "a", "class_id": 0, "method": "MAP_COUNT"}
ESTIMATE = {"zone_id": "a", "class_id": 0, "method": "STRATIFIED"}


def changed(key: Row, **changes: Any) -> list[Row]:
    """The valid rows, with one of them changed."""
    return [row | changes if key.items() <= row.items() else dict(row) for row in ROWS]


def test_valid_rows_pass_sorted_by_key_with_the_columns_in_order() -> None:
    rows = check_rows(list(reversed(ROWS)), OBSERVATIONS).to_pylist()
    assert [(row["zone_id"], row["class_id"], row["method"]) for row in rows] == [
        ("a", 0, "MAP_COUNT"),
        ("a", 0, "STRATIFIED"),
        ("a", 1, "MAP_COUNT"),
        ("a", 1, "STRATIFIED"),
        ("b", 0, "MAP_COUNT"),
        ("b", 1, "MAP_COUNT"),
    ]
    assert list(rows[0])[:10] == [
        "pipeline",
        "indicator",
        "freq",
        "zone_id",
        "zone_name",
        "class_id",
        "class_name",
        "period",
        "method",
        "area_m2",
    ]
    assert len(check_rows(ACCURACIES, ACCURACY)) == 5
    assert len(check_rows(SCENES, LINEAGE)) == 1


def test_numpy_values_and_nan_become_plain_values() -> None:
    found = changed(COUNT, class_id=np.int64(0), cv_pct=float("nan"), scene_count=0)
    rows = check_rows(found, OBSERVATIONS).to_pylist()
    assert (type(rows[0]["class_id"]), rows[0]["cv_pct"]) == (int, None)


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        (COUNT, {"area_m2": None}, "the figure is empty exactly when"),
        (COUNT, {"obs_status": "O"}, "the figure is empty exactly when"),
        (COUNT, {"area_m2": 1.0}, "shows the mapped area"),
        (COUNT, {"std_err_m2": 1.0}, "MAP_COUNT row has no standard error"),
        (COUNT, {"is_simulated": True}, "MAP_COUNT row has no standard error"),
        (COUNT, {"obs_status": "A"}, "does not have status A"),
        (COUNT, {"mapped_area_m2": 250_001.0, "area_m2": 250_001.0 + 1e3}, "shows the mapped area"),
        (COUNT, {"mapped_area_m2": 250_002.0, "area_m2": 250_002.0}, "fit into its valid area"),
        (COUNT, {"coverage": 1.5}, "at most 1"),
        (COUNT, {"zone_area_m2": float("inf")}, "finite"),
        (COUNT, {"mapped_area_m2": -1.0}, "at least 0"),
        (COUNT, {"obs_status": "X"}, "obs_status: 'is one of"),
        (COUNT, {"period": "2024-13"}, "period fits the frequency"),
        (COUNT, {"freq": "Q"}, "period fits the frequency"),
        (COUNT, {"zone_id": 7}, "7 in column zone_id, which must hold str"),
        (COUNT, {"class_id": 1.5}, "1.5 in column class_id"),
        (COUNT, {"is_simulated": None}, "None in column is_simulated"),
        (COUNT, {"zone_name": ""}, "is not empty"),
        (ESTIMATE, {"ci_lower_m2": 200_001.0}, "ci_lower_m2 <= area_m2 <= ci_upper_m2"),
        (ESTIMATE, {"ci_upper_m2": 199_999.0}, "ci_lower_m2 <= area_m2 <= ci_upper_m2"),
        (ESTIMATE, {"ci_upper_m2": None}, "ci_lower_m2 <= area_m2 <= ci_upper_m2"),
        (ESTIMATE, {"area_m2": None, "obs_status": "Q"}, "row without a value has no standard error"),
        (ESTIMATE, {"method": "MAP_COUNT"}, "the key .* is unique"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_and_shown(key: Row, changes: Row, message: str) -> None:
    with pytest.raises(ReleaseError, match=f"(?s){message}"):
        check_rows(changed(key, **changes), OBSERVATIONS)


def test_the_message_names_the_offending_row() -> None:
    with pytest.raises(ReleaseError, match=r"is not true of 1 row.s., e.g. .*'zone_id': 'a', 'class_id': 0"):
        check_rows(changed(COUNT, coverage=1.5), OBSERVATIONS)


def test_a_missing_and_an_unknown_column_are_named() -> None:
    row = {name: value for name, value in ROWS[0].items() if name != "coverage"} | {"colour": "red"}
    with pytest.raises(
        ReleaseError, match=r"lacks the columns \['coverage'\] .* unknown columns \['colour'\]"
    ):
        check_rows([row], OBSERVATIONS)


def test_the_overall_accuracy_belongs_to_no_class() -> None:
    rows = [row | {"class_name": "water"} for row in ACCURACIES if row["measure"] == "OA"]
    with pytest.raises(ReleaseError, match="is about class ALL"):
        check_rows(rows, ACCURACY)
