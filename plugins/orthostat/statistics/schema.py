"""The tables that leave Orthostat: each declared once, with what must hold for its rows."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandera.pandas import Check, Column, DataFrameSchema

from orthostat.pipelines.window import FREQUENCY, is_period

Row = dict[str, Any]
"""One row of a table: a value or None per column."""

STATUS_MEANINGS = {
    "A": "normal",
    "B": "break in the series",
    "D": "definition differs",
    "E": "estimated",
    "F": "forecast",
    "G": "experimental",
    "H": "missing, holiday or weekend",
    "I": "imputed",
    "L": "missing, not collected",
    "M": "missing, cannot exist",
    "N": "not significant",
    "O": "missing",
    "P": "provisional",
    "Q": "missing, suppressed",
    "U": "low reliability",
    "V": "unvalidated",
}
"""Codes of SDMX CL_OBS_STATUS and what they say."""
MISSING_STATUSES = frozenset("HLMOQ")
"""Statuses of a row that has no value."""
MAP_COUNT = "MAP_COUNT"
STRATIFIED = "STRATIFIED"
AREA = "AREA"
COUNT = "COUNT"
AREA_TOLERANCE = 1e-6
"""Share of a zone's area by which sums of floating-point areas may differ."""

_LENGTHS = {code: length for length, code in FREQUENCY.items()}
_VALUE_COLUMNS = {AREA: ("area_m2", "mapped_area_m2"), COUNT: ("object_count", "mapped_count")}
"""The published figure of an indicator, and what was mapped."""
_ESTIMATE_COLUMNS = ["std_err_m2", "ci_lower_m2", "ci_upper_m2", "conf_level", "cv_pct"]
_SAMPLE_COLUMNS = ["sample_size", "uninterpreted_size", "frame_area_m2", "sample_id"]
ZONE = "zone"
"""The population of a figure that is about its zone."""
OPEN = "open"
CLOSED = "closed"
PROVENANCE = frozenset(
    [
        "inputs_sha256",
        "code_version",
        "model_sha256",
        "boundary_version",
        "sample_id",
        "scene_count",
        "zone_name",
    ]
)
"""Columns that say where a figure comes from, or what its zone is called: when nothing else differs, it is
the same figure."""


def _text(description: str, allowed: Iterable[str] | None = None, *, nullable: bool = False) -> Column:
    checks = [Check(lambda texts: texts != "", error="is not empty")]
    if allowed is not None:
        checks.append(Check.isin(sorted(allowed), error=f"is one of {', '.join(sorted(allowed))}"))
    return Column(object, checks, nullable=nullable, description=description)


def _number(description: str, low: float = 0.0, high: float = math.inf, *, nullable: bool = False) -> Column:
    def within(values: pd.Series) -> pd.Series:
        return np.isfinite(values) & (low <= values) & (values <= high)

    error = f"is a finite number of at least {low:g}" + (f" and at most {high:g}" if high < math.inf else "")
    check = Check(within, error=error)
    return Column("float64", check, nullable=nullable, description=description)


def _count(description: str, *, nullable: bool = False) -> Column:
    check = Check.ge(0, error="is a whole number of at least 0")
    return Column("Int64", check, nullable=nullable, description=description)


def _boolean(description: str) -> Column:
    return Column("bool", description=description)


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


