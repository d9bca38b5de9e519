"""The whole story on synthetic scenes: what is new, what is wrong, what is killed, and what comes of it."""

import csv
import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from orthostat import storage
from orthostat.errors import (
    BundleError,
    ConfigurationError,
    SceneError,
    ToleranceError,
    ZonesError,
)
from tests.integration.story import Story, read_table, run_command, scenes_of, upload_scenes

ROOT = Path(__file__).parents[2]
MONTHS = ["2024-01", "2024-02", "2024-03"]
JANUARY = ("2024-01-01", "2024-02-01")
QUARTER = ("2024-01-01", "2024-04-01")


def test_three_months_with_estimates_next_to_the_truth(story: Story, world: Path) -> None:
    upload_scenes(story, world)
    run = story.run("all", *QUARTER)
    assert "12 scenes listed, 12 to predict" in run.notes["plan"]
    rows = read_table(story)
    zones = set(gpd.read_file(world / "zones.gpkg")["zone_id"])
    assert len(zones) == 6
    classes = {row["class_name"] for row in rows}
    keys = {(row["zone_id"], row["class_name"], row["period"], row["method"]) for row in rows}
    assert keys == {
        (zone, name, month, method)
        for zone in zones
        for name in classes
        for month in MONTHS
        for method in ("MAP_COUNT", "STRATIFIED")
    }
    assert_identities(rows)
    assert_estimates_hold_the_truth(rows, world)


def assert_identities(rows: list[dict[str, str]]) -> None:
    """Mapped classes make up the valid area, estimates the zone's area."""
    mapped: dict[Any, float] = defaultdict(float)
    for row in rows:
        if row["method"] == "MAP_COUNT":
            mapped[row["zone_id"], row["period"]] += float(row["mapped_area_m2"])
    for row in rows:
        valid = float(row["valid_area_m2"])
        assert mapped[row["zone_id"], row["period"]] == pytest.approx(valid, rel=1e-9)
        assert float(row["coverage"]) == pytest.approx(valid / float(row["zone_area_m2"]))


def assert_estimates_hold_the_truth(rows: list[dict[str, str]], world: Path) -> None:
    """About 95 % of the intervals hold the truth, and estimates are nearer to it than counts."""
    with (world / "truth.csv").open() as file:
        truth = {
            (r["period"], r["zone_id"], r["class_name"]): float(r["area_m2"]) for r in csv.DictReader(file)
        }
    held, of_count, of_estimate = [], [], []
    for row in rows:
        if row["method"] != "STRATIFIED" or not row["area_m2"]:
            continue
        assert row["is_simulated"] == "true"
        true = truth[row["period"], row["zone_id"], row["class_name"]]
        held.append(float(row["ci_lower_m2"]) <= true <= float(row["ci_upper_m2"]))
        of_count.append(abs(float(row["mapped_area_m2"]) - true))
        of_estimate.append(abs(float(row["area_m2"]) - true))
    assert len(held) > 50
    assert np.mean(held) > 0.85
    assert np.mean(of_estimate) < np.mean(of_count)


