"""Which scenes a period has, and when it is complete: open months, moved dates, withdrawn scenes."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orthostat import storage
from orthostat.errors import SceneError
from orthostat.steps import judge
from tests.integration.story import Story, read_table, run_command, scenes_of, upload_scenes

JANUARY = ("2024-01-01", "2024-02-01")
FEBRUARY = ("2024-02-01", "2024-03-01")


def states(story: Story) -> set[tuple[str, str, str]]:
    return {(row["period"], row["period_state"], row["scene_count"]) for row in read_table(story)}


def test_a_run_over_part_of_a_period_releases_nothing_of_it(story: Story, world: Path) -> None:
    names = upload_scenes(story, world, "2024-01")
    part = story.run("part", "2024-01-01", "2024-01-06")
    assert "1 scenes listed, 1 to predict" in part.notes["plan"]
    assert (
        "2024-01 is open, and not released: 3 of its 4 listed scene(s) are neither predicted nor failed"
        in part.notes["judge"]
    )
    assert "run 2024-01-01 to 2024-01-31 by hand" in part.notes["judge"]
    assert part.notes["release"] == "nothing to release: no period changed"
    rest = story.run("rest", *JANUARY)
    assert "first figures for 2024-01" in rest.notes["release"]
    assert states(story) == {("2024-01", "closed", str(len(names)))}


def test_a_failed_scene_does_not_keep_its_period_open(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    bad = storage.join(story.pipeline.scenes.uri, "SYN_A_20240131.tif")
    storage.write_bytes(bad, b"this is no image")
    run = story.write(max_failed_share=1.0).run("with a bad one", *JANUARY)
    assert "first figures for 2024-01" in run.notes["release"]
    assert states(story) == {("2024-01", "closed", "4")}


def test_an_open_period_is_released_when_asked_for_and_says_so(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    rules = story.pipeline.publication.model_dump() | {"release_open": True}
    story = story.write(publication=rules)
    part = story.run("part", "2024-01-01", "2024-01-06")
    assert "first figures for 2024-01" in part.notes["release"]
    assert states(story) == {("2024-01", "open", "1")}
    whole = story.run("whole", *JANUARY)
    assert "revised figures for 2024-01 (scenes, state of the period)" in whole.notes["release"]
    assert states(story) == {("2024-01", "closed", "4")}


def test_open_or_not_a_period_never_loses_scenes_to_another_model(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    rules = story.pipeline.publication.model_dump() | {"release_open": True}
    story = story.write(publication=rules)
    story.run("first", *JANUARY)
    before = story.csv()
    other = story.write(model={**story.pipeline.model.model_dump(), "chip_size": 128})
    half = other.run("half", "2024-01-16", "2024-02-16")
    assert "2024-01 is held back: 2 scene(s) of its released figures are of them" in half.notes["judge"]
    assert story.csv() == before


class Clock(datetime):
    """A day in the middle of January."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2024, 1, 20, 12, tzinfo=UTC)


