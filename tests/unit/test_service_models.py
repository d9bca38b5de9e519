"""Warm models, and the queue before them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orthostat import storage
from orthostat.errors import (
    BundleError,
    MachineError,
    MissingError,
)
from orthostat.planning.manifest import Recipe
from orthostat.prediction import batch as batch_module
from orthostat.service.job import Ticket
from orthostat.service.models import WarmModels
from orthostat.service.problems import ProblemError
from orthostat.service.work_queue import WorkQueue
from tests.builders_service import ticket
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import InThisProcess


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


def test_a_warm_model_serves_only_its_own_address(tmp_path: Path, opened: list[Fake]) -> None:
    models, wanted = WarmModels(2, 1e6), recipe(tmp_path)
    use(models, wanted)
    with pytest.raises(MissingError):
        use(models, wanted.model_copy(update={"bundle": str(tmp_path / "none.zip")}))
    assert not opened[0].is_closed


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
