"""Writes what the steps say into the notes of run and task, where a person looks first: at once, and at the
run's end.
"""

import logging
from collections.abc import Sequence
from typing import Any

from airflow.listeners import hookimpl
from airflow.models.dag import DagTag
from airflow.models.dagrun import DagRun, DagRunNote
from airflow.models.taskinstance import TaskInstance, TaskInstanceNote
from airflow.models.xcom import XComModel
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import Connection, and_, delete, event, exists, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import object_session

from orthostat_airflow.notes import NOTE, PLANNED, PROGRESS, TAG, tell_progress

_MOST = 1000
"""Longest note that Airflow stores, in characters."""
_OF_TASK = and_(
    *(
        getattr(XComModel, name) == getattr(TaskInstance, name)
        for name in ("dag_id", "run_id", "task_id", "map_index")
    )
)
_BY_ITSELF = {"task_failure", "all_tasks_deadlocked"}
"""How Airflow calls the ends of runs that no person has marked failed."""
_STEPS = ("Step", "PlanStep")
"""The operators of steps that run where Airflow does; another DAG may call its own so."""
_log = logging.getLogger(__name__)


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Collect the notes of a run that ended well; what only a try that failed has said is forgotten."""
    write_note(dag_run, is_well=True)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Collect the notes of a run that failed, by itself or by hand."""
    write_note(dag_run, with_silent=msg in _BY_ITSELF)


def write_note(dag_run: Any, *, with_silent: bool = False, is_well: bool = False) -> None:
    """Join the steps' sentences, failures first, else as they were said; leaves other DAGs' runs alone.

    With those `with_silent`: steps that failed and said nothing. Of a run that `is_well` and whose steps have
    nothing to say, nothing is left.
    """
    session = object_session(dag_run)
    if session is None:
        return
    session.flush()
    connection = session.connection()
    lines = _failures_first(
        [
            *_sentences(_said(connection, dag_run.id)),
            *(_tell_silent(connection, dag_run) if with_silent else []),
        ]
    )
    if lines and not _is_by_hand(connection, dag_run.id):
        dag_run.note = _joined(lines)
    if is_well and not lines:
        of_ours = exists().where(DagTag.dag_id == dag_run.dag_id, DagTag.name == TAG)
        by_steps = (DagRunNote.dag_run_id == dag_run.id, DagRunNote.user_id.is_(None))
        session.execute(delete(DagRunNote).where(*by_steps, of_ours))


@event.listens_for(XComModel, "after_insert")
def tell_while_running(mapper: Any, connection: Connection, said: Any) -> None:
    """A step has said something: write it down at once. Whatever goes wrong here, the step's word stands."""
    if said.key not in {NOTE, PROGRESS, PLANNED}:
        return
    try:
        with connection.begin_nested():
            if said.key != PLANNED:
                _write_on_task(connection, said)
            _write_on_run(connection, said.dag_run_id)
    except Exception:
        _log.exception("The note of run %s of %s cannot be written", said.run_id, said.dag_id)


def _write_on_task(connection: Connection, said: Any) -> None:
    place = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    wanted = (said.dag_id, said.run_id, said.task_id, said.map_index)
    conditions = [column == value for column, value in zip(place, wanted, strict=True)]
    found = connection.execute(
        select(TaskInstance.id, TaskInstance.try_number).where(*conditions)
    ).one_or_none()
    if found is None:
        return
    value = XComModel.deserialize_value(said)
    # The note stays while the task is tried again, and when that goes well.
    told = tell_progress(value) if said.key == PROGRESS else f"try {found.try_number}: {value}"
    _upsert(connection, TaskInstanceNote, {"ti_id": found.id}, _joined([told]))