def test_a_period_is_open_until_its_end(story: Story, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_scenes(story, world, "2024-01")
    with monkeypatch.context() as patch:
        patch.setattr(judge, "datetime", Clock)
        early = story.run("early", *JANUARY)
    assert "2024-01 is open, and not released: it ends at 2024-02-01 00:00 UTC" in early.notes["judge"]
    assert early.notes["release"] == "nothing to release: no period changed"
    late = story.run("late", *JANUARY)
    assert "0 to predict" in late.notes["plan"]
    assert "first figures for 2024-01" in late.notes["release"]


def test_a_corrected_date_takes_the_scene_out_of_its_old_period(story: Story, world: Path) -> None:
    """Only the new period is run; the old one is found by itself."""
    january, february = scenes_of(world, "2024-01"), scenes_of(world, "2024-02")
    scenes = story.pipeline.scenes.model_dump()
    story = story.write(scenes=scenes | {"pattern": r"(?P<scene_id>[A-Z_]+)_(?P<acquired>\d{8})\.tif$"})
    for name in january[:3]:
        storage.upload(
            world / "scenes" / f"{name}.tif", storage.join(story.pipeline.scenes.uri, f"{name}.tif")
        )
    first = story.run("first", *JANUARY)
    assert "first figures for 2024-01" in first.notes["release"]
    wrong = f"{january[0]}.tif"
    right = f"{january[0].rsplit('_', 1)[0]}_{february[0].rsplit('_', 1)[1]}.tif"
    storage.upload(world / "scenes" / wrong, storage.join(story.pipeline.scenes.uri, right))
    storage.delete(storage.join(story.pipeline.scenes.uri, wrong))
    run = story.run("corrected", *FEBRUARY)
    assert "the archive says now that this scene was acquired on 2024-02" in run.notes["judge"]
    assert "first figures for 2024-02; revised figures for 2024-01 (scenes)" in run.notes["release"]
    assert states(story) == {("2024-01", "closed", "2"), ("2024-02", "closed", "1")}
    again = story.run("again", *FEBRUARY)
    assert again.notes["release"] == "nothing to release: no period changed"


def day_of(name: str) -> str:
    """Folder of a scene in an archive by day."""
    return datetime.strptime(name[-8:], "%Y%m%d").strftime("%Y/%m/%d")


def by_day(story: Story, world: Path, names: list[str]) -> Story:
    """The story with an archive that has a folder per day, in which these scenes lie."""
    scenes = story.pipeline.scenes.model_dump()
    folder = storage.join(story.pipeline.scenes.uri, "by-day")
    for name in names:
        storage.upload(world / "scenes" / f"{name}.tif", f"{folder}/{day_of(name)}/{name}.tif")
    pattern = r"(?P<scene_id>[A-Z_]+)_(?P<acquired>\d{8})\.tif$"
    return story.write(scenes=scenes | {"uri": f"{folder}/{{acquired:%Y/%m/%d}}/", "pattern": pattern})


def move(story: Story, world: Path, name: str, day: str) -> None:
    """Correct the date of a scene: it moves to another folder, under another name."""
    folder, moved = story.pipeline.scenes.folder, f"{name[:-8]}{day}"
    storage.upload(world / "scenes" / f"{name}.tif", f"{folder}{day_of(moved)}/{moved}.tif")
    storage.delete(f"{folder}{day_of(name)}/{name}.tif")


def test_a_scene_moved_to_another_days_folder_leaves_its_old_period_with_a_run_over_the_new(
    story: Story, world: Path
) -> None:
    january = scenes_of(world, "2024-01")[:3]
    story = by_day(story, world, january)
    story.run("first", *JANUARY)
    move(story, world, january[0], "20240205")
    unseen = story.run("over the old period", *JANUARY)  # for all that it lists, the scene was cleaned away
    assert unseen.notes["release"] == "nothing to release: no period changed"
    run = story.run("over the new period", *FEBRUARY)
    assert "the archive says now that this scene was acquired on 2024-02-05" in run.notes["judge"]
    assert "first figures for 2024-02; revised figures for 2024-01 (scenes)" in run.notes["release"]
    assert states(story) == {("2024-01", "closed", "2"), ("2024-02", "closed", "1")}
    again = story.run("over the old period again", *JANUARY)
    assert again.notes["release"] == "nothing to release: no period changed"
    assert states(story) == {("2024-01", "closed", "2"), ("2024-02", "closed", "1")}


def test_a_moved_scene_never_counts_in_two_periods(story: Story, world: Path) -> None:
    """Also where the old period was not released yet when the new one was."""
    january = scenes_of(world, "2024-01")[:3]
    story = by_day(story, world, january)
    part = story.run("part", "2024-01-01", f"2024-01-{int(january[0][-2:]) + 1:02}")
    assert "2024-01 is open, and not released" in part.notes["judge"]
    move(story, world, january[0], "20240205")
    story.run("over the new period", *FEBRUARY)
    run = story.run("over the old period", *JANUARY)
    assert f"{january[0][:-9]}: the figures of 2024-02 rest on this scene" in run.notes["judge"]
    assert states(story) == {("2024-01", "closed", "2"), ("2024-02", "closed", "1")}


def test_a_pipeline_may_go_on_with_periods_of_another_length(story: Story, world: Path) -> None:
    """What was released by month stays as it is; nobody takes a month for a quarter."""
    upload_scenes(story, world, "2024-01")
    story.run("by month", *JANUARY)
    quarterly = story.write(period="quarter", sample=None)
    run = quarterly.run("by quarter", *JANUARY)
    assert "first figures for 2024-Q1" in run.notes["release"]
    again = story.write().run("by month again", *JANUARY)
    assert again.notes["release"] == "nothing to release: no period changed"
    assert states(story) == {("2024-01", "closed", "4"), ("2024-Q1", "closed", "4")}


def test_a_withdrawn_scene_counts_no_more_until_it_is_restored(story: Story, world: Path) -> None:
    names = upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    first = story.csv()
    of_pipeline = ("--pipeline", "synthetic")
    said = run_command(
        "scenes", "withdraw", *of_pipeline, "--scene-id", names[0], "--reason", "smoke over half of it"
    )
    assert (said["period"], said["next"]) == ("2024-01", "run synthetic over 2024-01")
    assert run_command("scenes", "withdrawn", *of_pipeline) == {names[0]: "smoke over half of it"}
    run = story.run("without", *JANUARY)
    assert "3 scenes listed, 0 to predict" in run.notes["plan"]
    assert f"{names[0]}: withdrawn: smoke over half of it" in run.notes["judge"]
    assert "revised figures for 2024-01 (scenes)" in run.notes["release"]
    assert states(story) == {("2024-01", "closed", "3")}
    run_command("scenes", "restore", *of_pipeline, "--scene-id", names[0])
    restored = story.run("with it again", *JANUARY)
    assert restored.work == []  # its tiles are still there
    assert strip_provenance(story.csv()) == strip_provenance(first)
    with pytest.raises(SceneError, match="has no scene 'SYN_A_20240109'; did you mean 'SYN_A_2024010"):
        run_command("scenes", "withdraw", *of_pipeline, "--scene-id", "SYN_A_20240109", "--reason", "r")
    with pytest.raises(SceneError, match=f"'{names[0]}' is not withdrawn; withdrawn are: none"):
        run_command("scenes", "restore", *of_pipeline, "--scene-id", names[0])
    with pytest.raises(SceneError, match="withdrawn without a reason"):
        run_command("scenes", "withdraw", *of_pipeline, "--scene-id", names[0], "--reason", "  ")


def test_a_scene_withdrawn_before_it_was_predicted_is_never_predicted(story: Story, world: Path) -> None:
    names = upload_scenes(story, world, "2024-01")
    run_command(
        *("scenes", "withdraw", "--pipeline", "synthetic", "--scene-id", names[0], "--reason", "smoke")
    )
    run = story.run("first", *JANUARY)
    assert "3 scenes listed, 3 to predict" in run.notes["plan"]
    assert states(story) == {("2024-01", "closed", "3")}


def test_a_period_that_loses_all_its_scenes_loses_its_figures(story: Story, world: Path) -> None:
    """Counts become empty; estimates, which need no map, stay."""
    names = upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    estimated = [row["area_m2"] for row in read_table(story) if row["method"] == "STRATIFIED"]
    for name in names:
        run_command(
            *("scenes", "withdraw", "--pipeline", "synthetic", "--scene-id", name, "--reason", "smoke")
        )
    run = story.run("without", *JANUARY)
    assert (
        "2024-01 has no prediction any more that may be used: its figures are withdrawn" in run.notes["judge"]
    )
    assert "revised figures for 2024-01 (scenes)" in run.notes["release"]
    rows = read_table(story)
    counts = {
        (row["area_m2"], row["mapped_area_m2"], row["obs_status"], row["obs_note"], row["coverage"])
        for row in rows
        if row["method"] == "MAP_COUNT"
    }
    assert counts == {("", "", "O", "nothing was observed", "0")}
    assert [row["area_m2"] for row in rows if row["method"] == "STRATIFIED"] == estimated
    assert {row["scene_count"] for row in rows} == {"0"}
    again = story.run("again", *JANUARY)
    assert again.notes["release"] == "nothing to release: no period changed"


def test_a_scene_withdrawn_at_the_last_moment_is_not_released(story: Story, world: Path) -> None:
    names = upload_scenes(story, world, "2024-01")
    plan = story.plan("first", *JANUARY)
    for uri in plan["work"]:
        run_command("step", "predict", "--batch", uri)
    story.step("verify", "first")
    for uri in story.step("judge", "first")["work"]:
        run_command("step", "compose", "--work", uri)
        run_command("step", "tabulate", "--work", uri)
    story.step("estimate", "first")
    run_command(
        *("scenes", "withdraw", "--pipeline", "synthetic", "--scene-id", names[0], "--reason", "smoke")
    )
    assert "nothing to release: the inputs of 2024-01" in story.step("release", "first")["note"]
    story.run("second", *JANUARY)
    assert states(story) == {("2024-01", "closed", "3")}


def test_scenes_that_left_the_archive_and_have_no_prediction_by_a_new_model_are_named(
    story: Story, world: Path
) -> None:
    names = upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    storage.delete(storage.join(story.pipeline.scenes.uri, f"{names[0]}.tif"))
    other = story.write(model={**story.pipeline.model.model_dump(), "chip_size": 128})
    run = other.run("other model", *JANUARY)
    assert (
        "2024-01 loses 1 scene(s) of its released figures, which have left the archive" in run.notes["judge"]
    )
    assert names[0] in run.notes["judge"]
    assert "(scenes, options of the prediction)" in run.notes["release"]
    assert states(story) == {("2024-01", "closed", "3")}


def strip_provenance(table: bytes) -> list[list[str]]:
    """The table without the release that each row belongs to."""
    return [line.split(",")[:-3] for line in table.decode().splitlines()]
