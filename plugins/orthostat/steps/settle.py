"""A run that has nothing to predict, and often nothing else to do either."""

from orthostat.planning.plan import Plan
from orthostat.steps.judge import judge_run
from orthostat.steps.release import release_run


def settle_run(plan: Plan) -> str | None:
    """Finish a run without scenes whose periods are as they are released; returns a sentence that says so.

    None when figures are to be computed all the same, such as after a change of zones, sample or rules: the
    steps that follow do so. Like `release`, it does what a run that was killed after its commit left undone.
    """
    work, found = judge_run(plan)
    if work.periods:
        return None
    return f"{found}; {release_run(plan)}"
