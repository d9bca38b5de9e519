"""Reading releases: the current table, and every earlier one as it was."""

from dataclasses import dataclass

from pandera.pandas import DataFrameSchema
from sqlalchemy import text
from sqlalchemy.engine import Connection

from orthostat.errors import ReleaseError
from orthostat.statistics.database import migrate, open_database
from orthostat.statistics.schema import LINEAGE, OBSERVATIONS, Row


@dataclass(frozen=True)
class Release:
    """A release as the database knows it."""

    release_id: str
    pipeline: str
    vintage: int
    """Counts a pipeline's releases from 1."""
    supersedes: str | None
    """The release before."""
    reason: str
    status: str


@dataclass(frozen=True)
class HeldPeriod:
    """A period of a vintage."""

    period: str
    release_id: str
    """The release whose rows are the period's."""
    vintage: int
    """That release's vintage: when the period's figures last changed."""
    inputs_sha256: str


@dataclass(frozen=True)
class ReleasedPeriod:
    """What a period's current figures were made from."""

    inputs_sha256: str
    scene_ids: frozenset[str]


def read_releases(connection: Connection, pipeline: str) -> list[Release]:
    """Every release of a pipeline, oldest first."""
    found = connection.execute(
        text(
            "SELECT release_id, pipeline, vintage, supersedes, reason, status FROM release "
            "WHERE pipeline = :pipeline ORDER BY vintage"
        ),
        {"pipeline": pipeline},
    )
    return [Release(**row) for row in found.mappings()]


def find_vintage(connection: Connection, pipeline: str, vintage: int | None = None) -> Release:
    """The release with that vintage; the latest without one. Raises ReleaseError when there is none."""
    releases = read_releases(connection, pipeline)
    if not releases:
        raise ReleaseError(f"pipeline '{pipeline}' has no release; run it first")
    if vintage is None:
        return releases[-1]
    if not 1 <= vintage <= len(releases):
        raise ReleaseError(f"pipeline '{pipeline}' has no vintage {vintage}; there are 1 to {len(releases)}")
    return releases[vintage - 1]


def read_periods(connection: Connection, release: Release) -> list[HeldPeriod]:
    """The periods of the whole table as of a release, in order."""
    found = connection.execute(
        text(
            "SELECT period, release_id, vintage, inputs_sha256 FROM vintage_period "
            "WHERE pipeline = :pipeline AND as_of = :vintage"
        ),
        {"pipeline": release.pipeline, "vintage": release.vintage},
    )
    return sorted((HeldPeriod(**row) for row in found.mappings()), key=lambda held: held.period)


def read_vintage(connection: Connection, pipeline: str, vintage: int | None = None) -> list[Row]:
    """The whole table of statistics as of a vintage (the latest without one), sorted by its key.

    Columns are those of OBSERVATIONS, then `release_id` (whose figures these are) and `is_break` (whether
    model or boundaries differ from the series' period before). Raises ReleaseError for an unknown vintage.
    """
    release = find_vintage(connection, pipeline, vintage)
    names = ", ".join([*OBSERVATIONS.columns, "release_id", "is_break"])
    found = connection.execute(
        text(f"SELECT {names} FROM vintage_observation WHERE pipeline = :pipeline AND as_of = :vintage"),
        {"pipeline": pipeline, "vintage": release.vintage},
    )
    return _sort([dict(row) for row in found.mappings()], OBSERVATIONS)


def read_companion(connection: Connection, schema: DataFrameSchema, release: Release) -> list[Row]:
    """The whole table ACCURACY or LINEAGE as of a release, with the column `release_id` at the end."""
    names = ", ".join([*schema.columns, "release_id"])
    found = connection.execute(
        text(
            f"SELECT {names} FROM {schema.name} JOIN "
            "(SELECT release_id, period FROM vintage_period "
            "WHERE pipeline = :pipeline AND as_of = :vintage) held USING (release_id, period)"
        ),
        {"pipeline": release.pipeline, "vintage": release.vintage},
    )
    return _sort([dict(row) for row in found.mappings()], schema)


def current_periods(database_url: str, pipeline: str) -> dict[str, ReleasedPeriod]:
    """By period, what the pipeline's current figures were made from.

    Migrates the database first; empty when nothing is released yet.
    """
    migrate(database_url)
    with open_database(database_url) as connection:
        releases = read_releases(connection, pipeline)
        if not releases:
            return {}
        lineage = read_companion(connection, LINEAGE, releases[-1])
        return {
            held.period: ReleasedPeriod(
                held.inputs_sha256,
                frozenset(row["scene_id"] for row in lineage if row["period"] == held.period),
            )
            for held in read_periods(connection, releases[-1])
        }


def _sort(rows: list[Row], schema: DataFrameSchema) -> list[Row]:
    return sorted(rows, key=lambda row: tuple(row[name] for name in schema.unique or []))
