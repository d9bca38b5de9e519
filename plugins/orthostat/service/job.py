"""A job: one prediction that somebody has asked for, from its acceptance to its end."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from orthostat.errors import OrthostatError
from orthostat.prediction.process import ModelProcess
from orthostat.prediction.scene import Work
from orthostat.service.problems import ProblemError
from orthostat.service.request import PredictionRequest

log = logging.getLogger(__name__)

Status = Literal["accepted", "running", "successful", "failed", "dismissed"]
Response = Literal["raw", "document"]
FINISHED = {"successful", "failed", "dismissed"}


class ProblemContent(BaseModel):
    """Why a job failed, as it is answered."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str


class Job(BaseModel):
    """What is known of a job; as it lies in S3."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    job_id: str
    caller: str
    request: PredictionRequest
    sha256: str
    """Digest of the bundle."""
    response: Response = "raw"
    """How the result is told."""
    status: Status = "accepted"
    message: str = ""
    progress: int = 0
    """Per cent."""
    created: AwareDatetime
    started: AwareDatetime | None = None
    finished: AwareDatetime | None = None
    owner: str | None = None
    """The server that works on it; None for whoever takes it up."""
    alive: AwareDatetime | None = None
    """When the owner last said so."""
    attempts: Annotated[int, Field(ge=0)] = 0
    """How often a server has begun it."""
    item: dict[str, Any] | None = None
    problem: ProblemContent | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in FINISHED


class DismissedError(Exception):
    """The job was cancelled, or handed to another server."""


class Ticket:
    """A job in the hands of this server."""

    def __init__(self, job: Job, work: Work, save: Callable[[Job], None] = lambda job: None):
        """`save` keeps the job where others see it; it raises DismissedError when somebody else has it."""
        self.job = job
        self.work = work
        self.result: Future[dict[str, Any]] = Future()
        self._save = save
        self._lock = threading.RLock()
        self._process: ModelProcess | None = None
        self._is_cancelled = False

    def update(self, **changes: Any) -> None:
        """Note what has changed. Raises DismissedError when the job is no longer this server's."""
        with self._lock:
            if self.job.is_finished:
                raise DismissedError
            changed = self.job.model_copy(update=changes)
            self._save(changed)
            self.job = changed

    def tell(self, progress: int) -> None:
        """Note the progress; a job that is no longer this server's is ended, any other trouble can wait."""
        try:
            self.update(progress=progress)
        except DismissedError:
            self.cancel()
        except OrthostatError as error:
            log.warning("the progress of job %s could not be kept: %s", self.job.job_id, error)

    def require_wanted(self) -> None:
        """Raises DismissedError when the job was cancelled."""
        if self._is_cancelled:
            raise DismissedError

    def use(self, process: ModelProcess) -> None:
        """Say which process works on the job, so that it can be ended. Raises DismissedError."""
        with self._lock:
            self._process = process
        self.require_wanted()

    def release(self) -> None:
        """Say that the process works on it no longer."""
        with self._lock:
            self._process = None

    def cancel(self) -> None:
        """End the work on the job as soon as possible."""
        with self._lock:
            self._is_cancelled = True
            if self._process is not None:
                self._process.interrupt()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it."""
        return self._is_cancelled

    def succeed(self, item: dict[str, Any]) -> None:
        """The end of a job that went well."""
        self.update(
            status="successful", item=item, progress=100, message="predicted", finished=now(), owner=None
        )
        self.result.set_result(item)

    def fail(self, problem: ProblemError) -> None:
        """The end of a job that did not."""
        self.result.set_exception(problem)
        self.update(
            status="failed",
            problem=ProblemContent(**problem.content),
            message=problem.detail,
            finished=now(),
            owner=None,
        )


def now() -> datetime:
    """UTC."""
    return datetime.now(UTC)
