"""The one place that knows whether a step runs as a process or as a pod. DAGs do not."""

import os
from datetime import timedelta
from typing import Any

from orthostat.cluster.leftovers import OUTPUT, RUN
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.load import load_predict_image
from orthostat_airflow.step import Step

_CORES = len(os.sched_getaffinity(0))
"""Of this machine, as the runner `process` works where Airflow does: as many heavy steps, a thread each."""
PLAN_RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=30)}
"""The first step meets whatever is away."""
PROCESS_RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
}
"""For a minute or two, as S3 and the database may be started again in the middle of a run."""


def worker_step(task_id: str, pipeline: Pipeline, **kwargs: Any) -> Step:
    """A light step of a run, on the Airflow worker whatever the runner."""
    arguments = ["step", task_id, "--root", pipeline.output, "--run-id", "{{ run_id }}"]
    return Step(task_id=task_id, arguments=arguments, **PROCESS_RETRIES, **kwargs)


def heavy_step(task_id: str, pipeline: Pipeline, work: Any, *, option: str, **kwargs: Any) -> Any:
    """A mapped step, one instance for each manifest URI in `work`: processes or pods, same arguments.

    `option` is the option of `orthostat step TASK_ID` that takes the URI.
    """
    # Who may write manifests in S3 may not choose the code that runs: the pipeline file does.
    bundle = ["--sha256", pipeline.model.sha256] if task_id == "predict" else []
    arguments = work.map(lambda uri: ["step", task_id, option, uri, *bundle])
    if pipeline.runner == "process":
        kwargs |= {**PROCESS_RETRIES, "max_active_tis_per_dag": _CORES}
        return Step.partial(task_id=task_id, threads=1, **kwargs).expand(arguments=arguments)
    from orthostat_airflow.pod import mapped_pod_step  # the Kubernetes client takes seconds to import

    marks = {RUN: "{{ run_id }}", OUTPUT: pipeline.output}
    return mapped_pod_step(task_id, pipeline.resources, annotations=marks, **kwargs).expand(
        arguments=arguments
    )


def single_step(task_id: str, arguments: list[str]) -> Any:
    """A prediction outside any pipeline, where defaults.yaml says."""
    place = load_predict_image()
    if place.runner == "process":
        return Step(task_id=task_id, arguments=arguments, **PROCESS_RETRIES)
    from orthostat_airflow.pod import pod_step

    return pod_step(task_id, place.resources, arguments)