OBSERVATIONS = DataFrameSchema(
    {
        "pipeline": _text("Name of the pipeline."),
        "indicator": _text("AREA: of a class. COUNT: number of objects of a class.", [AREA, COUNT]),
        "freq": _text("Frequency: M month, Q quarter, A year.", ["M", "Q", "A"]),
        "zone_id": _text("Id of the zone in the boundary file."),
        "zone_name": _text("Name of the zone."),
        "class_id": _count("Id of the class in the model."),
        "class_name": _text("Name of the class."),
        "period": _text("Period of acquisition: 2020-05, 2020-Q2 or 2020."),
        "method": _text(
            "MAP_COUNT: counted pixels or objects. STRATIFIED: estimate from a sample.",
            [MAP_COUNT, STRATIFIED],
        ),
        "area_m2": _number("The published figure of an AREA row; empty is not zero.", nullable=True),
        "object_count": _count("The published figure of a COUNT row; empty is not zero.", nullable=True),
        "std_err_m2": _number("Standard error of the estimate.", nullable=True),
        "ci_lower_m2": _number("Lower bound of the confidence interval.", nullable=True),
        "ci_upper_m2": _number("Upper bound of the confidence interval.", nullable=True),
        "conf_level": _number("Level of the confidence interval.", 0.0, 1.0, nullable=True),
        "cv_pct": _number("Coefficient of variation: 100 std_err_m2 / estimate.", nullable=True),
        "sample_size": _count("Interpreted sample units in the zone and period.", nullable=True),
        "uninterpreted_size": _count("Sample units that nobody could interpret.", nullable=True),
        "population": _text(
            "What the figure is about: 'zone', or the sampling frame in the words of the pipeline file."
        ),
        "frame_area_m2": _number(
            "Area of the sampling frame, of which the classes are parts.", nullable=True
        ),
        "sample_id": _text("Name and version of the reference sample.", nullable=True),
        "is_simulated": _boolean("Whether the figure is an estimate from a simulated sample."),
        "mapped_area_m2": _number(
            "Counted pixels of the class times their area, in an AREA row; empty where withheld.",
            nullable=True,
        ),
        "mapped_count": _count(
            "Detected objects of the class, in a COUNT row; empty where withheld.", nullable=True
        ),
        "zone_area_m2": _number("Area of the zone."),
        "valid_area_m2": _number("Area of the zone that was observed."),
        "coverage": _number("valid_area_m2 / zone_area_m2.", 0.0, 1.0),
        "scene_count": _count("Scenes of the period."),
        "period_state": _text(
            "closed: the period is over, and every listed scene predicted or failed. open: it is not.",
            [OPEN, CLOSED],
        ),
        "obs_status": _text("Code of SDMX CL_OBS_STATUS.", STATUS_MEANINGS),
        "obs_note": _text("Reason of the status, in words.", nullable=True),
        "model_sha256": _text("Digest of the model bundle."),
        "code_version": _text("Version of Orthostat."),
        "boundary_version": _text("Version of the zones."),
        "inputs_sha256": _text("Digest of all that decides the period's figures."),
    },
    checks=[
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
                (frame["population"] == ZONE)
                | frame["area_m2"].isna()
                | ~frame["obs_status"].isin(["A", "P"])
            ),
        ),
        _rule("the mapped classes of a zone fit into its valid area", _classes_fit_valid_area),
    ],
    unique=["pipeline", "indicator", "zone_id", "class_id", "period", "method"],
    strict=True,
    ordered=True,
    name="observation",
)
"""The statistics: a row per pipeline, indicator, zone, class, period and method."""

ACCURACY = DataFrameSchema(
    {
        "pipeline": _text("Name of the pipeline."),
        "period": _text("Period of acquisition."),
        "class_name": _text("Name of the class; ALL for the overall accuracy."),
        "measure": _text("OA overall, UA user's, PA producer's accuracy.", ["OA", "UA", "PA"]),
        "value": _number("The accuracy; empty where it is undefined.", 0.0, 1.0, nullable=True),
        "std_err": _number("Standard error.", nullable=True),
        "ci_lower": _number("Lower bound of the confidence interval.", 0.0, 1.0, nullable=True),
        "ci_upper": _number("Upper bound of the confidence interval.", 0.0, 1.0, nullable=True),
        "sample_size": _count("Interpreted sample units of the period."),
        "mapped_size": _count("Those that the map shows, from which the accuracies are.", nullable=True),
        "sample_id": _text("Name and version of the reference sample."),
        "is_simulated": _boolean("Whether the sample is simulated."),
        "inputs_sha256": _text("Digest of all that decides the period's figures."),
    },
    checks=[
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
    ],
    unique=["pipeline", "period", "class_name", "measure"],
    strict=True,
    ordered=True,
    name="accuracy",
)
"""The accuracy of the maps that the estimates correct."""

LINEAGE = DataFrameSchema(
    {
        "period": _text("Period of acquisition."),
        "scene_id": _text("Id of the scene."),
        "item_uri": _text("STAC Item of the prediction."),
        "image_uri": _text("The image."),
        "image_etag": _text("Entity tag of the image's bytes."),
        "inputs_sha256": _text("Digest of all that decides the period's figures."),
    },
    unique=["period", "scene_id", "item_uri"],
    strict=True,
    ordered=True,
    name="lineage",
)
"""The scenes behind every period."""
