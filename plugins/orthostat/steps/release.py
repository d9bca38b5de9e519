"""The release step: a new version of the table where figures changed, and the catalog after it."""

from orthostat.pipelines.load import find_pipeline
from orthostat.planning.plan import Plan
from orthostat.statistics.publish import publish
from orthostat.steps.work import read_run_work


def release_run(plan: Plan) -> str:
    """Release the changed periods of a run; returns a sentence that says what came of it.

    Whether or not there are any, what a run that was killed after its commit has left to do is done. Raises
    ConfigurationError when the pipeline's file is gone.
    """
    periods = read_run_work(plan).periods
    present = find_pipeline(plan.pipeline.name)
    said = "nothing to release: no period changed"
    if periods:
        from orthostat.steps.changes import release_changes  # pandas and pandera: seconds that others save

        said = release_changes(plan, present, periods)
    publish(present)
    return said
