"""The release step: what the estimate step computed becomes a new version of the table."""

from orthostat.planning.plan import Plan
from orthostat.statistics.release import release
from orthostat.statistics.result import read_result
from orthostat.steps.estimate import result_uri
from orthostat.steps.judge import read_run_work


def release_run(plan: Plan) -> str:
    """Release the changed periods of a run; returns a sentence that says what came of it."""
    periods = read_run_work(plan).periods
    if not periods:
        return "nothing to release: no period changed"
    summary = release(
        plan.pipeline, plan.run_id, [read_result(result_uri(plan, period)) for period in periods]
    )
    if summary.is_unchanged:
        return f"nothing to release: {summary.reason}"
    supersedes = f", supersedes {summary.supersedes}" if summary.supersedes else ""
    return f"release {summary.release_id}: {summary.reason}{supersedes}; files under {summary.uri}"
