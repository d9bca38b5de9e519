"""Jobs in S3: a restart forgets none, and what a dead server worked on is taken up by another.

PREFIX/open/JOB          empty; there while the job is not finished
PREFIX/jobs/JOB.json     the job; each write names the version that it replaces, so that one server has it
"""

import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from orthostat import storage
from orthostat.errors import ConfigurationError, MissingError, OutageError, ReplacedError, StorageError
from orthostat.service.job import DismissedError, Job, now

log = logging.getLogger(__name__)

_READERS = 16
_KEPT = timedelta(days=7)
"""Finished jobs are forgotten then; their results stay where they are."""
_ORPHAN = timedelta(minutes=10)
"""A marker without a job is of a server that ended between the two."""


@dataclass
class Stored:
    """A job, and which version of it this is."""

    job: Job
    etag: str


class JobStore:
    """The jobs below a prefix in S3."""

    def __init__(self, root: str):
        """`root` is an s3:// prefix."""
        self._root = root

    def check(self) -> None:
        """Raises ConfigurationError when there is no such bucket; one that does not answer now may later."""
        try:
            next(iter(storage.list_objects(f"{self._root}/open/")), None)
        except OutageError as error:
            log.warning("%s", error)
        except StorageError as error:
            raise ConfigurationError(
                f"jobs cannot be kept below {self._root} ({error}); correct --jobs"
            ) from error

    def create(self, job: Job) -> Stored:
        """Keep a new job. Raises StorageError."""
        storage.write_bytes(self._marker(job.job_id), b"")
        return Stored(job, storage.write_json_if(self._uri(job.job_id), job.model_dump(mode="json"), None))

    def save(self, stored: Stored, job: Job) -> None:
        """Replace the version that is known.

        Raises DismissedError when another one is there: somebody has cancelled the job or taken it up.
        """
        try:
            stored.etag = storage.write_json_if(
                self._uri(job.job_id), job.model_dump(mode="json"), stored.etag
            )
        except (ReplacedError, MissingError) as error:
            raise DismissedError from error
        stored.job = job
        if job.is_finished:
            storage.delete(self._marker(job.job_id))

    def read(self, job_id: str) -> Stored | None:
        """A job; None when there is none of that id."""
        if not re.fullmatch("[0-9a-f]{32}", job_id):
            return None
        try:
            content, etag = storage.read_json_with_etag(self._uri(job_id))
            return Stored(Job.model_validate(content), etag)
        except OutageError:
            raise
        except (StorageError, ValidationError):  # gone, or not ours
            return None

    def remove(self, job_id: str) -> None:
        """Forget a finished job."""
        storage.delete(self._uri(job_id))
        storage.delete(self._marker(job_id))

    def all(self) -> list[Job]:
        """Every job that is kept, the newest first."""
        entries = [e for e in storage.list_objects(f"{self._root}/jobs/") if e.uri.endswith(".json")]
        with ThreadPoolExecutor(_READERS) as readers:
            found = readers.map(lambda e: self.read(e.uri.rpartition("/")[2].removesuffix(".json")), entries)
            return sorted(
                (s.job for s in found if s), key=lambda job: (job.created, job.job_id), reverse=True
            )

    def unfinished(self) -> Iterator[Stored]:
        """Jobs that are not finished, the oldest first; what a killed server left half is tidied up."""
        markers = list(storage.list_objects(f"{self._root}/open/"))
        found = []
        for entry in markers:
            stored = self.read(entry.uri.rpartition("/")[2])
            if stored is not None and not stored.job.is_finished:
                found.append(stored)
            elif stored is not None or now() - entry.last_modified > _ORPHAN:
                storage.delete(entry.uri)
        yield from sorted(found, key=lambda stored: stored.job.created)

    def forget_old(self) -> None:
        """Remove jobs that were finished long ago."""
        for entry in list(storage.list_objects(f"{self._root}/jobs/")):
            if _is_old(entry.last_modified):
                stored = self.read(entry.uri.rpartition("/")[2].removesuffix(".json"))
                if stored is None or stored.job.is_finished:
                    storage.delete(entry.uri)

    def _uri(self, job_id: str) -> str:
        return f"{self._root}/jobs/{job_id}.json"

    def _marker(self, job_id: str) -> str:
        return f"{self._root}/open/{job_id}"


def _is_old(moment: datetime) -> bool:
    return now() - moment > _KEPT
