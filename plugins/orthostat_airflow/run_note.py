"""Writes what the steps said into the run's note, where a person looks first."""

from typing import Any

from airflow.listeners import hookimpl
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import object_session

from orthostat_airflow.process import NOTE

_MOST = 1000
"""Longest note that Airflow stores, in characters."""


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Collect the notes of a run that ended well."""
    write_note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Collect the notes of a run that failed."""
    write_note(dag_run)


def write_note(dag_run: Any) -> None:
    """Join the steps' sentences, failures first, else as they were said; leaves other DAGs' runs alone."""
    session = object_session(dag_run)
    if session is None:
        return
    said = session.scalars(
        select(XComModel)
        .where(XComModel.dag_id == dag_run.dag_id, XComModel.run_id == dag_run.run_id, XComModel.key == NOTE)
        .order_by(XComModel.timestamp)
    )
    # Pods that fail for one reason say it once; Airflow shows the first line, so failures come first.
    lines = dict.fromkeys(str(XComModel.deserialize_value(entry)) for entry in said)
    note = "\n".join(sorted(lines, key=lambda line: " failed: " not in line))
    if note:
        dag_run.note = note if len(note) <= _MOST else f"{note[: _MOST - 1]}…"