def test_run_again_changes_nothing(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    before = story.csv()
    again = story.run("second", *JANUARY)
    assert "4 scenes listed, 0 to predict" in again.notes["plan"]
    assert again.work == []
    assert again.notes["release"] == "nothing to release: no period changed"
    assert story.csv() == before


def test_one_late_scene_changes_its_period_alone_and_supersedes(story: Story, world: Path) -> None:
    late = scenes_of(world, "2024-02")[0]
    upload_scenes(story, world, "2024-01")
    upload_scenes(story, world, "2024-02", without=late)
    story.run("first", "2024-01-01", "2024-03-01")
    before = {(r["zone_id"], r["class_name"], r["period"], r["method"]): r for r in read_table(story)}
    upload_scenes(story, world, "2024-02")
    run = story.run("late", "2024-01-01", "2024-03-01")
    assert "7" not in run.notes["plan"].split(", ")[1]
    assert "1 to predict" in run.notes["plan"]
    assert "revised figures for 2024-02" in run.notes["release"]
    assert "supersedes v1-" in run.notes["release"]
    after = {(r["zone_id"], r["class_name"], r["period"], r["method"]): r for r in read_table(story)}
    assert before.keys() == after.keys()
    changed = {key for key in after if after[key] != before[key]}
    assert {key[2] for key in changed} == {"2024-02"}


def test_of_two_runs_at_once_the_one_that_knows_more_has_the_last_word(story: Story, world: Path) -> None:
    late = scenes_of(world, "2024-01")[0]
    upload_scenes(story, world, "2024-01", without=late)
    slow = story.plan("slow", *JANUARY)
    for uri in slow["work"]:
        run_command("step", "predict", "--batch", uri)
    story.step("verify", "slow")
    for uri in story.step("judge", "slow")["work"]:
        run_command("step", "compose", "--work", uri)
        run_command("step", "tabulate", "--work", uri)
    story.step("estimate", "slow")
    upload_scenes(story, world, "2024-01")
    story.run("quick", *JANUARY)
    complete = story.csv()
    note = story.step("release", "slow")["note"]
    assert note.startswith(
        "nothing to release: the inputs of 2024-01, or the pipeline file, changed meanwhile"
    )
    assert story.csv() == complete


def test_an_old_run_whose_release_is_cleared_brings_no_old_figures_back(story: Story, world: Path) -> None:
    """The pipeline file has changed since: what may be released is what it says now."""
    upload_scenes(story, world, "2024-01")
    strict = story.write(publication={**story.pipeline.publication.model_dump(), "min_sample_size": 100_000})
    strict.run("old", *JANUARY)
    assert {row["area_m2"] for row in read_table(story) if row["method"] == "STRATIFIED"} == {""}
    story.write()
    story.run("new", *JANUARY)
    current = story.csv()
    assert {row["area_m2"] for row in read_table(story) if row["method"] == "STRATIFIED"} != {""}
    note = story.step("release", "old")["note"]
    assert "or the pipeline file, changed meanwhile" in note
    assert story.csv() == current
    (story.folder / "synthetic.yaml").unlink()
    with pytest.raises(ConfigurationError, match="there is no pipeline 'synthetic'"):
        story.step("release", "old")


def test_a_replaced_image_takes_the_old_ones_place(story: Story, world: Path) -> None:
    names = upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    other = world / "scenes" / f"{names[0]}.tif"
    with rasterio.open(other) as source:
        profile, pixels = source.profile, source.read()
    pixels[:, :50] = 0
    path = story.folder / "replaced.tif"
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)
    storage.upload(path, storage.join(story.pipeline.scenes.uri, other.name))
    run = story.run("second", *JANUARY)
    assert "1 to predict" in run.notes["plan"]
    assert "the archive holds another image of this scene now" in run.notes["judge"]
    assert "revised figures for 2024-01" in run.notes["release"]


