"""Parts of the service: warm models, the queue's rule, tokens, jobs that two servers want."""

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orthostat import storage
from orthostat.errors import (
    BundleError,
    ConfigurationError,
    MachineError,
    MissingError,
    OutageError,
    RefusedError,
)
from orthostat.layout import PredictionKey
from orthostat.pipelines.allow import AllowedBundle, AllowList
from orthostat.pipelines.load import load_pipeline
from orthostat.planning.manifest import Recipe
from orthostat.prediction import batch as batch_module
from orthostat.prediction.scene import Work
from orthostat.service.access import Access
from orthostat.service.job import DismissedError, Job, Ticket, now
from orthostat.service.jobs import JobStore
from orthostat.service.keeper import Keeper
from orthostat.service.models import WarmModels
from orthostat.service.openapi import EXAMPLE
from orthostat.service.predictor import Predictor
from orthostat.service.problems import ProblemError
from orthostat.service.request import PredictionRequest, parse_json
from orthostat.service.service import Service
from orthostat.service.work_queue import WorkQueue
from tests.builders import make_scene
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import InThisProcess

ROOT = Path(__file__).parents[2]
REQUEST = PredictionRequest(image="s3://images/a.tif", model="s3://models/b.zip", output="s3://results/a")


class Fake(InThisProcess):
    """A model of this process that knows whether it was closed."""

    memory_mb = 100.0

    def __exit__(self, *_: object) -> None:
        self.is_closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """The models that were opened."""
    models: list[Fake] = []

    def open_process(*arguments: Any) -> Fake:
        models.append(Fake(*arguments))
        models[-1].is_closed = False
        return models[-1]

    monkeypatch.setattr(batch_module, "ModelProcess", open_process)
    return models


def recipe(folder: Path, number: int = 0) -> Recipe:
    """Of the bundle with that number; bundles differ in a byte at their end."""
    path = folder / f"{number}.zip"
    if not path.exists():
        data = write_onnx_bundle(folder / "bundle.zip").read_bytes()
        path.write_bytes(data + bytes(number))
    return Recipe(bundle=str(path), sha256=storage.file_sha256(path), engine="onnx")


def use(models: WarmModels, wanted: Recipe, *, is_large: bool = False) -> Any:
    with models.borrow(wanted, is_large=is_large) as process:
        return process


def test_the_model_used_longest_ago_makes_room(tmp_path: Path, opened: list[Fake]) -> None:
    models = WarmModels(2, 1e6)
    for number in (0, 1, 0, 2, 0):
        use(models, recipe(tmp_path, number))
    assert [model.is_closed for model in opened] == [False, True, False]
    assert models.count == 2
    models.close()
    assert all(model.is_closed for model in opened)


def test_a_wrong_digest_lets_no_model_go(tmp_path: Path, opened: list[Fake]) -> None:
    models = WarmModels(2, 1e6)
    for number in (0, 1):
        use(models, recipe(tmp_path, number))
    with pytest.raises(BundleError, match="named was abab"):
        use(models, Recipe(bundle=recipe(tmp_path).bundle, sha256="ab" * 32))
    assert [model.is_closed for model in opened] == [False, False]


def test_idle_models_go_when_they_hold_too_much_memory(tmp_path: Path, opened: list[Fake]) -> None:
    models = WarmModels(3, 150)
    for number in (0, 1, 2):
        use(models, recipe(tmp_path, number))
    assert [model.is_closed for model in opened] == [True, True, False]


def test_small_jobs_share_a_model_and_pass_a_large_one(tmp_path: Path, opened: list[Fake]) -> None:
    models, wanted = WarmModels(2, 1e6), recipe(tmp_path)
    with models.borrow(wanted, is_large=True) as busy:
        assert use(models, wanted) is not busy
    assert len(opened) == 2
    running, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal running, most
        with models.borrow(wanted, is_large=False):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.01)
            with lock:
                running -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert len(opened) == 2
    assert most <= 2


def test_a_model_whose_machine_failed_is_let_go(tmp_path: Path, opened: list[Fake]) -> None:
    models = WarmModels(2, 1e6)
    with pytest.raises(MachineError), models.borrow(recipe(tmp_path), is_large=False):
        raise MachineError("CUDA error")
    assert (opened[0].is_closed, models.count) == (True, 0)


def ticket(name: str, megabytes: float = 1, **changes: Any) -> Ticket:
    job = Job(job_id=name, caller="me", request=REQUEST, sha256="ab" * 32, created=now(), **changes)
    scene = make_scene(name, size_bytes=int(megabytes * 1e6))
    return Ticket(job, Work(scene, PredictionKey(f"s3://results/{name}")))


class Bench:
    """What a queue works on, released job by job."""

    def __init__(self, most: int = 10):
        self.began: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.queue = WorkQueue(self._run, most, large_mb=100)

    def put(self, *tickets: Ticket) -> None:
        for one in tickets:
            self.gates[one.job.job_id] = threading.Event()
            self.queue.put(one)

    def wait(self, *names: str) -> None:
        deadline = time.monotonic() + 10
        while sorted(self.began) != sorted(names):
            assert time.monotonic() < deadline, self.began
            time.sleep(0.01)

    def _run(self, one: Ticket) -> None:
        self.began.append(one.job.job_id)
        self.gates[one.job.job_id].wait(20)


def test_small_jobs_go_past_a_large_one_that_waits(opened: list[Fake]) -> None:
    bench = Bench()
    bench.put(ticket("large", 200), ticket("larger", 300), ticket("a"), ticket("b"), ticket("c"))
    bench.wait("large", "a", "b")
    bench.gates["a"].set()
    bench.wait("large", "a", "b", "c")
    bench.gates["large"].set()
    bench.wait("large", "a", "b", "c", "larger")
    for gate in bench.gates.values():
        gate.set()
    assert bench.queue.stop_taking() == []
    assert bench.queue.wait_until_idle(10) == []


