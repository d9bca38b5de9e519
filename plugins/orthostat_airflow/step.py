"""A step in the process of its task, and how Airflow learns what came of it."""

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from orthostat.cli.main import build_parser, describe_defect, end
from orthostat.errors import OrthostatError
from orthostat.scratch import remove_leftovers
from orthostat_airflow.notes import NOTE, PLANNED
from orthostat_airflow.progress import Progress

_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_", "TZ", "TMPDIR", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT"),
    *("CUDA_", "NVIDIA_", "OMP_", "ORTHOSTAT_"),
)
"""What a step finds in its environment: S3, and nothing of Airflow."""
_DATABASE = ("ORTHOSTAT_DATABASE_URL", "PG")
_WITH_DATABASE = {"plan", "judge", "release"}
"""The steps that read or write the statistics."""


class Step(BaseOperator):
    """Runs `orthostat ARGUMENTS` in the task's process and returns the list `work` of its result.

    A task is a process of its own already, and a model has another one; one more would import everything
    anew. The result's `note` goes into the run's note, and so does the error when the step fails.
    """

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, arguments: Sequence[str], threads: int | None = None, **kwargs: Any) -> None:
        """`threads` bounds those of a model's process, unless ORTHOSTAT_THREADS does; None: one per core."""
        super().__init__(**kwargs)
        self.arguments = list(arguments)
        self.threads = threads
        self.unneeded: list[str] = []

    def execute(self, context: Any) -> Any:
        """Run the step; raises AirflowException with its message when it fails."""
        ti = context["ti"]
        result = self._run(ti)
        if result.get("note"):
            ti.xcom_push(NOTE, f"{self.task_id}: {result['note']}")
        if result.get("planned"):
            ti.xcom_push(PLANNED, result["planned"])
        self.unneeded = result.get("unneeded") or []
        if self.unneeded:
            skip_steps(self.unneeded)
        return result.get("work")

    def on_kill(self) -> None:
        """Leave by way of every `finally` when the task is marked failed or cleared: models end with it."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would break off what the first began
        end(signal.SIGTERM, None)

    def _run(self, ti: Any) -> Mapping[str, Any]:
        try:
            arguments = build_parser().parse_args(self.arguments)
        except SystemExit as error:  # which says why in the task's log
            self._fail(ti, f"is no step: orthostat {' '.join(self.arguments)}", error, is_final=True)
        remove_leftovers()
        with _environment_of(self._environment()), _read_by(Progress(ti)):
            try:
                result = arguments.run(arguments)
            except OrthostatError as error:
                self._fail(ti, str(error), error, is_final=error.is_final)
            except Exception as error:
                self._fail(ti, describe_defect(error), error, is_final=False)
        return result if isinstance(result, dict) else {}  # the Items of a prediction on demand lie in S3

    def _fail(self, ti: Any, reason: str, error: BaseException, *, is_final: bool) -> NoReturn:
        ti.xcom_push(NOTE, f"{self.task_id} failed: {reason}")
        raise (AirflowFailException if is_final else AirflowException)(reason) from error

    def _environment(self) -> dict[str, str]:
        threads = {} if self.threads is None else {"ORTHOSTAT_THREADS": str(self.threads)}
        has_database = bool(_WITH_DATABASE.intersection(self.arguments[:2]))
        inherited = {
            name: value
            for name, value in os.environ.items()
            if (has_database if name.startswith(_DATABASE) else name.startswith(_PASSED_ON))
        }
        return {**threads, **inherited}


def skip_steps(task_ids: Sequence[str]) -> None:
    """Skip tasks of this run that follow; the work that mapped ones expand over is still returned, as those
    of a run that is cleared have instances to be removed. (Airflow's exception for skipping returns nothing.)
    """
    from airflow.sdk.execution_time.comms import SkipDownstreamTasks
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    SUPERVISOR_COMMS.send(SkipDownstreamTasks(tasks=list(task_ids)))


@contextmanager
def _read_by(handler: logging.Handler) -> Iterator[None]:
    log = logging.getLogger("orthostat")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)  # as the command line does; whatever Airflow's own level is
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


@contextmanager
def _environment_of(variables: Mapping[str, str]) -> Iterator[None]:
    """Reduce this process's environment to `variables`, also for what it starts; put it back afterwards."""
    before = dict(os.environ)
    for name in before.keys() - variables.keys():
        del os.environ[name]
    os.environ |= variables
    try:
        yield
    finally:
        for name in variables.keys() - before.keys():
            os.environ.pop(name, None)
        os.environ |= before
