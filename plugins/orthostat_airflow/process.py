"""A step as a process on the worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from orthostat.cluster.diagnosis import FINAL_CODES, last_error
from orthostat_airflow.notes import NOTE, PLANNED, PROGRESS, read_progress

_TELL_S = 10
"""Seconds between two words on how far a step is."""
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_", "TZ", "TMPDIR", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT"),
    *("CUDA_", "NVIDIA_", "OMP_", "ORTHOSTAT_"),
)
"""What a step finds in its environment: S3, and nothing of Airflow."""
_DATABASE = ("ORTHOSTAT_DATABASE_URL", "PG")
_WITH_DATABASE = {"judge", "release"}
"""The steps that read or write the statistics."""
_TAIL = 200
"""Lines of a step's log among which its last error is looked for."""


def skip_steps(task_ids: Sequence[str]) -> None:
    """Skip tasks of this run that follow; the work that mapped ones expand over is still returned, as those
    of a run that is cleared have instances to be removed. (Airflow's exception for skipping returns nothing.)
    """
    from airflow.sdk.execution_time.comms import SkipDownstreamTasks
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    SUPERVISOR_COMMS.send(SkipDownstreamTasks(tasks=list(task_ids)))


class ProcessStep(BaseOperator):
    """Runs `orthostat ARGUMENTS` and returns the list `work` of the JSON that it prints.

    What the process writes to stderr is the task's log. Its `note` goes into the run's note, and so does its
    error when it fails.
    """

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, arguments: Sequence[str], threads: int | None = None, **kwargs: Any) -> None:
        """`threads` bounds those of a model's process, unless ORTHOSTAT_THREADS does; None: one per core."""
        super().__init__(**kwargs)
        self.arguments = list(arguments)
        self.threads = threads
        self.process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> Any:
        """Run the process; raises AirflowException with its last message when it fails."""
        code, output, tail = self._run(context["ti"])
        if code != 0:
            reason = last_error("\n".join(tail)) or (tail[-1] if tail else f"ended with exit code {code}")
            context["ti"].xcom_push(NOTE, f"{self.task_id} failed: {reason}")
            raise (AirflowFailException if code in FINAL_CODES else AirflowException)(reason)
        result = json.loads(output) if output else {}
        if not isinstance(result, dict):  # the Items of a prediction on demand: they lie in S3
            return None
        if result.get("note"):
            context["ti"].xcom_push(NOTE, f"{self.task_id}: {result['note']}")
        if result.get("planned"):
            context["ti"].xcom_push(PLANNED, result["planned"])
        if result.get("unneeded"):
            skip_steps(result["unneeded"])
        return result.get("work")

    def on_kill(self) -> None:
        """End the process when the task is marked failed or cleared."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def _environment(self) -> dict[str, str]:
        threads = {} if self.threads is None else {"ORTHOSTAT_THREADS": str(self.threads)}
        has_database = bool(_WITH_DATABASE.intersection(self.arguments[:2]))
        inherited = {
            name: value
            for name, value in os.environ.items()
            if (has_database if name.startswith(_DATABASE) else name.startswith(_PASSED_ON))
        }
        return {**threads, **inherited, "PYTHONUNBUFFERED": "1"}

    def _run(self, ti: Any) -> tuple[int, str, list[str]]:
        tail: deque[str] = deque(maxlen=_TAIL)
        told = time.monotonic()
        with TemporaryFile("w+") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orthostat", *self.arguments],
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                env=self._environment(),
            )
            for line in self.process.stderr or ():
                self.log.info(line.rstrip())
                progress = read_progress(line)
                if progress and (time.monotonic() - told > _TELL_S or progress["done"] == progress["of"]):
                    ti.xcom_push(PROGRESS, progress)
                    told = time.monotonic()
                tail.append(line.rstrip())
            code = self.process.wait()
            output.seek(0)
            return code, output.read(), list(tail)
