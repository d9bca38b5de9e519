"""Libraries that a process of Airflow loads once, for all the processes that it forks."""

import logging
import sys
import time
from importlib import import_module
from typing import Any

from airflow.configuration import conf
from airflow.listeners import hookimpl

_JOB, _SCHEDULER = "airflow.jobs.job", "airflow.jobs.scheduler_job_runner"
"""Loaded in services, and in the scheduler alone: a job does not know yet what it is when it starts."""
_STEPS = (
    "orthostat.planning.plan",
    "orthostat.judgement.verify",
    "orthostat.prediction.batch",
    "orthostat.steps.settle",
    "orthostat.aggregation.compose",
    "orthostat.aggregation.tabulate",
    "orthostat.steps.estimate",
    "orthostat.steps.changes",
    "orthostat.statistics.exports",
    "pystac",  # with the first Item
    "pandera.backends.pandas.builtin_checks",  # else with the first check of a table
)
"""What the steps load that run where Airflow does."""
_log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: Any) -> None:
    """Load what a DAG file needs, and in a scheduler whose tasks are its forks what their steps need."""
    if not _is_service(component):
        return
    started = time.monotonic()
    modules = ["orthostat_airflow.pipeline_dag"]
    if _has_pods():
        modules.append("orthostat_airflow.pod")
    if _SCHEDULER in sys.modules and "LocalExecutor" in conf.get("core", "executor"):
        modules += _STEPS
    for module in modules:
        import_module(module)
    _log.info("loaded %d modules for all tasks in %.1f s", len(modules), time.monotonic() - started)


def _is_service(component: Any) -> bool:
    """Each task says that it starts, too."""
    job = sys.modules.get(_JOB)
    return job is not None and isinstance(component, job.Job)


def _has_pods() -> bool:
    from orthostat.errors import ConfigurationError
    from orthostat.pipelines.load import load_pipeline, pipeline_files

    for path in pipeline_files():
        try:
            if load_pipeline(path).runner == "kubernetes":
                return True
        except ConfigurationError:
            continue  # its DAG says so
    return False
