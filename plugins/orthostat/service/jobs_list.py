"""The filters of a list of jobs, as OGC API - Processes names them (class job-list)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import get_args

from starlette.datastructures import QueryParams

from orthostat.service.job import Job, Status
from orthostat.service.ogc import PROCESS, seconds_of
from orthostat.service.problems import ProblemError

_Keeps = Callable[[Job], bool]


def select_jobs(jobs: Sequence[Job], query: QueryParams) -> list[Job]:
    """The jobs that fit every filter: type, processID, status, datetime, minDuration, maxDuration.

    Raises ProblemError (400) for a value that means nothing.
    """
    filters: list[_Keeps] = []
    for name, allowed in (("type", {"process"}), ("status", set(get_args(Status)))):
        wanted = _list(query, name)
        if wanted and not wanted <= allowed:
            told = f"{name} is '{','.join(sorted(wanted)):.100}'; known are {', '.join(sorted(allowed))}"
            raise ProblemError(400, told)
    statuses, processes = _list(query, "status"), _list(query, "processID")
    if statuses:
        filters.append(lambda job: job.status in statuses)
    if processes:
        filters.append(lambda job: PROCESS in processes)
    if "datetime" in query:
        begin, end = _interval(query["datetime"])
        filters.append(lambda job: begin <= _as_told(job.created) <= end)
    if "minDuration" in query:
        shortest = _number(query, "minDuration")
        filters.append(lambda job: (seconds_of(job) or -1) > shortest)
    if "maxDuration" in query:
        longest = _number(query, "maxDuration")
        filters.append(lambda job: (seconds := seconds_of(job)) is not None and seconds < longest)
    return [job for job in jobs if all(keeps(job) for keeps in filters)]


def _as_told(moment: datetime) -> datetime:
    """In the milliseconds in which jobs tell it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _list(query: QueryParams, name: str) -> set[str]:
    return {part for value in query.getlist(name) for part in value.split(",") if part}


def _number(query: QueryParams, name: str) -> int:
    text = query[name]
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise ProblemError(400, f"{name} is '{text:.50}'; give whole seconds")
    return int(text)


def _interval(text: str) -> tuple[datetime, datetime]:
    begin, is_interval, end = text.partition("/")
    first = _moment(begin, datetime.min)
    return first, _moment(end, datetime.max) if is_interval else first


def _moment(text: str, otherwise: datetime) -> datetime:
    if text in {"", ".."}:
        return otherwise.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ProblemError(
            400, f"datetime holds '{text:.50}'; give RFC 3339 moments, as A, A/B, ../B or A/.."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