def test_another_model_or_option_releases_no_half_of_a_period(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    before = story.csv()
    story = story.write(model={**story.pipeline.model.model_dump(), "chip_size": 128})
    half = story.run("half", "2024-01-16", "2024-02-16")
    assert (
        "2024-01 is open, and not released: 2 of its 4 listed scene(s) are neither predicted nor failed by "
        "the present model and options (SYN_A_20240105, SYN_B_20240112); run 2024-01-01 to 2024-01-31 by hand"
    ) in half.notes["judge"]
    assert half.notes["release"] == "nothing to release: no period changed"
    assert story.csv() == before
    whole = story.run("whole", *JANUARY)
    assert "4 scenes listed, 2 to predict" in whole.notes["plan"]
    assert "revised figures for 2024-01 (options of the prediction)" in whole.notes["release"]
    assert {row["scene_count"] for row in read_table(story)} == {"4"}


def test_predicting_again_with_the_same_code_changes_nothing(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    again = story.run("second", *JANUARY, "--re-predict")
    assert "4 to predict" in again.notes["plan"]
    assert again.notes["release"] == "nothing to release: no period changed"


def test_killed_in_the_middle_of_a_batch_and_tried_again_gives_the_same_bytes(
    story: Story, world: Path
) -> None:
    upload_scenes(story, world, "2024-01")
    slow = story.pipeline.model.model_dump() | {"chip_size": 64, "stride": 32}  # time to be killed in
    story = story.write(batch_mb=1000.0, model=slow)
    plan = story.plan("killed", *JANUARY)
    [batch] = plan["work"]
    process = subprocess.Popen([sys.executable, "-m", "orthostat", "step", "predict", "--batch", batch])
    while process.poll() is None and count_items(story) == 0:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < count_items(story) < 4
    run_command("step", "predict", "--batch", batch)
    story.finish("killed", plan)
    disturbed = story.csv()

    for entry in list(storage.list_objects(story.pipeline.output)):
        if (
            "/scenes/" not in entry.uri
            and "/bundle/" not in entry.uri
            and not entry.uri.endswith(("gpkg", "csv"))
        ):
            storage.delete(entry.uri)
    forget_releases()
    story.run("undisturbed", *JANUARY)
    assert story.csv() == disturbed


def count_items(story: Story) -> int:
    return sum(entry.uri.endswith("/item.json") for entry in storage.list_objects(story.pipeline.output))


def forget_releases(owner_url: str | None = None) -> None:
    """What no other user can do: start the statistics over."""
    import psycopg

    address = owner_url or os.environ["ORTHOSTAT_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(address) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def spoil(story: Story, world: Path) -> dict[str, str]:
    """Upload four images that cannot be scenes; returns what must be said of each."""
    good = (world / "scenes" / f"{scenes_of(world, '2024-01')[0]}.tif").read_bytes()
    with rasterio.open(io.BytesIO(good)) as source:
        profile, pixels = source.profile, source.read()
    made = {
        "SYN_A_20240131": (good[: len(good) // 2], "truncated|read"),
        "SYN_B_20240131": (b"this is a text file", "no image|not recognized|cannot be read"),
        "SYN_C_20240131": (write_tiff(pixels[:1], profile | {"count": 1}), "band"),
        "SYN_D_20240131": (
            write_tiff(pixels, {k: v for k, v in profile.items() if k != "crs"}),
            "coordinate",
        ),
    }
    for name, (content, _) in made.items():
        storage.write_bytes(storage.join(story.pipeline.scenes.uri, f"{name}.tif"), content)
    return {name: words for name, (_, words) in made.items()}


def write_tiff(pixels: Any, profile: dict[str, Any]) -> bytes:
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(pixels)
        return bytes(memory.read())


def test_images_that_cannot_be_scenes_harm_no_other(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("clean", *JANUARY)
    clean = story.csv()
    expected = spoil(story, world)
    plan = story.plan("spoilt", *JANUARY)
    for uri in plan["work"]:
        run_command("step", "predict", "--batch", uri)
    with pytest.raises(ToleranceError, match="4 of 4 scenes failed"):
        story.finish("spoilt", plan)
    failures = {
        entry.uri.split("/")[-3]: storage.read_json(entry.uri)
        for entry in storage.list_objects(story.pipeline.output)
        if entry.uri.endswith("/failure.json")
    }
    assert set(failures) == set(expected)
    for name, words in expected.items():
        assert failures[name]["kind"] == "image"
        assert re.search(words, failures[name]["reason"]), failures[name]["reason"]
    assert story.csv() == clean
    note = story.plan("once more", *JANUARY)["note"]
    assert "0 to predict" in note
    named = note.partition("failed before and not tried again: ")[2]
    assert all(f"{name} (image)" in named for name in expected)


def test_an_image_in_a_wrong_place_is_refused_by_the_judge(story: Story, world: Path) -> None:
    names = upload_scenes(story, world, "2024-01")
    with rasterio.open(world / "scenes" / f"{names[0]}.tif") as source:
        profile, pixels = source.profile, source.read()
    moved = write_tiff(pixels, profile | {"crs": "EPSG:32654"})
    storage.write_bytes(storage.join(story.pipeline.scenes.uri, "SYN_A_20240131.tif"), moved)
    run = story.run("moved", *JANUARY)
    assert "SYN_A_20240131: its footprint" in run.notes["judge"]
    assert "touches no zone; check the image's coordinate system" in run.notes["judge"]


def test_a_bundle_that_is_not_the_named_one_is_not_opened(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story = story.write(model={**story.pipeline.model.model_dump(), "sha256": "0" * 64})
    found = hashlib.sha256((ROOT / "demo/synthetic/bundle/synthetic.zip").read_bytes()).hexdigest()
    with pytest.raises(BundleError, match=f"(?s){found}.*0000"):
        story.plan("wrong", *JANUARY)
    story = story.write(model={**story.pipeline.model.model_dump(), "engine": "onnx"}, publication={})
    plan = story.plan("named engine", *JANUARY)  # which needs nothing of the bundle
    with pytest.raises(BundleError, match=f"(?s){found}.*0000"):
        run_command("step", "predict", "--batch", plan["work"][0])
    with pytest.raises(ToleranceError, match="4 of 4 scenes failed"):
        story.finish("named engine", plan)
    assert count_items(story) == 0


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda zones: zones.assign(zone_id="S-1"), "S-1"),
        (lambda zones: zones.assign(geometry=zones.geometry.map(bow_tie)), "(?i)invalid|unusable"),
    ],
    ids=["duplicate ids", "invalid geometry"],
)
def test_zones_that_cannot_be_used_stop_the_judge(
    story: Story, world: Path, spoilt: Any, message: str
) -> None:
    upload_scenes(story, world, "2024-01")
    path = story.folder / "spoilt.gpkg"
    spoilt(gpd.read_file(world / "zones.gpkg")).to_file(path)
    storage.upload(path, story.pipeline.zones.uri)
    plan = story.plan("zones", *JANUARY)
    with pytest.raises(ZonesError, match=message):
        story.finish("zones", plan)


def bow_tie(polygon: Any) -> Any:
    from shapely import Polygon

    west, south, east, north = polygon.bounds
    return Polygon([(west, south), (east, north), (east, south), (west, north)])


def test_an_empty_archive_is_said_plainly(story: Story) -> None:
    with pytest.raises(SceneError, match=r"there is no object under .*; check 'scenes.uri'"):
        story.plan("empty", *JANUARY)
