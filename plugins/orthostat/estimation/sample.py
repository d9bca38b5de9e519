"""The reference sample of a pipeline: units with their place and true class, and the strata of its design."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orthostat.errors import SampleError
from orthostat.estimation.rows import Row, read_rows
from orthostat.estimation.stratified import UNINTERPRETED
from orthostat.pipelines.config import Sample


@dataclass(frozen=True)
class SampleUnit:
    """A pixel of a period's composite whose true class is known."""

    unit_id: str
    """Unique within the period."""
    period: str
    """As in layout: 2025, 2025-Q1 or 2025-03."""
    zone_id: str
    stratum: str
    """Name within period and zone."""
    x: float
    """In the sample's coordinate system."""
    y: float
    reference_class: str
    """Name of the class, as the model spells it, or "uninterpreted"."""


@dataclass(frozen=True)
class SampleStratum:
    """A stratum of one zone and period."""

    period: str
    zone_id: str
    stratum: str
    size: int
    """Pixels in the population."""
    area_m2: float


def read_sample(sample: Sample) -> list[SampleUnit]:
    """All units of the sample, in the order of the file.

    Raises SampleError for a malformed file and a unit that stands twice in a period, StorageError for a
    missing file.
    """
    columns = ["unit_id", "period", "zone_id", "stratum", "x", "y", "reference_class"]
    rows = read_rows(sample.uri, columns)
    units = [_to_unit(row) for row in rows]
    _refuse_repeated(rows, lambda row: (row["period"], row["unit_id"]), "unit_id")
    return units


def read_strata(sample: Sample) -> list[SampleStratum]:
    """All strata of the sample, in the order of the file.

    Raises SampleError for a malformed file and a stratum that stands twice in a zone and period, StorageError
    for a missing file.
    """
    rows = read_rows(sample.strata_uri, ["period", "zone_id", "stratum", "size", "area_m2"])
    strata = [_to_stratum(row) for row in rows]
    _refuse_repeated(rows, lambda row: (row["period"], row["zone_id"], row["stratum"]), "stratum")
    return strata


def _to_unit(row: Row) -> SampleUnit:
    return SampleUnit(
        row["unit_id"],
        row["period"],
        row["zone_id"],
        row["stratum"],
        row.read_number("x"),
        row.read_number("y"),
        row["reference_class"],
    )


def _to_stratum(row: Row) -> SampleStratum:
    return SampleStratum(
        row["period"],
        row["zone_id"],
        row["stratum"],
        row.read_count("size"),
        row.read_positive("area_m2"),
    )


def _refuse_repeated(rows: Sequence[Row], key: Callable[[Row], tuple[str, ...]], column: str) -> None:
    first: dict[tuple[str, ...], int] = {}
    for row in rows:
        if key(row) in first:
            raise row.refuse(
                column, f"stands in row {first[key(row)]} already ({', '.join(key(row))}); keep one of them"
            )
        first[key(row)] = row.number


def check_reference_classes(units: Sequence[SampleUnit], class_names: Sequence[str]) -> None:
    """Raises SampleError when a reference class is none of the model's: both must follow one codelist.

    "uninterpreted" is the one word beside them.
    """
    unknown = sorted({unit.reference_class for unit in units} - {*class_names, UNINTERPRETED})
    if unknown:
        example = next(unit for unit in units if unit.reference_class in unknown)
        raise SampleError(
            f"reference class(es) {unknown} of the sample, e.g. of unit '{example.unit_id}', are none of the "
            f"model's {sorted(class_names)}; spell them as the model does, or '{UNINTERPRETED}'"
        )
