"""Releasing: periods whose figures changed become a new vintage in PostgreSQL, in one transaction."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from orthostat.statistics.check import check_table
from orthostat.statistics.copy import copy_in
from orthostat.statistics.inputs import Inputs
from orthostat.statistics.result import PeriodResult
from orthostat.statistics.revisions import record_revisions
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS
from orthostat.statistics.tables import digest_figures
from orthostat.statistics.vintages import HeldPeriod, Release, read_periods, read_releases

log = logging.getLogger(__name__)

SCHEMAS: tuple[DataFrameSchema, ...] = (OBSERVATIONS, ACCURACY, LINEAGE)
"""The tables of a result."""


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


@dataclass(frozen=True)
class _Checked:
    """A result whose tables keep their schemas."""

    result: PeriodResult
    figures_sha256: str
    cause: str | None = None
    """What decided otherwise than in the release before; None for first figures."""


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
    checked = _check_results(pipeline, results)
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
        stale = [one.result.period for one in checked if not is_current(one.result)]
        waiting = [one for one in checked if one.result.period not in stale]
        changed = _select_changed(waiting, held)
        _confirm(connection, run_id, [one for one in waiting if one.result.period not in changed], held)
        if not changed:
            return _summarise_unchanged(pipeline, previous, stale)
        new = _describe_release(pipeline, previous, changed)
        _insert(connection, new, run_id, changed)
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


def _check_results(pipeline: Pipeline, results: Sequence[PeriodResult]) -> list[_Checked]:
    """The results, each table checked against its schema, one at a time."""
    checked: dict[str, _Checked] = {}
    for result in results:
        if result.period in checked:
            raise ReleaseError(f"period {result.period} stands twice in the results; give each period once")
        digests = []
        for schema in SCHEMAS:
            table = check_table(result.read(schema), schema)
            _check_identity(pipeline, result, table, schema)
            if schema is not LINEAGE:
                digests.append(digest_figures(table, schema))
        checked[result.period] = _Checked(result, storage.digest(digests))
    return list(checked.values())


def _check_identity(
    pipeline: Pipeline, result: PeriodResult, table: pa.Table, schema: DataFrameSchema
) -> None:
    expected = {"pipeline": pipeline.name, "period": result.period, "inputs_sha256": result.inputs.sha256}
    if schema is OBSERVATIONS and table.num_rows == 0:
        raise ReleaseError(f"period {result.period} has no rows in the results; estimate it again")
    for name, value in expected.items():
        found = table[name].unique().to_pylist() if name in table.column_names else []
        if set(found) - {value}:
            raise ReleaseError(
                f"rows of {name} {sorted(set(found) - {value})} stand in the result of {expected}; write "
                "them to their own result"
            )


def _select_changed(checked: Sequence[_Checked], held: Mapping[str, HeldPeriod]) -> dict[str, _Checked]:
    """The periods whose figures are not the current ones, with what is behind it."""
    changed = {}
    for one in checked:
        before = held.get(one.result.period)
        if before is None:
            changed[one.result.period] = one
        elif before.figures_sha256 != one.figures_sha256:
            causes = one.result.inputs.changes(before.inputs) if before.inputs else []
            cause = ", ".join(causes) or "figures from before causes were kept"
            changed[one.result.period] = _Checked(one.result, one.figures_sha256, cause)
    return changed


def _confirm(
    connection: Connection, run_id: str, equal: Sequence[_Checked], held: Mapping[str, HeldPeriod]
) -> None:
    """Record that other inputs gave a release's figures once more, so that nobody computes them again."""
    for one in equal:
        before, inputs = held[one.result.period], one.result.inputs
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


def _describe_release(
    pipeline: Pipeline, previous: Release | None, changed: Mapping[str, _Checked]
) -> Release:
    """The new release; its id follows from its content and the release before, never from the time."""
    vintage = previous.vintage + 1 if previous else 1
    supersedes = previous.release_id if previous else None
    added = [period for period in sorted(changed) if changed[period].cause is None]
    parts = [f"first figures for {', '.join(added)}"] if added else []
    for cause in sorted({one.cause for one in changed.values() if one.cause is not None}):
        revised = [period for period in sorted(changed) if changed[period].cause == cause]
        parts.append(f"revised figures for {', '.join(revised)} ({cause})")
    content = {period: [one.figures_sha256, one.result.inputs.sha256] for period, one in changed.items()}
    digest = storage.digest({"pipeline": pipeline.name, "supersedes": supersedes, "periods": content})
    return Release(
        f"v{vintage}-{layout.short(digest)}", pipeline.name, vintage, supersedes, "; ".join(parts), "draft"
    )


def _insert(connection: Connection, new: Release, run_id: str, changed: Mapping[str, _Checked]) -> None:
    row: dict[str, Any] = {**vars(new), "run_id": run_id, "code_version": __version__}
    connection.execute(database.RELEASE.insert(), row)
    for period, one in sorted(changed.items()):
        result = one.result
        connection.execute(
            database.RELEASE_PERIOD.insert(),
            {
                "release_id": new.release_id,
                "period": period,
                "inputs_sha256": result.inputs.sha256,
                "inputs": result.inputs.model_dump(mode="json"),
                "cause": one.cause,
                "figures_sha256": one.figures_sha256,
                "result_uri": storage.join(result.uri, "result.json"),
            },
        )
        for schema in SCHEMAS:
            copy_in(connection, schema, new.release_id, result.read(schema))
        if one.cause is not None:
            record_revisions(connection, new, period, one.cause)


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
