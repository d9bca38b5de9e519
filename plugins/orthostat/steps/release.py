"""The release step: what the estimate step computed becomes a new version of the table."""

from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.pipelines.load import find_pipeline
from orthostat.planning.plan import Plan
from orthostat.statistics.release import release
from orthostat.statistics.result import PeriodResult, read_result
from orthostat.steps.estimate import result_uri
from orthostat.steps.judge import collect_inputs, read_run_work


def release_run(plan: Plan) -> str:
    """Release the changed periods of a run; returns a sentence that says what came of it.

    What may be released is decided by the pipeline file and the scenes as they are now, not as the run saw
    them when it was planned: a period to which another run has meanwhile added scenes is left to that run,
    and an old run whose step is cleared cannot bring an older model's figures back. Raises ConfigurationError
    when the pipeline's file is gone.
    """
    periods = read_run_work(plan).periods
    if not periods:
        return "nothing to release: no period changed"
    present = find_pipeline(plan.pipeline.name)
    zones = read_pipeline_zones(present.zones)

    def is_current(result: PeriodResult) -> bool:
        _, inputs_sha256 = collect_inputs(present, result.period, zones)
        return inputs_sha256 == result.inputs_sha256

    results = [read_result(result_uri(plan, period)) for period in periods]
    summary = release(present, plan.run_id, results, is_current)
    if summary.is_unchanged:
        return f"nothing to release: {summary.reason}"
    supersedes = f", supersedes {summary.supersedes}" if summary.supersedes else ""
    return f"release {summary.release_id}: {summary.reason}{supersedes}; files under {summary.uri}"
