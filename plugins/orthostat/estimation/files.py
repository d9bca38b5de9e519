"""Estimates from two files: a row per sample unit with its classes, and a row per stratum."""

from orthostat.estimation.estimates import PopulationEstimates
from orthostat.estimation.intervals import IntervalMethod
from orthostat.estimation.rows import Row, read_rows
from orthostat.estimation.stratified import Stratum, Unit, estimate_population


def estimate_files(
    sample_uri: str,
    strata_uri: str,
    finite_population: bool = True,
    interval: IntervalMethod = "wilson",
) -> PopulationEstimates:
    """Estimates of a sample, in a file each for its units and its strata.

    Columns of the sample are stratum, map_class and reference_class; those of the strata are stratum, size
    and, where known, area: without it, areas are counted in units of size.

    Raises SampleError when a file is malformed or the sample is too small, StorageError for a missing file.
    """
    rows = read_rows(sample_uri, ["stratum", "map_class", "reference_class"])
    units = [Unit(row["stratum"], row["map_class"], row["reference_class"]) for row in rows]
    strata = [_to_stratum(row) for row in read_rows(strata_uri, ["stratum", "size"], optional=["area"])]
    return estimate_population(units, strata, finite_population, interval)


def _to_stratum(row: Row) -> Stratum:
    size = row.read_count("size")
    area = row.read_positive("area") if "area" in row.cells else float(size)
    return Stratum(row["stratum"], size, area)
