"""A run with nothing to predict: it ends with its plan, unless figures are to be computed all the same."""

from pathlib import Path

import pytest

from orthostat import storage
from orthostat.errors import ConfigurationError
from orthostat.layout import Layout
from orthostat.steps import settle
from tests.integration.story import Story, run_command, upload_scenes

JANUARY = ("2024-01-01", "2024-02-01")
AFTER_PLAN = {"verify", "judge", "compose", "tabulate", "estimate", "release"}


def test_a_run_with_nothing_new_ends_with_its_plan(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    assert story.plan("first", *JANUARY)["unneeded"] == []
    story.run("first", *JANUARY)
    before = {entry.uri for entry in storage.list_objects(story.pipeline.output)}
    plan = story.plan("second", *JANUARY)
    assert plan["work"] == []
    assert set(plan["unneeded"]) == AFTER_PLAN
    assert "4 scenes listed, 0 to predict in 0 batches; 4 used" in plan["note"]
    assert plan["note"].endswith("nothing to release: no period changed")
    after = {entry.uri for entry in storage.list_objects(story.pipeline.output)}
    layout = Layout(story.pipeline.output)
    assert after - before == {layout.plan("second"), layout.run("second", "judgement.json")}


def test_a_withdrawn_scene_is_taken_out_by_the_steps_that_follow(story: Story, world: Path) -> None:
    names = upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    run_command(
        *("scenes", "withdraw", "--pipeline", "synthetic", "--scene-id", names[0], "--reason", "smoke")
    )
    plan = story.plan("second", *JANUARY)
    assert plan["unneeded"] == ["verify"]
    assert "revised figures for 2024-01" in story.finish("second", plan).notes["release"]
    assert set(story.plan("third", *JANUARY)["unneeded"]) == AFTER_PLAN


def test_what_a_run_left_undone_after_its_commit_is_done(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    catalog = Layout(story.pipeline.output).catalog()
    before = storage.read_json(catalog)
    storage.delete(catalog)
    assert set(story.plan("second", *JANUARY)["unneeded"]) == AFTER_PLAN
    assert storage.read_json(catalog) == before


def test_a_run_with_a_scene_to_predict_judges_after_it(
    story: Story, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_scenes(story, world, "2024-01")
    monkeypatch.setattr(settle, "judge_run", None)
    assert story.plan("first", *JANUARY)["unneeded"] == []


def test_a_class_that_the_model_does_not_know_is_told_before_anything_is_predicted(
    story: Story, world: Path
) -> None:
    upload_scenes(story, world, "2024-01")
    wrong = story.write(publication={"classes": ["crop", "lava"]})
    with pytest.raises(ConfigurationError, match=r"names \['lava'\], the model knows \['water', .*correct"):
        wrong.plan("first", "2024-01-01", "2024-02-01")
    assert not list(storage.list_objects(Layout(story.pipeline.output).run("first", "")))