def test_no_two_jobs_write_to_one_output_at_a_time() -> None:
    bench = Bench()
    one, two = ticket("one"), ticket("two")
    two.work = one.work
    bench.put(one, two, ticket("three"))
    bench.wait("one", "three")
    bench.gates["one"].set()
    bench.wait("one", "three", "two")
    for gate in bench.gates.values():
        gate.set()
    bench.queue.stop_taking()


def test_a_full_and_a_stopping_queue_take_nothing() -> None:
    bench = Bench(most=1)
    bench.put(*[ticket(name) for name in "abc"])
    bench.wait("a", "b", "c")
    bench.put(ticket("d"))
    with pytest.raises(ProblemError, match="1 jobs wait already, allowed are 1") as full:
        bench.put(ticket("e"))
    assert (full.value.status, int(full.value.headers["Retry-After"]) >= 1) == (429, True)
    assert [left.job.job_id for left in bench.queue.stop_taking()] == ["d"]
    with pytest.raises(ProblemError, match="is stopping"):
        bench.put(ticket("f"))
    for gate in bench.gates.values():
        gate.set()


def write_tokens(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "tokens").write_text("\n".join(lines))
    return tmp_path / "tokens"


def test_a_token_narrows_what_the_service_allows(tmp_path: Path) -> None:
    digest, other = "ab" * 32, "cd" * 32
    hashed = f"sha256:{hashlib.sha256(b'two').hexdigest()}"
    path = write_tokens(tmp_path, "one s3://images/ s3://results/", f"{hashed} {digest}", "# nobody")
    bundles = (
        AllowedBundle(uri="s3://models/b.zip", sha256=digest),
        AllowedBundle(uri="s3://models/c.zip", sha256=other),
    )
    access = Access(AllowList(bundles=bundles), path)
    one, two = access.identify("Bearer one"), access.identify("bearer two")
    with pytest.raises(
        RefusedError, match=r"model s3://models/b.zip lies below none of the allowed prefixes"
    ):
        access.require(one, REQUEST)
    assert access.require(two, REQUEST) == digest
    with pytest.raises(RefusedError, match="is none of the 1 on the allow-list"):
        access.require(two, REQUEST.model_copy(update={"model": "s3://models/c.zip"}))
    with pytest.raises(RefusedError, match="below none"):
        access.require(one, REQUEST.model_copy(update={"image": "s3://images-of-others/a.tif"}))
    for header in (None, "", "Bearer", "Bearer three", "Bearer \u00e9", "one", f"Bearer {hashed}"):
        with pytest.raises(ProblemError, match=r"bearer token is (missing|unknown)"):
            access.identify(header)


@pytest.mark.parametrize("lines", [[""], ["secret-token s4://x"], ["# only"]])
def test_a_file_of_tokens_that_is_none_is_refused_without_telling(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as error:
        Access(AllowList(), write_tokens(tmp_path, *lines))
    assert "secret-token" not in str(error.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"nul", b"\xff", b"[]", b'{"a": Infinity}', b"[" * 5000, b'"x"', b"1" * 5000, b'{"a": "\\ud800"}'],
)
def test_bodies_that_are_no_objects_are_refused_in_short(body: bytes) -> None:
    with pytest.raises(ProblemError) as error:
        parse_json(body)
    assert error.value.status == 400
    assert len(error.value.detail) < 400


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


def test_the_example_of_the_api_is_the_demos() -> None:
    pipeline = load_pipeline(ROOT / "config/pipelines/landsat.yaml")
    assert EXAMPLE["model"] == pipeline.model.bundle
    assert EXAMPLE["sha256"] == pipeline.model.sha256
    assert str(EXAMPLE["image"]).startswith(pipeline.scenes.uri)
    assert (ROOT / "demo/landsat/scenes" / str(EXAMPLE["image"]).rpartition("/")[2]).is_file()
    assert str(EXAMPLE["sha256"]) in (ROOT / "docs/service.md").read_text()


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


def test_a_warm_model_serves_only_its_own_address(tmp_path: Path, opened: list[Fake]) -> None:
    models, wanted = WarmModels(2, 1e6), recipe(tmp_path)
    use(models, wanted)
    with pytest.raises(MissingError):
        use(models, wanted.model_copy(update={"bundle": str(tmp_path / "none.zip")}))
    assert not opened[0].is_closed


def test_tokens_that_cannot_be_read_let_nobody_in_and_tell_nothing(tmp_path: Path) -> None:
    path = write_tokens(tmp_path, "one")
    access = Access(AllowList(), path)
    path.unlink()
    with pytest.raises(
        ProblemError, match=r"^the service's tokens cannot be read now; ask again later$"
    ) as error:
        access.identify("Bearer one")
    assert error.value.status == 503
    with pytest.raises(OutageError):
        access.caller_named("any")
    write_tokens(tmp_path, "one")
    assert access.identify("Bearer one").allowed == AllowList()


def test_a_token_that_was_removed_has_no_jobs_any_more(tmp_path: Path) -> None:
    access = Access(AllowList(), write_tokens(tmp_path, "one", "two"))
    name = access.identify("Bearer one").name
    assert access.caller_named(name).name == name
    path = write_tokens(tmp_path, "two")
    os.utime(path, ns=(0, 1))
    with pytest.raises(ProblemError, match="is no longer known"):
        access.caller_named(name)


def test_a_prefix_names_a_bucket(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no prefix; write s3://BUCKET/PREFIX/"):
        Access(AllowList(), write_tokens(tmp_path, "all s3://"))
