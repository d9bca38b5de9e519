"""What must hold for the rows of a table, beyond each of their columns."""

from typing import Any

import pandas as pd
from pandera.pandas import Check

from orthostat.pipelines.window import FREQUENCY, is_period
from orthostat.statistics.codes import AREA, COUNT, MAP_COUNT, MISSING_STATUSES, ZONE

AREA_TOLERANCE = 1e-6
"""Share of a zone's area by which sums of floating-point areas may differ."""

_LENGTHS = {code: length for length, code in FREQUENCY.items()}
_VALUE_COLUMNS = {AREA: ("area_m2", "mapped_area_m2"), COUNT: ("object_count", "mapped_count")}
"""The published figure of an indicator, and what was mapped."""
_ESTIMATE_COLUMNS = ["std_err_m2", "ci_lower_m2", "ci_upper_m2", "conf_level", "cv_pct"]
_SAMPLE_COLUMNS = ["sample_size", "uninterpreted_size", "frame_area_m2", "sample_id"]


def _period_fits_freq(frame: pd.DataFrame) -> pd.Series:
    pairs = frame["freq"] + " " + frame["period"]
    fitting = [
        pair for pair in pairs.unique() if pair[:1] in _LENGTHS and is_period(pair[2:], _LENGTHS[pair[:1]])
    ]
    return pairs.isin(fitting)


def _classes_fit_valid_area(frame: pd.DataFrame) -> pd.Series:
    counted = frame["mapped_area_m2"].where(frame["method"] == MAP_COUNT, 0.0)
    total = counted.groupby([frame["zone_id"], frame["period"]]).transform("sum")
    return total <= frame["valid_area_m2"] + AREA_TOLERANCE * frame["zone_area_m2"]


def _has_value(frame: pd.DataFrame) -> pd.Series:
    return frame["area_m2"].notna() | frame["object_count"].notna()


def _fits_indicator(frame: pd.DataFrame) -> pd.Series:
    fits = pd.Series(True, index=frame.index)
    for indicator, (value, mapped) in _VALUE_COLUMNS.items():
        is_other = frame["indicator"] != indicator
        is_shown = frame[mapped].notna() | frame["obs_status"].isin(MISSING_STATUSES)
        is_withheld = frame["method"] != MAP_COUNT
        fits &= (is_other & frame[value].isna() & frame[mapped].isna()) | (
            ~is_other & (is_shown | is_withheld)
        )
    return fits


def _hides_withheld_counts(frame: pd.DataFrame) -> pd.Series:
    is_empty = frame["mapped_area_m2"].isna() & frame["mapped_count"].isna()
    return (frame["method"] != MAP_COUNT) | _has_value(frame) | is_empty


def _shows_mapped(frame: pd.DataFrame) -> pd.Series:
    shows = (frame["method"] != MAP_COUNT) | ~_has_value(frame)
    for value, mapped in _VALUE_COLUMNS.values():
        shows |= (frame[value] == frame[mapped]).fillna(False).astype(bool)
    return shows


def _rule(name: str, function: Any) -> Check:
    return Check(function, error=name, ignore_na=False)


OBSERVATION_RULES = [
    _rule("the period fits the frequency", _period_fits_freq),
    _rule(
        f"the figure is empty exactly when the status is one of {', '.join(sorted(MISSING_STATUSES))}",
        lambda frame: _has_value(frame) != frame["obs_status"].isin(MISSING_STATUSES),
    ),
    _rule("a row holds the figures of its indicator and no other", _fits_indicator),
    _rule(
        "a COUNT row has the method MAP_COUNT",
        lambda frame: (frame["indicator"] != COUNT) | (frame["method"] == MAP_COUNT),
    ),
    _rule(
        "ci_lower_m2 <= area_m2 <= ci_upper_m2",
        lambda frame: (
            frame["ci_lower_m2"].isna() & frame["ci_upper_m2"].isna()
            | (frame["ci_lower_m2"] <= frame["area_m2"]) & (frame["area_m2"] <= frame["ci_upper_m2"])
        ),
    ),
    _rule(
        "a MAP_COUNT row has no standard error, interval or sample",
        lambda frame: (
            (frame["method"] != MAP_COUNT)
            | frame[[*_ESTIMATE_COLUMNS, *_SAMPLE_COLUMNS]].isna().all(axis=1)
            & ~frame["is_simulated"]
            & (frame["population"] == ZONE)
        ),
    ),
    _rule("a published MAP_COUNT row shows the mapped area or count", _shows_mapped),
    _rule("a MAP_COUNT row without a value shows no mapped area or count", _hides_withheld_counts),
    _rule(
        "a value without a standard error does not have status A",
        lambda frame: frame["std_err_m2"].notna() | (frame["obs_status"] != "A"),
    ),
    _rule(
        "a row without a value has no standard error",
        lambda frame: frame["area_m2"].notna() | frame["std_err_m2"].isna(),
    ),
    _rule(
        "an estimate has an interval wider than 0, and a frame that holds it",
        lambda frame: (
            (frame["method"] == MAP_COUNT)
            | frame["area_m2"].isna()
            | (frame["ci_lower_m2"] < frame["ci_upper_m2"]) & (frame["area_m2"] <= frame["frame_area_m2"])
            | (frame["std_err_m2"] == 0)  # a census
        ),
    ),
    _rule(
        "a value about another population than the zone does not have status A or P",
        lambda frame: (
            (frame["population"] == ZONE) | frame["area_m2"].isna() | ~frame["obs_status"].isin(["A", "P"])
        ),
    ),
    _rule("the mapped classes of a zone fit into its valid area", _classes_fit_valid_area),
]

ACCURACY_RULES = [
    _rule(
        "the overall accuracy, and nothing else, is about class ALL",
        lambda frame: (frame["measure"] == "OA") == (frame["class_name"] == "ALL"),
    ),
    _rule(
        "ci_lower <= value <= ci_upper",
        lambda frame: (
            frame["ci_lower"].isna() & frame["ci_upper"].isna()
            | (frame["ci_lower"] <= frame["value"]) & (frame["value"] <= frame["ci_upper"])
        ),
    ),
]
