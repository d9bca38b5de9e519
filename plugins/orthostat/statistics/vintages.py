"""Reading releases: the current table, and every earlier one as it was."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.engine import Connection

from orthostat.errors import ReleaseError
from orthostat.statistics.database import migrate, open_database
from orthostat.statistics.inputs import Inputs


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
    inputs: Inputs | None
    """What decided them; None where that was not kept yet."""
    figures_sha256: str | None
    result_uri: str | None
    cause: str | None
    """Why they were revised; None for first figures."""


@dataclass(frozen=True)
class ReleasedPeriod:
    """What a period's current figures were made from."""

    known: frozenset[str]
    """Digests of inputs: those of the release, and others that gave the same figures."""
    inputs: Inputs | None
    """Those of the release; None where they were not kept yet."""
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


def read_release_ids(connection: Connection) -> set[str]:
    """The ids of every release of every pipeline."""
    return set(connection.execute(text("SELECT release_id FROM release")).scalars())


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
            "SELECT held.period, held.release_id, held.vintage, held.inputs_sha256, p.inputs, "
            "p.figures_sha256, p.result_uri, p.cause "
            "FROM vintage_period held JOIN release_period p USING (release_id, period) "
            "WHERE held.pipeline = :pipeline AND held.as_of = :vintage ORDER BY held.period"
        ),
        {"pipeline": release.pipeline, "vintage": release.vintage},
    )
    return [HeldPeriod(**{**row, "inputs": _parse(row["inputs"])}) for row in found.mappings()]


def current_periods(database_url: str, pipeline: str) -> dict[str, ReleasedPeriod]:
    """By period, what the pipeline's current figures were made from.

    Migrates the database first; empty when nothing is released yet.
    """
    migrate(database_url)
    with open_database(database_url) as connection:
        releases = read_releases(connection, pipeline)
        if not releases:
            return {}
        scenes, confirmed = _read_scenes(connection, releases[-1]), _read_confirmed(connection, releases[-1])
        return {
            held.period: ReleasedPeriod(
                frozenset({held.inputs_sha256, *confirmed.get(held.period, [])}),
                held.inputs,
                frozenset(scenes.get(held.period, [])),
            )
            for held in read_periods(connection, releases[-1])
        }


def _read_scenes(connection: Connection, release: Release) -> dict[str, list[str]]:
    return _read_lists(connection, release, "SELECT period, array_agg(scene_id) FROM lineage")


def _read_confirmed(connection: Connection, release: Release) -> dict[str, list[str]]:
    query = "SELECT period, array_agg(confirmation.inputs_sha256) FROM confirmation"
    return _read_lists(connection, release, query)


def _read_lists(connection: Connection, release: Release, query: str) -> dict[str, list[str]]:
    """Lists by period, of the releases that hold the periods as of `release`."""
    found = connection.execute(
        text(
            f"{query} JOIN vintage_period held USING (release_id, period) "
            "WHERE held.pipeline = :pipeline AND held.as_of = :vintage GROUP BY period"
        ),
        {"pipeline": release.pipeline, "vintage": release.vintage},
    )
    return {period: list(values) for period, values in found}


def _parse(inputs: dict[str, Any] | None) -> Inputs | None:
    """What was kept; None where another version of Orthostat kept other parts."""
    try:
        return None if inputs is None else Inputs.model_validate(inputs)
    except ValidationError:
        return None
