"""The DAG of a pipeline: list, plan, predict, verify, judge, compose, tabulate, estimate, release, gate."""

from datetime import UTC, datetime, time
from pathlib import Path

from airflow.sdk import DAG, CronDataIntervalTimetable, TriggerRule
from airflow.sdk.exceptions import AirflowFailException

from orthostat.pipelines.config import Pipeline
from orthostat_airflow.notes import TAG
from orthostat_airflow.plan_step import FORM, PlanStep
from orthostat_airflow.priority import BACKFILLS_LAST
from orthostat_airflow.runner import PLAN_RETRIES, heavy_step, worker_step

RUNBOOK = """
### What this run does
`plan` lists the scenes acquired in the run's window and leaves out those already predicted. `predict` runs
the model over them, a batch per pod. `verify` proves from S3 what was done, `judge` decides what may be used.
`compose` and `tabulate` turn each changed period into areas per zone, `estimate` adds what the reference
sample says, `release` writes a new version of the table. `gate` fails the run when too many scenes failed.

### When it is red
1. Read the run's note: it names the step, the value, the limit and the cure.
2. `predict` red, `verify` green: a pod ended early. What it had committed counts; the rest is tried again by
   the next run. Single bad images leave a failure record and never stop the others.
3. `gate` red: more scenes failed than `max_failed_share`; replace the images, or raise the limit knowingly.
4. Every step may be cleared and run again at any time: results have fixed keys and are never appended.

### Dates
A nightly run looks back `lookback_days` from the end of its interval. A backfill takes exactly the scenes
acquired in each interval: `airflow backfill create --dag-id ... --from-date ... --to-date ...`. By hand, give
both days in the form.
"""


def pipeline_dag(pipeline: Pipeline) -> DAG:
    """Wire one pipeline."""
    timetable = CronDataIntervalTimetable(pipeline.schedule, timezone="UTC") if pipeline.schedule else None
    with DAG(
        dag_id=pipeline.name,
        dag_display_name=pipeline.title,
        description=pipeline.title,
        doc_md=f"{pipeline.description}\n{RUNBOOK}",
        schedule=timetable,
        start_date=datetime.combine(pipeline.start_date, time.min, UTC),
        catchup=False,
        max_active_runs=2,
        default_args={"weight_rule": BACKFILLS_LAST},
        params=FORM,
        tags=[TAG, pipeline.runner],
    ) as dag:
        plan = PlanStep(task_id="plan", pipeline=pipeline, **PLAN_RETRIES)
        predict = heavy_step(
            "predict", pipeline, plan.output, option="--batch", max_active_tis_per_dagrun=pipeline.max_pods
        )
        # A batch that failed must not hide what the others did; without a plan there is nothing to look at.
        verify = worker_step("verify", pipeline, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
        # Without new scenes there is nothing to verify, and figures may change all the same.
        judge = worker_step("judge", pipeline, trigger_rule=TriggerRule.NONE_FAILED)
        compose = heavy_step("compose", pipeline, judge.output, option="--work")
        tabulate = heavy_step("tabulate", pipeline, judge.output, option="--work")
        # A corrected sample changes a period without any tile; without a period, `judge` skips them all, and
        # the run still ends with its gate: it is the one leaf, so what fails before it is not hidden.
        estimate = worker_step("estimate", pipeline, trigger_rule=TriggerRule.NONE_FAILED)
        release = worker_step("release", pipeline, trigger_rule=TriggerRule.NONE_FAILED)
        # What the plan skips is no failure; a plan that failed is one, whatever the others make of it.
        gate = worker_step("gate", pipeline, trigger_rule=TriggerRule.NONE_FAILED)
        [plan, predict] >> verify
        [plan, verify >> judge >> compose >> tabulate >> estimate >> release] >> gate
    return dag


def broken_pipeline_dag(path: Path, reason: str) -> DAG:
    """What a pipeline file with an error becomes: a DAG that says so, while the other pipelines run on."""
    with DAG(
        dag_id=path.stem,
        dag_display_name=f"{path.stem} (file to correct)",
        description=reason.splitlines()[0],
        doc_md=f"### The pipeline file is wrong\n```\n{reason}\n```",
        schedule=None,
        tags=[TAG, "broken"],
    ) as dag:
        from airflow.sdk import task

        @task(task_id="pipeline_file")
        def fail() -> None:
            raise AirflowFailException(reason)

        fail()
    return dag
