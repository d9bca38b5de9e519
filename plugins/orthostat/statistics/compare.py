"""What a release would change: the periods whose figures are not the current ones, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orthostat import layout, storage
from orthostat.pipelines.config import Pipeline
from orthostat.statistics.result import PeriodResult
from orthostat.statistics.vintages import HeldPeriod, Release


@dataclass(frozen=True)
class Changed:
    """A result whose figures are not the current ones."""

    result: PeriodResult
    cause: str | None
    """What decided otherwise than in the release before; None for first figures."""


def select_changed(results: Sequence[PeriodResult], held: Mapping[str, HeldPeriod]) -> dict[str, Changed]:
    """The periods whose figures are not the current ones, with what is behind it."""
    changed = {}
    for result in results:
        before = held.get(result.period)
        if before is None:
            changed[result.period] = Changed(result, None)
        elif before.figures_sha256 != result.figures_sha256:
            causes = result.inputs.changes(before.inputs) if before.inputs else []
            cause = ", ".join(causes) or "figures from before causes were kept"
            changed[result.period] = Changed(result, cause)
    return changed


def describe_release(pipeline: Pipeline, previous: Release | None, changed: Mapping[str, Changed]) -> Release:
    """The new release; its id follows from its content and the release before, never from the time."""
    vintage = previous.vintage + 1 if previous else 1
    supersedes = previous.release_id if previous else None
    added = [period for period in sorted(changed) if changed[period].cause is None]
    parts = [f"first figures for {', '.join(added)}"] if added else []
    for cause in sorted({one.cause for one in changed.values() if one.cause is not None}):
        revised = [period for period in sorted(changed) if changed[period].cause == cause]
        parts.append(f"revised figures for {', '.join(revised)} ({cause})")
    content = {
        period: [one.result.figures_sha256, one.result.inputs.sha256] for period, one in changed.items()
    }
    digest = storage.digest({"pipeline": pipeline.name, "supersedes": supersedes, "periods": content})
    return Release(
        f"v{vintage}-{layout.short(digest)}", pipeline.name, vintage, supersedes, "; ".join(parts), "draft"
    )
