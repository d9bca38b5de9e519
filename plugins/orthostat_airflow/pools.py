"""Pools of pods are there when a run needs them: a task whose pool is missing would wait for ever."""

import logging
from typing import Any

from airflow.listeners import hookimpl
from airflow.models.pool import Pool
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import object_session

from orthostat import settings

_log = logging.getLogger(__name__)


@hookimpl
def on_dag_run_running(dag_run: Any, msg: str) -> None:
    """Make the pools that a run of this house names and that are not there."""
    session, dag = object_session(dag_run), dag_run.dag
    if session is None or dag is None or "orthostat" not in dag.tags:
        return
    # Pods that predict are those of the task `predict`; all others need no GPU.
    wanted = {
        task.pool: settings.gpu_slots() if task.task_id == "predict" else settings.stats_slots()
        for task in dag.tasks
    }
    there = set(session.scalars(select(Pool.pool)))
    for name, slots in wanted.items():
        if name in there:
            continue
        # Waiting pods are deferred tasks: a pool that does not count them bounds nothing.
        purpose = "pods at a time; change the slots as you like"
        made = {"pool": name, "slots": slots, "description": purpose, "include_deferred": True}
        # Two runs may start at once, also in two schedulers.
        session.execute(insert(Pool).values(made).on_conflict_do_nothing())
        _log.info("pool '%s' was not there; made it, with %d slots", name, slots)
