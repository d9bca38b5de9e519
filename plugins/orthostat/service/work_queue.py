"""The queue: bounded, in order of arrival, and small images never behind a large one."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from orthostat.service.job import Ticket
from orthostat.service.problems import ProblemError

log = logging.getLogger(__name__)

_AT_ONCE = 3
"""Jobs that are worked on: one is predicted while others are fetched or stored."""


class WorkQueue:
    """Jobs wait in order of arrival; of those that are worked on, at most one has a large image, and no two
    the same output. So a small image waits for small ones alone, and a large one for its turn among the
    large.
    """

    def __init__(self, run: Callable[[Ticket], None], most: int, large_mb: float):
        """At most `most` jobs wait."""
        self._run = run
        self.most = most
        self._large_mb = large_mb
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._changed = threading.Condition()
        self._is_stopping = False
        self._seconds = 1.0
        self._threads = [
            threading.Thread(target=self._work, name=f"job-{number}", daemon=True)
            for number in range(_AT_ONCE)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, ticket: Ticket) -> None:
        """Let a job wait. Raises ProblemError: 429 when too many do, 503 when the service stops."""
        with self._changed:
            self.require_room()
            self._waiting.append(ticket)
            self._changed.notify_all()

    def require_room(self) -> None:
        """Raises ProblemError: 429 when too many jobs wait, 503 when the service stops."""
        if self._is_stopping:
            raise stopping()
        backlog = self.waiting
        if backlog >= self.most:
            seconds = max(1, round(self._seconds * backlog / _AT_ONCE))
            raise ProblemError(
                429,
                f"{backlog} jobs wait already, allowed are {self.most} (--queue); try again later",
                headers={"Retry-After": str(min(seconds, 600))},
            )

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        with self._changed:
            return self._backlog()

    @property
    def running(self) -> int:
        """Jobs that are worked on."""
        return len(self._running)

    @property
    def is_stopping(self) -> bool:
        """Whether no more work is taken."""
        return self._is_stopping

    @property
    def has_room(self) -> bool:
        """Whether one more may wait."""
        return not self._is_stopping and self.waiting < self.most

    def remove(self, ticket: Ticket) -> bool:
        """Take out a job that still waits; False when it does not."""
        with self._changed:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            return True

    def is_large(self, ticket: Ticket) -> bool:
        """Whether its image counts as a large one."""
        return ticket.work.scene.size_bytes / 1e6 > self._large_mb

    def stop_taking(self) -> list[Ticket]:
        """Take no more work; returns those that wait, which are the caller's again."""
        with self._changed:
            self._is_stopping = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return left

    def wait_until_idle(self, seconds: float) -> list[Ticket]:
        """Wait for what is worked on; returns what is still worked on then."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._running and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            return list(self._running)

    def _work(self) -> None:
        while True:
            with self._changed:
                while (ticket := self._next()) is None:
                    if self._is_stopping:
                        return
                    self._changed.wait()
                self._waiting.remove(ticket)
                self._running.append(ticket)
            started = time.monotonic()
            try:
                self._run(ticket)
            except BaseException:
                log.exception("defect: the job %s", ticket.job.job_id)
            with self._changed:
                self._running.remove(ticket)
                self._seconds += 0.2 * (time.monotonic() - started - self._seconds)
                self._changed.notify_all()

    def _next(self) -> Ticket | None:
        return next((one for one in self._waiting if self._may_start(one, self._running)), None)

    def _may_start(self, ticket: Ticket, running: list[Ticket]) -> bool:
        is_second_large = self.is_large(ticket) and any(map(self.is_large, running))
        return not is_second_large and ticket.work.key.folder not in {one.work.key.folder for one in running}

    def _backlog(self) -> int:
        """Jobs that wait for others, and not only for a thread to wake up."""
        running, count = list(self._running), 0
        for ticket in self._waiting:
            if len(running) < _AT_ONCE and self._may_start(ticket, running):
                running.append(ticket)
            else:
                count += 1
        return count


def stopping() -> ProblemError:
    """What is answered while the service ends."""
    return ProblemError(503, "the service is stopping; ask again", headers={"Retry-After": "5"})