def _write_on_run(connection: Connection, dag_run_id: int) -> None:
    state = connection.scalar(select(DagRun.state).where(DagRun.id == dag_run_id))
    said = _said(connection, dag_run_id)
    progress = _tell_steps(said) if state == DagRunState.RUNNING else []
    lines = [*_sentences(said), *progress]
    if lines:
        _upsert(connection, DagRunNote, {"dag_run_id": dag_run_id}, _joined(lines))


def _is_by_hand(connection: Connection, dag_run_id: int) -> bool:
    """Whether a person has written the run's note: it is left alone."""
    wanted = DagRunNote.dag_run_id == dag_run_id
    return connection.scalar(select(DagRunNote.user_id).where(wanted)) is not None


def _said(connection: Connection, dag_run_id: int) -> Sequence[Any]:
    """Everything that the run's steps have said so far, as it was said.

    What a task said before its run was cleared stays in the database where it is skipped this time; a task
    is skipped also when its run is marked failed while it waits for another try.
    """
    columns = (XComModel.key, XComModel.task_id, XComModel.value)
    wanted = (
        XComModel.dag_run_id == dag_run_id,
        XComModel.key.in_([NOTE, PROGRESS, PLANNED]),
        or_(
            TaskInstance.state.is_(None),
            TaskInstance.state.not_in([TaskInstanceState.SKIPPED, TaskInstanceState.REMOVED]),
            XComModel.timestamp >= DagRun.queued_at,
        ),
    )
    found = (
        select(*columns)
        .join(TaskInstance, _OF_TASK)
        .join(DagRun, DagRun.id == XComModel.dag_run_id)
        .where(*wanted)
        .order_by(XComModel.timestamp)
    )
    return connection.execute(found).all()


def _tell_silent(connection: Connection, dag_run: Any) -> list[str]:
    """A word for each step that failed without one: whoever is killed says nothing."""
    failed = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == dag_run.dag_id,
        TaskInstance.run_id == dag_run.run_id,
        TaskInstance.state == TaskInstanceState.FAILED,
        TaskInstance.operator.in_(_STEPS),
        exists().where(DagTag.dag_id == TaskInstance.dag_id, DagTag.name == TAG),
        ~exists().where(XComModel.key == NOTE, _OF_TASK),  # a try removes what those before it have said
    )
    return [
        f"{task_id} failed: it ended before it could say why, as when it is killed for want of memory; see "
        "its log, and the machine's"
        for task_id in connection.scalars(failed.distinct())
    ]


def _failures_first(lines: Sequence[str]) -> list[str]:
    return sorted(lines, key=lambda line: " failed: " not in line)


def _sentences(said: Sequence[Any]) -> list[str]:
    """Pods that fail for one reason say it once; Airflow shows the first line, so failures come first."""
    lines = dict.fromkeys(str(XComModel.deserialize_value(one)) for one in said if one.key == NOTE)
    return _failures_first(list(lines))


def _tell_steps(said: Sequence[Any]) -> list[str]:
    """How far each step is, all its pods together."""
    planned: dict[str, int] = {}
    steps: dict[str, dict[str, Any]] = {}
    for one in said:
        value = XComModel.deserialize_value(one)
        if one.key == PLANNED:
            planned |= value
        elif one.key == PROGRESS:
            step = steps.setdefault(one.task_id, {"done": 0, "failed": 0, "of": 0, "what": value["what"]})
            for name in ("done", "failed", "of"):
                step[name] += value[name]
    return [
        f"{name}: {tell_progress(step | {'of': max(step['of'], planned.get(name, 0))})}"
        for name, step in steps.items()
    ]


def _joined(lines: Sequence[str]) -> str:
    note = "\n".join(lines)
    return note if len(note) <= _MOST else f"{note[: _MOST - 1]}…"


def _upsert(connection: Connection, model: Any, key: dict[str, Any], content: str) -> None:
    """Write a note, unless a person has written one."""
    statement = insert(model.__table__).values(**key, content=content)
    changes = {"content": content}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(key), set_=changes, where=model.user_id.is_(None))
    )
