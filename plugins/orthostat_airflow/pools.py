"""The pool of predict pods is there when a run needs it: a task whose pool is missing would wait for ever."""

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
    wanted = {task.pool for task in dag.tasks}
    for name in sorted(wanted - set(session.scalars(select(Pool.pool)))):
        slots = settings.gpu_slots()
        # Waiting pods are deferred tasks: a pool that does not count them bounds nothing.
        purpose = "pods that predict at a time; change the slots as you like"
        made = {"pool": name, "slots": slots, "description": purpose, "include_deferred": True}
        # Two runs may start at once, also in two schedulers.
        session.execute(insert(Pool).values(made).on_conflict_do_nothing())
        _log.info("pool '%s' was not there; made it, with %d slots", name, slots)
