"""A pod that is killed for want of memory: the next go scene by scene, and find the one that does it."""

from pathlib import Path

import numpy as np
import pytest

from orthostat import storage
from orthostat.planning.manifest import Batch, Recipe
from orthostat.prediction import batch as batch_module
from orthostat.prediction.batch import Summary, predict_batch
from orthostat.prediction.failure import Failure, read_failure
from tests.unit.prediction_images import InThisProcess, key_of, make_batch, make_recipe, write_image

VALUES = np.array([[[50, 200], [150, 30]]], dtype=np.uint16)
NAMES = ["A", "B", "C", "D"]


class Killed(BaseException):
    """The end of the pod: nothing in it can catch that."""


class Greedy(InThisProcess):
    """A model that is the end of its pod at some scenes."""

    at: tuple[str, ...] = ()
    started = 0

    def start(self) -> None:
        Greedy.started += 1

    def predict(self, image: Path, name: str, *others, **named):
        if Path(name).stem in self.at:
            raise Killed(name)
        return super().predict(image, name, *others, **named)


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setattr(batch_module, "ModelProcess", Greedy)
    monkeypatch.setattr(Greedy, "at", ())
    for name in NAMES:
        write_image(tmp_path / "scenes" / f"{name}.tif", VALUES)
    return make_batch(tmp_path, NAMES)


def failure_of(batch: Batch, number: int) -> Failure | None:
    uri = key_of(batch, number).failure
    return read_failure(uri) if storage.exists(uri) else None


def is_predicted(batch: Batch) -> list[bool]:
    return [storage.exists(key_of(batch, number).item) for number in range(len(NAMES))]


def run_until_done(batch: Batch) -> int:
    """As Airflow does: each pod that is killed is followed by another that is told so."""
    for overloads in range(10):
        try:
            predict_batch(batch, overloads)
        except Killed:
            continue
        return overloads
    raise AssertionError("it never ends")


def test_the_scene_that_does_it_fails_and_the_others_do_not(batch, monkeypatch):
    monkeypatch.setattr(Greedy, "at", ("B",))
    assert run_until_done(batch) == 2
    assert is_predicted(batch) == [True, False, True, True]
    failure = failure_of(batch, 1)
    assert failure is not None
    assert (failure.kind, failure.limit) == ("limit", "memory_mb")
    assert "also alone: the pod was killed" in failure.reason
    assert failure.is_final(batch.recipe)
    assert not [e for e in storage.list_objects(batch.output) if e.uri.endswith("attempt.json")]


def with_room(recipe: Recipe, memory_mb: float, scratch_mb: float, batch_size: int | None) -> Recipe:
    limits = recipe.limits.model_copy(update={"memory_mb": memory_mb})
    options = recipe.options.model_copy(update={"batch_size": batch_size})
    return recipe.model_copy(update={"limits": limits, "options": options, "scratch_mb": scratch_mb})


@pytest.mark.parametrize(
    ("room", "is_tried_again"),
    [
        ((1000, 500, 8), False),
        ((900, 400, 16), False),
        ((1000, 500, None), False),  # nobody knows how many the bundle says
        ((1001, 500, 8), True),
        ((900, 501, 8), True),
        ((1000, 500, 4), True),
    ],
)
def test_a_scene_that_was_too_much_waits_for_what_its_message_says(batch, monkeypatch, room, is_tried_again):
    monkeypatch.setattr(Greedy, "at", ("B",))
    tight = batch.model_copy(update={"recipe": with_room(batch.recipe, 1000, 500, 8)})
    run_until_done(tight)
    failure = failure_of(batch, 1)
    assert failure is not None
    assert "with 1,000 MB for the model and 500 MB of scratch; raise resources.memory or" in failure.reason
    assert failure.is_final(with_room(batch.recipe, *room)) is not is_tried_again


def test_each_of_several_is_found(batch, monkeypatch):
    monkeypatch.setattr(Greedy, "at", ("A", "C"))
    assert run_until_done(batch) == 3
    assert is_predicted(batch) == [False, True, False, True]


def test_scenes_are_apart_only_after_a_pod_was_killed(batch, monkeypatch):
    monkeypatch.setattr(Greedy, "started", 0)
    assert predict_batch(batch, 0) == Summary(predicted=4, skipped=0, failed=0)
    assert Greedy.started == 1
    for number in range(4):
        storage.delete(key_of(batch, number).item)
    assert predict_batch(batch, 1) == Summary(predicted=4, skipped=0, failed=0)
    assert Greedy.started == 5


def test_a_node_that_goes_blames_no_scene(batch, monkeypatch):
    monkeypatch.setattr(Greedy, "at", ("B",))
    for _ in range(3):  # the first kill was one for memory; the others come with a spot node that goes
        with pytest.raises(Killed):
            predict_batch(batch, 1)
    assert failure_of(batch, 1) is None
    monkeypatch.setattr(Greedy, "at", ())
    assert predict_batch(batch, 1).failed == 0


def test_a_mark_of_less_memory_blames_no_scene(batch, tmp_path, monkeypatch):
    monkeypatch.setattr(Greedy, "at", ("B",))
    with pytest.raises(Killed):
        predict_batch(batch, 1)
    monkeypatch.setattr(Greedy, "at", ())
    limits = batch.recipe.limits.model_copy(update={"memory_mb": 2 * batch.recipe.limits.memory_mb})
    larger = make_batch(tmp_path, NAMES, make_recipe(tmp_path, limits=limits))
    assert predict_batch(larger, 2) == Summary(predicted=3, skipped=1, failed=0)


def test_a_model_that_is_too_much_by_itself_blames_no_scene(batch, monkeypatch):
    def start(self) -> None:
        raise Killed("while loading")

    monkeypatch.setattr(Greedy, "start", start)
    for overloads in range(4):
        with pytest.raises(Killed):
            predict_batch(batch, overloads)
    assert [failure_of(batch, number) for number in range(4)] == [None] * 4


def test_a_mark_of_an_earlier_run_blames_no_scene(batch, monkeypatch):
    mark = {"overloads": 1, "room": batch.recipe.room.model_dump()}
    storage.write_json(key_of(batch, 1).attempt, mark)  # that run's pod went with its node, at B
    monkeypatch.setattr(Greedy, "at", ("A",))
    assert run_until_done(batch) == 2
    assert is_predicted(batch) == [False, True, True, True]
