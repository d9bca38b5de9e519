"""The whole story of a detector, its predictions written by hand: objects become counts in the table.

Two provinces of 160 m by 160 m lie side by side in one country. Places are metres east and south of its
corner.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from orthostat import storage
from orthostat.errors import ConfigurationError, IdentityError
from orthostat.pipelines.window import period_window
from orthostat.planning.plan import pipeline_ledger
from orthostat.prediction.item import File
from orthostat.prediction.stac import to_stac
from orthostat.scenes.archive import list_scenes
from tests.builders import make_pipeline
from tests.builders_objects import Box, X, Y, write_detections
from tests.integration.story import Run, Story

JANUARY = ("2024-01-01", "2024-02-01")
ALL = np.zeros((16, 32))
EAST = np.where(np.arange(32) < 16, 255, np.zeros((16, 1)))
"""Observed in the eastern province."""
OLD: Sequence[Box] = [(35, 35), (100, 20), (159, 100), (200, 100), (300, 50, 6, 6, 1), (320.5, 80)]
"""The last one's centre lies beyond the image's edge."""
NEW: Sequence[Box] = [(160, 100, 6, 6, 0, 0.95), (220, 100)]
SAMPLE = {
    "uri": "s3://none/sample.csv",
    "strata_uri": "s3://none/strata.csv",
    "crs": "EPSG:32633",
    "sample_id": "made",
    "frame": "all pixels",
}


@pytest.fixture
def story(s3_bucket: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A detector's pipeline with its zones, and no scene yet."""
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    write_zones(tmp_path / "zones.gpkg", f"{s3_bucket}/zones.gpkg", 160)
    zones = {
        "uri": f"{s3_bucket}/zones.gpkg",
        "id_column": "zone_id",
        "parent_column": "parent_id",
        "version": "1",
    }
    grid = {"crs": "EPSG:32633", "resolution_m": 10, "origin": (X, Y), "tile_size": 16}
    return Story(make_pipeline(f"{s3_bucket}/made", zones=zones, grid=grid), tmp_path).write()


def write_zones(path: Path, uri: str, seam: float, gap: float = 0.0) -> None:
    """The provinces meet `seam` metres east of the corner, or leave a gap there."""
    polygons = [
        box(X, Y - 160, X + 320, Y),
        box(X + seam + gap, Y - 160, X + 320, Y),
        box(X, Y - 160, X + seam, Y),
    ]
    ids, parents = ["country", "east", "west"], [None, "country", "country"]
    frame = gpd.GeoDataFrame({"zone_id": ids, "parent_id": parents}, geometry=polygons, crs="EPSG:32633")
    frame.to_file(path)
    storage.upload(path, uri)


def predict(story: Story, scene_id: str, boxes: Sequence[Box], observed: object = ALL, day: int = 5) -> None:
    """Let a scene arrive, and commit what a detector finds in it."""
    uri = storage.join(story.pipeline.scenes.uri, f"{scene_id}.tif")
    storage.write_bytes(uri, scene_id.encode())
    window = period_window("2024-01", "month")
    [scene] = [s for s in list_scenes(story.pipeline.scenes, window).scenes if s.scene_id == scene_id]
    made = write_detections(story.folder, scene_id, boxes, observed, day=day)
    key = pipeline_ledger(story.pipeline, window).key(scene)
    files = {}
    for name, file in made.files.items():
        storage.upload(Path(file.href), key.file(name))
        files[name] = File(key.file(name), file.sha256)
    made = replace(made, files=files, source_etag=scene.etag, source_uri=uri, acquired=scene.acquired)
    storage.write_json(key.item, to_stac(made))


def run(story: Story, run_id: str) -> Run:
    return story.finish(run_id, story.plan(run_id, *JANUARY))


def read_counts(story: Story) -> dict[tuple[str, str], str]:
    """Published figures by zone and class."""
    rows = csv.DictReader(io.StringIO(story.csv().decode()))
    return {(row["zone_id"], row["class_name"]): row["object_count"] for row in rows}


def test_objects_of_overlapping_scenes_become_counts(story: Story) -> None:
    predict(story, "A_20240105", OLD)
    first = run(story, "first")
    # East: the ship, the car at 200 m, and the one beyond the edge, which lies in the outermost pixel.
    assert read_counts(story) == {
        ("country", "car"): "5",
        ("country", "ship"): "1",
        ("east", "car"): "2",
        ("east", "ship"): "1",
        ("west", "car"): "3",
        ("west", "ship"): "0",
    }
    assert "6 objects, 0 of them in no zone" in first.notes["estimate"]
    again = run(story, "again")
    assert again.notes["release"] == "nothing to release: no period changed"

    # A later scene has the say in the east. The pair at the seam is one car, the surer one on the border.
    predict(story, "B_20240109", NEW, EAST, day=9)
    second = run(story, "second")
    assert "revised figures for 2024-01" in second.notes["release"]
    assert read_counts(story) == {
        ("country", "car"): "4",
        ("country", "ship"): "0",
        ("east", "car"): "2",
        ("east", "ship"): "0",
        ("west", "car"): "2",
        ("west", "ship"): "0",
    }
    names = story.files("2024-01").keys()
    assert names >= {"map.png", "composite.png", "statistics.parquet"}


def test_more_objects_than_can_be_told_apart_are_not_drawn(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orthostat.steps.estimate._MOST_DOTS", 5)
    predict(story, "A_20240105", OLD)
    run(story, "first")
    names = story.files("2024-01").keys()
    assert "map.png" in names
    assert "composite.png" not in names


def test_too_little_observed_leaves_the_count_empty(story: Story) -> None:
    predict(story, "A_20240105", [(35, 35), (200, 35)], EAST)
    run(story, "first")
    counts = read_counts(story)
    assert (counts["west", "car"], counts["country", "car"], counts["east", "car"]) == ("", "", "1")


def test_other_detections_in_the_same_place_are_other_inputs(story: Story) -> None:
    predict(story, "A_20240105", OLD)
    run(story, "first")
    predict(story, "A_20240105", OLD[:1])
    assert "revised figures for 2024-01" in run(story, "second").notes["release"]
    assert read_counts(story)["country", "car"] == "1"


def test_children_that_leave_an_object_out_stop_the_run(story: Story) -> None:
    write_zones(story.folder / "gap.gpkg", story.pipeline.zones.uri, 160, gap=1e-5)
    predict(story, "A_20240105", [(160.000005, 80)])
    with pytest.raises(
        IdentityError, match=r"zone 'country': 1 objects of class 0, its 2 child zones have 0"
    ):
        run(story, "first")


def test_a_reference_sample_of_areas_is_refused(story: Story) -> None:
    story = story.write(sample=SAMPLE)
    predict(story, "A_20240105", OLD)
    with pytest.raises(ConfigurationError, match=r"remove 'sample' from the pipeline file"):
        story.plan("first", *JANUARY)
    with pytest.raises(ConfigurationError, match=r"remove 'sample' from the pipeline file"):
        story.step("judge", "first")
