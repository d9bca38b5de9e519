"""The tables that leave Orthostat: each declared once."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from pandera.pandas import Check, Column, DataFrameSchema

from orthostat.statistics.codes import AREA, CLOSED, COUNT, MAP_COUNT, OPEN, STATUS_MEANINGS, STRATIFIED
from orthostat.statistics.constraints import ACCURACY_RULES, OBSERVATION_RULES


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
    checks=OBSERVATION_RULES,
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
    checks=ACCURACY_RULES,
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
