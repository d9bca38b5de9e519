"""Estimates from two files: a row per sample unit with its classes, and a row per stratum."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from orthostat.errors import SampleError
from orthostat.estimation.estimates import PopulationEstimates
from orthostat.estimation.intervals import IntervalMethod
from orthostat.estimation.rows import Row, read_rows
from orthostat.estimation.stratified import UNINTERPRETED, UNMAPPED, Stratum, Unit, estimate_population


def estimate_files(
    sample_uri: str,
    strata_uri: str,
    finite_population: bool = True,
    interval: IntervalMethod = "wilson",
) -> PopulationEstimates:
    """Estimates of a sample, in a file each for its units and its strata.

    Columns of the sample are stratum, map_class, reference_class and, where there is one, unit_id; those of
    the strata are stratum, size and, where known, area: without it, areas are counted in units of size.

    Raises SampleError when a file is malformed, a class has two spellings or the sample is too small,
    StorageError for a missing file.
    """
    rows = read_rows(sample_uri, ["stratum", "map_class", "reference_class"], optional=["unit_id"])
    units = [Unit(row["stratum"], row["map_class"], row["reference_class"]) for row in rows]
    _check_names(sample_uri, units)
    _check_unit_ids(sample_uri, rows)
    strata = [_to_stratum(row) for row in read_rows(strata_uri, ["stratum", "size"], optional=["area"])]
    return estimate_population(units, strata, finite_population, interval)


def _check_names(uri: str, units: Sequence[Unit]) -> None:
    """A class has one name, and names that mean something are not used for something else."""
    mapped, true = {unit.map_class for unit in units}, {unit.reference_class for unit in units}
    misplaced = sorted((true & UNMAPPED) | (mapped & {UNINTERPRETED}))
    if misplaced:
        raise SampleError(
            f"{uri} has {misplaced} in the wrong column: {sorted(UNMAPPED)} are map classes, of units that "
            f"the map leaves out; '{UNINTERPRETED}' is a reference class, of units that nobody could tell; "
            "correct the column"
        )
    spellings: dict[str, set[str]] = {}
    for name in mapped | true | UNMAPPED | {UNINTERPRETED}:
        spellings.setdefault(unicodedata.normalize("NFKC", name).casefold(), set()).add(name)
    for names in spellings.values():
        if len(names) > 1:
            raise SampleError(
                f"{uri} has the classes {sorted(names)}, which are one name in different spellings; write it "
                "in one way"
            )
    if not (mapped - UNMAPPED) & (true - {UNINTERPRETED}) and mapped - UNMAPPED:
        raise SampleError(
            f"{uri}: map and reference have no class in common, the map has {sorted(mapped)[:5]}, the "
            f"reference {sorted(true)[:5]}; use the same names, or the same ids, in both columns"
        )


def _check_unit_ids(uri: str, rows: Sequence[Row]) -> None:
    """Where units have ids, each stands once."""
    counts = Counter(row["unit_id"] for row in rows if "unit_id" in row.cells)
    twice = sorted(unit_id for unit_id, count in counts.items() if count > 1)
    if twice:
        raise SampleError(
            f"{uri} has {len(twice)} unit_id(s) more than once, 0 are allowed: {twice[:5]}; remove the copies"
        )


def _to_stratum(row: Row) -> Stratum:
    size = row.read_count("size")
    area = row.read_positive("area") if "area" in row.cells else float(size)
    return Stratum(row["stratum"], size, area)
