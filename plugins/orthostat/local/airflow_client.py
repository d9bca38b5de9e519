"""A small client of Airflow's REST API, for the demo and the tests."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field

from orthostat.errors import ServiceError
from orthostat.local import configuration

# httpx tells of every request at INFO, which would bury what the caller has to say.
logging.getLogger("httpx").setLevel(logging.WARNING)

_POLL_S = 2
_PAGE = 100
_FINISHED = {"success", "failed"}


class ConflictError(ServiceError):
    """Airflow has such a thing already."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DagRun(_Answer):
    """A run of a DAG, as the API shows it."""

    dag_id: str
    run_id: str = Field(validation_alias="dag_run_id")
    state: str
    """queued, running, success or failed."""
    run_type: str
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    conf: dict[str, Any] | None
    note: str | None


class TaskInstance(_Answer):
    """A task of a run; a mapped task has one for each `map_index`."""

    task_id: str
    map_index: int
    """-1 when the task is not mapped."""
    state: str | None
    try_number: int
    duration_s: float | None = Field(validation_alias="duration")
    note: str | None


class AirflowClient:
    """Talks to one Airflow as one user. What it refuses is a ServiceError with the answer's text."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Log in at `address`, e.g. `http://127.0.0.1:8080`."""
        self.address = address
        # A proxy that the environment names does not reach this machine's loopback.
        self._http = httpx.Client(base_url=address, trust_env=False, timeout=60)
        token = self._call("POST", "/auth/token", {"username": user, "password": password})["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    @classmethod
    def of(cls, local_dir: Path) -> Self:
        """A client of the services that were started in `local_dir`."""
        chosen = configuration.read(local_dir)
        return cls(chosen.address, configuration.USER, chosen.password)

    def wait_for_dag(self, dag_id: str, timeout_s: float = 120) -> None:
        """Wait until Airflow has read a DAG; the error tells which files it could not import."""
        deadline = time.monotonic() + timeout_s
        while dag_id not in self.dag_ids():
            if time.monotonic() > deadline:
                errors = self._call("GET", "/api/v2/importErrors")["import_errors"]
                reasons = "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors)
                raise ServiceError(
                    f"there is no DAG '{dag_id}' after {timeout_s:.0f} s, known are {self.dag_ids()}; "
                    f"look at the DAG's file\n{reasons}".rstrip()
                )
            time.sleep(_POLL_S)

    def dag_ids(self) -> list[str]:
        """The DAGs that Airflow knows, in alphabetical order."""
        return sorted(dag["dag_id"] for dag in self._pages("/api/v2/dags", "dags"))

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs start; a scheduled DAG runs once for the latest interval."""
        self._call("PATCH", f"/api/v2/dags/{quote(dag_id)}", {"is_paused": False})

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        run_id: str | None = None,
    ) -> str:
        """Start a run with the given parameters; returns its run id."""
        body: dict[str, Any] = {"conf": dict(conf or {}), "logical_date": None}
        if logical_date is not None:
            body["logical_date"] = logical_date.isoformat()
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self._call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def backfill(self, dag_id: str, first: str, last: str, max_active_runs: int) -> None:
        """Make a run for each interval that starts on the days `first` to `last`, finished ones again.

        Raises ConflictError while the DAG has a backfill that is not over.
        """
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        how = {"reprocess_behavior": "completed", "max_active_runs": max_active_runs}
        self._call("POST", "/api/v2/backfills", {"dag_id": dag_id, **days, **how})

    def dag_runs(self, dag_id: str) -> list[DagRun]:
        """Every run of a DAG, oldest first."""
        pages = self._pages(f"/api/v2/dags/{quote(dag_id)}/dagRuns", "dag_runs", order_by="id")
        return [DagRun.model_validate(run) for run in pages]

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """One run, with its note."""
        return DagRun.model_validate(self._call("GET", _run_path(dag_id, run_id)))

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Mark a run failed, as a person does by hand: what it waits for is ended."""
        self._call("PATCH", _run_path(dag_id, run_id), {"state": "failed"})

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Run all tasks of a finished run again."""
        self._call("POST", f"{_run_path(dag_id, run_id)}/clear", {"dry_run": False, "only_failed": False})

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        on_progress: Callable[[list[TaskInstance]], None] | None = None,
        timeout_s: float = 1800,
    ) -> str:
        """Wait for a run to end; returns `success` or `failed`.

        `on_progress` is called with the run's tasks whenever the state of one has changed.
        """
        deadline = time.monotonic() + timeout_s
        seen: list[TaskInstance] = []
        while True:
            state = self.dag_run(dag_id, run_id).state
            if on_progress is not None:
                tasks = self.task_instances(dag_id, run_id)
                if _states(tasks) != _states(seen):
                    on_progress(tasks)
                seen = tasks
            if state in _FINISHED:
                return state
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"run '{run_id}' of '{dag_id}' is {state} after {timeout_s:.0f} s; see {self.address}"
                )
            time.sleep(_POLL_S)

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """The tasks of a run, by task id and map index."""
        pages = self._pages(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances")
        tasks = [TaskInstance.model_validate(task) for task in pages]
        return sorted(tasks, key=lambda task: (task.task_id, task.map_index))

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1
    ) -> str:
        """The log of one try of a task, a line per event, exceptions included."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        answer = self._call("GET", path, query={"map_index": map_index, "full_content": True})
        return "\n".join(_log_line(event) for event in answer["content"])

    def _pages(self, path: str, field: str, **query: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            answer = self._call("GET", path, query={"limit": _PAGE, "offset": len(items), **query})
            items += answer[field]
            if len(items) >= answer["total_entries"] or not answer[field]:
                return items

    def _call(
        self, method: str, path: str, body: object = None, query: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"Airflow at {self.address} does not answer ({error}); run `orthostat local up`"
            ) from error
        if answer.is_error:
            kind = ConflictError if answer.status_code == httpx.codes.CONFLICT else ServiceError
            raise kind(f"Airflow refused {method} {path} with {answer.status_code}: {answer.text}")
        result: dict[str, Any] = answer.json()
        return result


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _states(tasks: list[TaskInstance]) -> list[tuple[str, int, str | None, int]]:
    return [(task.task_id, task.map_index, task.state, task.try_number) for task in tasks]


def _log_line(event: Any) -> str:
    if not isinstance(event, dict):
        return str(event)
    details = [f"{detail['exc_type']}: {detail['exc_value']}" for detail in event.get("error_detail") or []]
    return "\n".join([str(event.get("event", json.dumps(event))), *details])
