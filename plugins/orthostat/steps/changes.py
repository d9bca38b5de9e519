"""What the estimate step computed, held against the present and released."""

from collections.abc import Sequence

from orthostat.aggregation.boundaries import store_boundaries
from orthostat.estimation.reference import Reference
from orthostat.pipelines.config import Pipeline
from orthostat.planning.plan import Plan
from orthostat.scenes.withdrawals import read_withdrawals
from orthostat.statistics.release import release
from orthostat.statistics.result import PeriodResult, read_result
from orthostat.statistics.schema import LINEAGE
from orthostat.steps.inputs import collect_inputs
from orthostat.steps.work import PeriodWork, read_judgement, result_uri


def release_changes(plan: Plan, present: Pipeline, periods: Sequence[PeriodWork]) -> str:
    """Release what of a run's periods is still current; returns a sentence that says what came of it.

    What may be released is decided by the pipeline file and the withdrawn scenes as they are now, and by the
    latest judgement of each period, whichever run made it: a period to which another run has meanwhile added
    scenes is left to that run, and an old run whose step is cleared cannot bring an older model's figures
    back.
    """
    _, boundaries = store_boundaries(present)
    reference = Reference(present.sample) if present.sample else None
    withdrawn = set(read_withdrawals(plan.layout))

    def is_current(result: PeriodResult) -> bool:
        latest = read_judgement(plan.layout, result.period)
        if withdrawn.intersection(result.read(LINEAGE)["scene_id"].to_pylist()):
            return False
        rules = collect_inputs(present, result.period, boundaries, reference)
        return latest.inputs == result.inputs and latest.remark is None and rules.has_rules_of(result.inputs)

    results = [read_result(result_uri(plan, period)) for period in periods]
    summary = release(present, plan.run_id, results, is_current)
    if summary.is_unchanged:
        return f"nothing to release: {summary.reason}"
    supersedes = f", supersedes {summary.supersedes}" if summary.supersedes else ""
    return f"release {summary.release_id}: {summary.reason}{supersedes}; files under {summary.uri}"
