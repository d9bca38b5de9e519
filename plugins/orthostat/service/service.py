"""The service without HTTP: accepts jobs, works on them, tells of them, and ends in order."""

import logging
import uuid
from collections.abc import Callable
from typing import Any

from orthostat.errors import OrthostatError, StorageError
from orthostat.service.access import Access, Caller
from orthostat.service.job import DismissedError, Job, Response, Ticket, now
from orthostat.service.jobs import JobStore
from orthostat.service.keeper import Keeper
from orthostat.service.metrics import Metrics
from orthostat.service.models import WarmModels
from orthostat.service.predictor import Predictor
from orthostat.service.problems import NO_SUCH_JOB, ProblemError, problem_of
from orthostat.service.request import PredictionRequest
from orthostat.service.work_queue import WorkQueue, stopping

log = logging.getLogger(__name__)

_MOST_ATTEMPTS = 10
"""A job that has ended so many servers is not begun again."""
_MOST_CHANGES = 10
"""A job that its server writes between our reading and our writing is read again so often."""


class Service:
    """Jobs and what they need."""

    def __init__(
        self,
        access: Access,
        predictor: Predictor,
        models: WarmModels,
        *,
        queue: int,
        large_mb: float,
        store: JobStore | None,
        lease_seconds: float,
    ):
        """Without `store` there are no asynchronous jobs."""
        self.access = access
        self._predictor = predictor
        self._models = models
        self.queue = WorkQueue(self._run, queue, large_mb)
        self.metrics = Metrics(self.queue, models)
        self._keeper = Keeper(store, lease_seconds, self._resume, self._take_up) if store else None
        if self._keeper:
            self._keeper.start()

    @property
    def has_jobs(self) -> bool:
        """Whether jobs may be asynchronous."""
        return self._keeper is not None

    def submit(
        self,
        caller: Caller,
        request: PredictionRequest,
        response: Response = "raw",
        *,
        is_async: bool = False,
    ) -> Ticket:
        """Accept a job. Raises ProblemError and OrthostatError when it cannot be done."""
        sha256 = self.access.require(caller, request)
        self.queue.require_room()
        work = self._predictor.describe(request)
        job = Job(
            job_id=uuid.uuid4().hex,
            caller=caller.name,
            request=request,
            sha256=sha256,
            response=response,
            created=now(),
        )
        if not is_async or self._keeper is None:
            ticket = Ticket(job, work)
            self.queue.put(ticket)
            return ticket
        try:
            ticket = self._keeper.accept(job, lambda job, save: Ticket(job, work, save))
        except StorageError as error:
            log.error("jobs cannot be kept: %s", error)
            told = "jobs cannot be kept now; ask again later, or without Prefer: respond-async"
            raise ProblemError(503, told, headers={"Retry-After": "30"}) from error
        try:
            self.queue.put(ticket)
        except ProblemError as problem:
            full = problem
            self._end(ticket, lambda: ticket.fail(full))
            raise
        return ticket

    def find(self, caller: Caller, job_id: str) -> Job:
        """A job of the caller. Raises ProblemError (404) when there is none."""
        ticket = self._keeper.find(job_id) if self._keeper else None
        if ticket is not None:
            job: Job | None = ticket.job
        else:
            stored = self._keeper.store.read(job_id) if self._keeper else None
            job = stored.job if stored else None
        if job is None or job.caller != caller.name:
            raise ProblemError(404, f"there is no job '{job_id:.100}'", NO_SUCH_JOB, "No such job")
        return job

    def list_jobs(self, caller: Caller) -> list[Job]:
        """The caller's jobs, the newest first."""
        return [job for job in self._keeper.store.all() if job.caller == caller.name] if self._keeper else []

    def dismiss(self, caller: Caller, job_id: str) -> Job:
        """Cancel a job, or forget one that is finished. Raises ProblemError (404)."""
        job = self.find(caller, job_id)
        assert self._keeper is not None
        ended = {"status": "dismissed", "message": "dismissed", "owner": None}
        if job.is_finished:
            self._keeper.store.remove(job_id)
            return job.model_copy(update=ended)
        ticket = self._keeper.find(job_id)
        if ticket is not None:
            ticket.cancel()
            self._end(ticket, lambda: ticket.update(**ended, finished=now()))
            self.queue.remove(ticket)
            return ticket.job
        for _ in range(_MOST_CHANGES):
            stored = self._keeper.store.read(job_id)
            if stored is None or stored.job.is_finished:
                return job.model_copy(update=ended)
            try:
                self._keeper.store.save(stored, stored.job.model_copy(update={**ended, "finished": now()}))
            except DismissedError:  # its server has just written how far it is
                continue
            return stored.job
        raise ProblemError(503, "the job changes all the time; ask again", headers={"Retry-After": "1"})

    def stop(self, grace_seconds: float) -> None:
        """Take no new work, let running work end, hand back what does not in time."""
        for ticket in self.queue.stop_taking():
            self._hand_back(ticket)
        for ticket in self.queue.wait_until_idle(grace_seconds):
            self._hand_back(ticket)
            ticket.cancel()
        self.queue.wait_until_idle(grace_seconds / 4)
        if self._keeper:
            self._keeper.stop()
        self._models.close()

    def _hand_back(self, ticket: Ticket) -> None:
        if self._keeper and self._keeper.find(ticket.job.job_id) is ticket:
            self._keeper.hand_back(ticket)
        if not ticket.result.done():
            ticket.result.set_exception(stopping())

    def _take_up(self, ticket: Ticket) -> bool:
        if not self.queue.has_room:
            return False
        self.queue.put(ticket)
        return True

    def _resume(self, job: Job, save: Callable[[Job], None]) -> Ticket:
        """The ticket of a job that another server left. Raises ProblemError when it cannot go on."""
        caller = self.access.caller_named(job.caller)  # what lies in S3 may have been written by anybody
        if self.access.require(caller, job.request) != job.sha256:
            raise ProblemError(403, "the job names another digest than its request")
        if job.attempts >= _MOST_ATTEMPTS:
            told = f"the job has ended {job.attempts} servers, and is not begun again; see their logs"
            raise ProblemError(500, told)
        return Ticket(job, self._predictor.describe(job.request), save)

    def _run(self, ticket: Ticket) -> None:
        """Work on a job, and end it one way or the other."""
        try:
            ticket.require_wanted()
            done = self._predictor.is_committed(ticket.work, ticket.job)
            ticket.update(
                status="running", started=now(), attempts=ticket.job.attempts + 1, message="running"
            )
            is_large = self.queue.is_large(ticket)
            item = done or self._predictor.predict(ticket, is_large=is_large)
        except BaseException as error:
            if ticket.is_cancelled or isinstance(error, DismissedError):
                self._forget(ticket)
                return
            problem = problem_of(error)
            self._end(ticket, lambda: ticket.fail(problem))
        else:
            self._end(ticket, lambda: ticket.succeed(item))

    def _end(self, ticket: Ticket, end: Callable[[], None]) -> None:
        try:
            end()
        except DismissedError:
            log.info("job %s was dismissed or taken up elsewhere", ticket.job.job_id)
        except OrthostatError as error:  # the lease runs out, and somebody takes it up again
            log.warning("the end of job %s could not be kept: %s", ticket.job.job_id, error)
        self._forget(ticket)
        self.metrics.jobs.labels(ticket.job.status).inc()
        self.metrics.seconds.observe((now() - ticket.job.created).total_seconds())

    def _forget(self, ticket: Ticket) -> None:
        if self._keeper:
            self._keeper.drop(ticket)
        if not ticket.result.done():
            ticket.result.set_exception(ProblemError(410, "the job was dismissed"))


def outcome(ticket: Ticket) -> dict[str, Any]:
    """The Item of a job, waited for. Raises ProblemError."""
    return ticket.result.result()
