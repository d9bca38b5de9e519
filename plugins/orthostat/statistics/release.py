"""Releasing: periods whose figures changed become a new vintage in PostgreSQL, in one transaction."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from pandera.pandas import DataFrameSchema
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.engine import Connection

from orthostat import __version__, layout, settings, storage
from orthostat.errors import ReleaseError
from orthostat.pipelines.config import Pipeline
from orthostat.statistics import database
from orthostat.statistics.check import check_result
from orthostat.statistics.compare import Changed, describe_release, select_changed
from orthostat.statistics.copy import copy_in
from orthostat.statistics.declared import RELEASE, RELEASE_PERIOD
from orthostat.statistics.inputs import Inputs
from orthostat.statistics.result import PeriodResult
from orthostat.statistics.revisions import record_revisions
from orthostat.statistics.vintages import HeldPeriod, Release, read_periods, read_releases

log = logging.getLogger(__name__)


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

    Figures that are the same though something else decided them now are confirmed, not released again.
    Releases of a pipeline wait for one another; a result for which `is_current` no longer holds when its turn
    comes is left out. Files are written afterwards (`publish.publish`), from what was committed.

    Raises ReleaseError when a table breaks its schema or the database does not answer, StorageError when a
    table is missing.
    """
    _refuse_twice(results)
    database_url = settings.database_url()
    database.migrate(database_url)
    with database.open_database(database_url) as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
            {"name": f"orthostat release {pipeline.name}"},
        )
        releases = read_releases(connection, pipeline.name)
        previous = releases[-1] if releases else None
        held = {entry.period: entry for entry in read_periods(connection, previous)} if previous else {}
        stale = [result.period for result in results if not is_current(result)]
        waiting = [result for result in results if result.period not in stale]
        changed = select_changed(waiting, held)
        _confirm(connection, run_id, [one for one in waiting if one.period not in changed], held)
        if not changed:
            return _summarise_unchanged(pipeline, previous, stale)
        new = describe_release(pipeline, previous, changed)
        _insert(connection, pipeline, new, run_id, changed)
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


def _refuse_twice(results: Sequence[PeriodResult]) -> None:
    counts = Counter(result.period for result in results)
    twice = sorted(period for period, count in counts.items() if count > 1)
    if twice:
        raise ReleaseError(f"period {', '.join(twice)} stands twice in the results; give each period once")


def _confirm(
    connection: Connection, run_id: str, equal: Sequence[PeriodResult], held: Mapping[str, HeldPeriod]
) -> None:
    """Record that other inputs gave a release's figures once more, so that nobody computes them again."""
    for result in equal:
        before, inputs = held[result.period], result.inputs
        if before.inputs_sha256 != inputs.sha256:
            connection.execute(
                text(
                    "INSERT INTO confirmation (release_id, period, inputs_sha256, inputs, run_id) VALUES "
                    "(:release_id, :period, :sha256, CAST(:inputs AS jsonb), :run_id) ON CONFLICT DO NOTHING"
                ),
                {
                    "release_id": before.release_id,
                    "period": before.period,
                    "sha256": inputs.sha256,
                    "inputs": _to_json(inputs),
                    "run_id": run_id,
                },
            )


def _insert(
    connection: Connection,
    pipeline: Pipeline,
    new: Release,
    run_id: str,
    changed: Mapping[str, Changed],
) -> None:
    """Write the release; a period is checked while the one before is written, and a wrong one ends it all."""
    row: dict[str, Any] = {**vars(new), "run_id": run_id, "code_version": __version__}
    connection.execute(RELEASE.insert(), row)
    entries = [changed[period] for period in sorted(changed)]
    with ThreadPoolExecutor(1) as checker:
        pending = checker.submit(check_result, pipeline, entries[0].result)
        for number, one in enumerate(entries, start=1):
            tables = pending.result()
            if number < len(entries):
                pending = checker.submit(check_result, pipeline, entries[number].result)
            _insert_period(connection, new, one, tables)


def _insert_period(
    connection: Connection, new: Release, one: Changed, tables: Sequence[tuple[DataFrameSchema, pa.Table]]
) -> None:
    result = one.result
    connection.execute(
        RELEASE_PERIOD.insert(),
        {
            "release_id": new.release_id,
            "period": result.period,
            "inputs_sha256": result.inputs.sha256,
            "inputs": result.inputs.model_dump(mode="json"),
            "cause": one.cause,
            "figures_sha256": result.figures_sha256,
            "result_uri": storage.join(result.uri, "result.json"),
        },
    )
    for schema, table in tables:
        copy_in(connection, schema, new.release_id, table)
    if one.cause is not None:
        record_revisions(connection, new, result.period, one.cause)


def _to_json(inputs: Inputs) -> str:
    return json.dumps(inputs.model_dump(mode="json"))


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
