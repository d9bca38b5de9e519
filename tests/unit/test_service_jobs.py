"""Jobs of the service in S3, which two servers may want."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from orthostat import storage
from orthostat.pipelines.allow import AllowList
from orthostat.service.access import Access
from orthostat.service.job import DismissedError, Job, Ticket, now
from orthostat.service.jobs import JobStore
from orthostat.service.keeper import Keeper
from orthostat.service.models import WarmModels
from orthostat.service.predictor import Predictor
from orthostat.service.service import Service
from tests.builders_service import REQUEST, ticket, write_tokens


def test_a_job_belongs_to_one_server(s3_bucket: str) -> None:
    store = JobStore(f"{s3_bucket}/jobs")
    stored = store.create(ticket("a" * 32).job)
    other = store.read("a" * 32)
    assert other is not None
    store.save(other, other.job.model_copy(update={"owner": "other"}))
    with pytest.raises(DismissedError):
        store.save(stored, stored.job)
    store.save(other, other.job.model_copy(update={"status": "successful"}))
    assert list(store.unfinished()) == []
    assert not list(storage.list_objects(f"{s3_bucket}/jobs/open/"))
    assert store.read("../../etc/passwd") is None
    storage.write_bytes(f"{s3_bucket}/jobs/jobs/{'b' * 32}.json", b"rubbish")
    assert [job.job_id for job in store.all()] == ["a" * 32]


def test_a_job_is_taken_up_once_after_its_lease(s3_bucket: str) -> None:
    store = JobStore(f"{s3_bucket}/jobs")
    taken: list[str] = []

    def keeper() -> Keeper:
        return Keeper(store, 60, lambda job, save: Ticket(job, ticket("x").work, save), take)

    def take(one: Ticket) -> bool:
        taken.append(one.job.job_id)
        return True

    dead, fresh = "d" * 32, "f" * 32
    store.create(ticket(dead, owner="gone", alive=now() - timedelta(seconds=61)).job)
    store.create(ticket(fresh, owner="alive", alive=now()).job)
    for one in (keeper(), keeper()):
        one.take_up_abandoned()
    assert taken == [dead]


def test_what_lies_in_s3_is_checked_when_it_is_taken_up(tmp_path: Path, s3_bucket: str) -> None:
    """Whoever may write below the prefix of the jobs may not ask for more than a token."""
    digest = "ab" * 32
    access = Access(AllowList(), write_tokens(tmp_path, f"one s3://images/ s3://results/ {digest}"))
    name = access.identify("Bearer one").name
    models = WarmModels(2, 1e6)
    store = JobStore(f"{s3_bucket}/jobs")
    old = now() - timedelta(hours=1)
    request = REQUEST.model_copy(update={"sha256": digest})
    elsewhere = request.model_copy(update={"output": "s3://other/a"})
    forged = {
        "a" * 32: {"caller": name, "request": elsewhere, "sha256": digest},
        "b" * 32: {"caller": name, "request": request, "sha256": "cd" * 32},
        "c" * 32: {"caller": "anyone", "request": request, "sha256": digest},
        "d" * 32: {"caller": "anyone", "request": request, "sha256": digest, "attempts": 10},
    }
    for job_id, fields in forged.items():
        store.create(Job(job_id=job_id, created=old, **fields))  # type: ignore[arg-type]
    naive = Job(job_id="e" * 32, created=old, caller=name, request=request, sha256=digest)
    storage.write_bytes(f"{s3_bucket}/jobs/open/{'e' * 32}", b"")
    content = naive.model_dump(mode="json") | {"created": "2026-01-01T00:00:00"}
    storage.write_json(f"{s3_bucket}/jobs/jobs/{'e' * 32}.json", content)
    service = Service(access, Predictor(models), models, queue=4, large_mb=1, store=store, lease_seconds=1)
    deadline = time.monotonic() + 20
    while list(store.unfinished()) and time.monotonic() < deadline:
        time.sleep(0.1)
    service.stop(1)
    problems = {job.job_id[0]: job.problem for job in store.all()}
    assert {key: problem and problem.status for key, problem in problems.items()} == dict.fromkeys(
        "abcd", 403
    )
