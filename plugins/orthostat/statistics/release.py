"""Releasing: the changed periods become a new vintage, in S3 first, then in PostgreSQL."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pandera.pandas import DataFrameSchema
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Table, text
from sqlalchemy.engine import Connection

from orthostat import __version__, layout, settings, storage
from orthostat.errors import ReleaseError
from orthostat.pipelines.config import Pipeline
from orthostat.statistics import database
from orthostat.statistics.check import check_rows
from orthostat.statistics.exports import write_exports
from orthostat.statistics.result import PeriodResult
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS, Row
from orthostat.statistics.vintages import (
    Release,
    read_companion,
    read_periods,
    read_releases,
    read_vintage,
)

log = logging.getLogger(__name__)

_TABLES: tuple[tuple[DataFrameSchema, Table], ...] = (
    (OBSERVATIONS, database.OBSERVATION_TABLE),
    (ACCURACY, database.ACCURACY_TABLE),
    (LINEAGE, database.LINEAGE_TABLE),
)
_Content = dict[str, list[Row]]
"""Rows by table."""


class ReleaseSummary(BaseModel):
    """What a release step did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: str
    is_unchanged: bool
    """Every figure equals the current one: there is no new release."""
    release_id: str | None
    """The current release after this step; None when there is none."""
    vintage: int | None
    supersedes: str | None
    reason: str
    periods: tuple[str, ...]
    """Periods whose figures changed."""
    uri: str | None
    """Folder of the current release's files."""


def release(
    pipeline: Pipeline,
    run_id: str,
    results: Sequence[PeriodResult],
    is_current: Callable[[PeriodResult], bool] = lambda result: True,
) -> ReleaseSummary:
    """Release the periods whose figures differ from the current ones, as one new vintage, or nothing.

    The files of the whole vintage are written to S3 before the rows are committed: a release that is in the
    database has all its files, and one that was interrupted before that never was. A retry writes the same
    bytes to the same keys. Releases of a pipeline wait for one another; a result for which `is_current` no
    longer holds when its turn comes is left out.

    Raises ReleaseError when a table breaks its schema or the database does not answer, StorageError when a
    file cannot be written.
    """
    contents = _check_results(pipeline, results)
    database_url = settings.database_url()
    database.migrate(database_url)
    with database.open_database(database_url) as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"orthostat release {pipeline.name}"},
        )
        releases = read_releases(connection, pipeline.name)
        previous = releases[-1] if releases else None
        current = _read_contents(connection, previous) if previous else {}
        stale = [result.period for result in results if not is_current(result)]
        changed = {
            period: content
            for period, content in contents.items()
            if period not in stale and content != current.get(period)
        }
        if not changed:
            return _summarise_unchanged(pipeline, previous, stale)
        new = _describe_release(pipeline, previous, changed, current)
        _insert(connection, new, run_id, changed)
        drawn = [result for result in results if result.period in changed]
        write_exports(connection, pipeline, new, drawn)
    log.info("released %s of %s: %s", new.release_id, pipeline.name, new.reason)
    return ReleaseSummary(
        pipeline=pipeline.name,
        is_unchanged=False,
        release_id=new.release_id,
        vintage=new.vintage,
        supersedes=new.supersedes,
        reason=new.reason,
        periods=tuple(sorted(changed)),
        uri=layout.Layout(pipeline.output).release(new.release_id),
    )


def _check_results(pipeline: Pipeline, results: Sequence[PeriodResult]) -> dict[str, _Content]:
    """The results' rows by period and table, each table checked against its schema."""
    contents: dict[str, _Content] = {}
    for result in results:
        if result.period in contents or not result.rows:
            problem = "stands twice" if result.period in contents else "has no rows"
            raise ReleaseError(f"period {result.period} {problem} in the results; give each period once")
        tables = {
            OBSERVATIONS.name: result.rows,
            ACCURACY.name: result.accuracy,
            LINEAGE.name: result.lineage,
        }
        contents[result.period] = {
            schema.name: check_rows(tables[schema.name], schema) for schema, _ in _TABLES
        }
        _check_identity(pipeline, result)
    return contents


def _check_identity(pipeline: Pipeline, result: PeriodResult) -> None:
    expected = {"pipeline": pipeline.name, "period": result.period, "inputs_sha256": result.inputs_sha256}
    for row in (*result.rows, *result.accuracy, *result.lineage):
        found = {name: row.get(name, value) for name, value in expected.items()}
        if found != expected:
            raise ReleaseError(
                f"a row of {found} stands in the result of {expected}; write it to its own result"
            )


def _read_contents(connection: Connection, previous: Release) -> dict[str, _Content]:
    """The current rows by period and table, as `_check_results` gives them."""
    contents: dict[str, _Content] = {
        held.period: {schema.name: [] for schema, _ in _TABLES} for held in read_periods(connection, previous)
    }
    tables = {
        OBSERVATIONS.name: read_vintage(connection, previous.pipeline, previous.vintage),
        ACCURACY.name: read_companion(connection, ACCURACY, previous),
        LINEAGE.name: read_companion(connection, LINEAGE, previous),
    }
    for schema, _ in _TABLES:
        for row in tables[schema.name]:
            contents[row["period"]][schema.name].append({name: row[name] for name in schema.columns})
    return contents


def _describe_release(
    pipeline: Pipeline,
    previous: Release | None,
    changed: Mapping[str, _Content],
    current: Mapping[str, _Content],
) -> Release:
    """The new release; its id follows from its content and the release before, never from the time."""
    vintage = previous.vintage + 1 if previous else 1
    supersedes = previous.release_id if previous else None
    added = [period for period in sorted(changed) if period not in current]
    revised = [period for period in sorted(changed) if period in current]
    parts = [("first figures for", added), ("revised figures for", revised)]
    reason = "; ".join(f"{words} {', '.join(periods)}" for words, periods in parts if periods)
    content = {"pipeline": pipeline.name, "supersedes": supersedes, "periods": dict(changed)}
    release_id = f"v{vintage}-{layout.short(storage.digest(content))}"
    return Release(release_id, pipeline.name, vintage, supersedes, reason, "draft")


def _insert(connection: Connection, new: Release, run_id: str, changed: Mapping[str, _Content]) -> None:
    row: dict[str, Any] = {**vars(new), "run_id": run_id, "code_version": __version__}
    connection.execute(database.RELEASE.insert(), row)
    for period, content in changed.items():
        inputs_sha256 = content[OBSERVATIONS.name][0]["inputs_sha256"]
        connection.execute(
            database.RELEASE_PERIOD.insert(),
            {"release_id": new.release_id, "period": period, "inputs_sha256": inputs_sha256},
        )
        for schema, table in _TABLES:
            if content[schema.name]:
                rows = [{**found, "release_id": new.release_id} for found in content[schema.name]]
                connection.execute(table.insert(), rows)


def _summarise_unchanged(
    pipeline: Pipeline, previous: Release | None, stale: Sequence[str]
) -> ReleaseSummary:
    reason = "every figure equals the current one" if previous else "there are no figures"
    if stale:
        reason = (
            f"the inputs of {', '.join(stale)}, or the pipeline file, changed meanwhile; the run that "
            "changed them, or the next one, releases them"
        )
    log.info("nothing to release of %s: %s", pipeline.name, reason)
    return ReleaseSummary(
        pipeline=pipeline.name,
        is_unchanged=True,
        release_id=previous.release_id if previous else None,
        vintage=previous.vintage if previous else None,
        supersedes=previous.supersedes if previous else None,
        reason=reason,
        periods=(),
        uri=layout.Layout(pipeline.output).release(previous.release_id) if previous else None,
    )
