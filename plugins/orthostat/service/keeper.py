"""Keeps the jobs of this server alive, and takes up those of servers that are not."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

from orthostat.errors import OrthostatError, OutageError
from orthostat.service.job import DismissedError, Job, ProblemContent, Ticket, now
from orthostat.service.jobs import JobStore, Stored
from orthostat.service.problems import ProblemError, problem_of

log = logging.getLogger(__name__)

_FORGET_SECONDS = 3600
MakeTicket = Callable[[Job, Callable[[Job], None]], Ticket]
"""From a job and what saves it."""


class Keeper:
    """Jobs in the hands of this server; three times per lease it says of each that it lives."""

    def __init__(
        self, store: JobStore, lease_seconds: float, resume: MakeTicket, take_up: Callable[[Ticket], bool]
    ):
        """`resume` makes tickets of jobs that another server left, `take_up` gets them.

        `resume` raises OrthostatError or ProblemError for one that cannot be done; `take_up` says False when
        there is no room.
        """
        self.store = store
        self._owner = uuid.uuid4().hex
        self._lease = timedelta(seconds=lease_seconds)
        self._resume = resume
        self._take_up = take_up
        self._held: dict[str, tuple[Ticket, Stored]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._forgot = 0.0
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin; jobs that were left are taken up at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, once nothing is held any more."""
        self._stop.set()
        self._thread.join()

    def accept(self, job: Job, make: MakeTicket) -> Ticket:
        """Keep a new job in S3, as this server's."""
        stored = self.store.create(job.model_copy(update={"owner": self._owner, "alive": now()}))
        return self._hold(stored, make)

    def find(self, job_id: str) -> Ticket | None:
        """The ticket of a job that this server holds."""
        held = self._held.get(job_id)
        return None if held is None else held[0]

    def drop(self, ticket: Ticket) -> None:
        """The job is finished, or somebody else's."""
        with self._lock:
            self._held.pop(ticket.job.job_id, None)

    def hand_back(self, ticket: Ticket) -> None:
        """Leave a job to whoever comes next."""
        try:
            ticket.update(status="accepted", owner=None, alive=None, progress=0, message="handed back")
        except (DismissedError, OrthostatError) as error:
            log.info("job %s could not be handed back: %s", ticket.job.job_id, error)
        self.drop(ticket)

    def renew(self) -> None:
        """Say of every job that is held that its server lives; one that is no longer ours is cancelled."""
        for ticket, _ in list(self._held.values()):
            if ticket.job.is_finished:
                self.drop(ticket)
                continue
            try:
                ticket.update(alive=now(), owner=self._owner)
            except DismissedError:
                log.info("job %s is no longer this server's", ticket.job.job_id)
                ticket.cancel()
                self.drop(ticket)

    def take_up_abandoned(self) -> None:
        """Take up jobs whose server has not been heard of for a lease, as far as there is room."""
        for stored in self.store.unfinished():
            job = stored.job
            if job.job_id in self._held or (job.owner and job.alive and now() - job.alive < self._lease):
                continue
            claimed = job.model_copy(update={"owner": self._owner, "alive": now(), "status": "accepted"})
            try:
                self.store.save(stored, claimed)
                ticket = self._hold(stored, self._resume)
            except DismissedError:
                continue  # another server was first
            except OutageError:
                raise  # once it is over, the lease has run out
            except (OrthostatError, ProblemError) as error:
                problem = problem_of(error)
                content = ProblemContent(**problem.content)
                failed = {"status": "failed", "problem": content, "message": problem.detail}
                ended = claimed.model_copy(update={**failed, "finished": now(), "owner": None})
                with contextlib.suppress(DismissedError):  # cancelled meanwhile
                    self.store.save(stored, ended)
                continue
            if not self._take_up(ticket):
                self.hand_back(ticket)
                return
            log.info("job %s taken up", job.job_id)

    def _hold(self, stored: Stored, make: MakeTicket) -> Ticket:
        ticket = make(stored.job, lambda job: self.store.save(stored, job))
        with self._lock:
            self._held[stored.job.job_id] = (ticket, stored)
        return ticket

    def _keep(self) -> None:
        while True:
            try:
                self.renew()
                self.take_up_abandoned()
                if time.monotonic() - self._forgot > _FORGET_SECONDS:
                    self._forgot = time.monotonic()
                    self.store.forget_old()
            except OrthostatError as error:
                log.warning("the jobs could not be looked after: %s", error)
            except Exception:  # one odd object in S3 must not end this for all
                log.exception("defect: the jobs could not be looked after")
            if self._stop.wait(self._lease.total_seconds() / 3):
                return
