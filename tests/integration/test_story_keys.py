"""A change computes what it touches and nothing else: a late scene, a sample, a rule, a border, a version."""

import math
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import shapely

from orthostat import storage
from orthostat.aggregation import keys
from orthostat.aggregation.work import read_work
from orthostat.errors import ConfigurationError
from orthostat.steps import inputs
from tests.integration.story import Run, Story, read_table, scenes_of, upload_scenes

JANUARY = ("2024-01-01", "2024-02-01")


def write_small_tiles(story: Story) -> Story:
    """The story with tiles of 640 m, so that a scene touches some of many."""
    return story.write(grid=story.pipeline.grid.model_dump() | {"tile_size": 64})


def made(story: Story, part: str) -> set[str]:
    """Names of January's files of a kind."""
    folder = f"{story.pipeline.output}/periods/2024-01/{part}/"
    return {entry.uri.removeprefix(folder) for entry in storage.list_objects(folder)}


def tiles_of(run: Run) -> int:
    return sum(len(work.tiles) for uri in run.work for work in read_work(uri).works)


def place(name: str) -> tuple[int, int]:
    """Column and row in a tile's name."""
    column, row = name.rsplit("-", 1)[0].split("_")
    return int(column), int(row)


def box(tile: tuple[int, int]) -> shapely.Polygon:
    """The square of a tile of 640 m, counted from the origin."""
    column, row = tile
    return shapely.box(column * 640, -(row + 1) * 640, (column + 1) * 640, -row * 640)


def tiles_touched(world: Path, scene_name: str) -> set[tuple[int, int]]:
    """Tiles that a scene and a zone touch."""
    with rasterio.open(world / "scenes" / f"{scene_name}.tif") as scene:
        west, south, east, north = scene.bounds
    zones = gpd.read_file(world / "zones.gpkg").to_crs(32633).union_all()
    return {
        (column, row)
        for column in range(math.floor(west / 640), math.ceil(east / 640))
        for row in range(math.floor(-north / 640), math.ceil(-south / 640))
        if zones.intersects(box((column, row)) & shapely.box(west, south, east, north))
    }


def test_a_late_scene_computes_the_tiles_that_it_touches(story: Story, world: Path) -> None:
    story = write_small_tiles(story)
    late = scenes_of(world, "2024-01")[0]
    upload_scenes(story, world, "2024-01", without=late)
    story.run("first", *JANUARY)
    tiles, tabulations = made(story, "tiles"), made(story, "tabulations")
    upload_scenes(story, world, "2024-01")
    run = story.run("late", *JANUARY)
    touched = tiles_touched(world, late)
    for part, old in (("tiles", tiles), ("tabulations", tabulations)):
        assert old < made(story, part)
        assert {place(name) for name in made(story, part) - old} == touched
    assert tiles_of(run) == len(made(story, "tiles") - tiles) < len(tiles)
    assert "revised figures for 2024-01 (scenes)" in run.notes["release"]


def test_a_corrected_sample_computes_no_tile_and_revises_its_period_alone(story: Story, world: Path) -> None:
    upload_scenes(story, world)
    story.run("first", "2024-01-01", "2024-04-01")
    tiles, tabulations = made(story, "tiles"), made(story, "tabulations")
    assert story.pipeline.sample is not None
    lines = storage.read_bytes(story.pipeline.sample.uri).decode().splitlines()
    number = next(n for n, line in enumerate(lines) if "2024-01" in line and line.endswith("forest"))
    lines[number] = lines[number].removesuffix("forest") + "crop"
    storage.write_bytes(story.pipeline.sample.uri, "\n".join(lines).encode())
    run = story.run("corrected", "2024-01-01", "2024-04-01")
    assert run.work == []
    assert (made(story, "tiles"), made(story, "tabulations")) == (tiles, tabulations)
    assert "revised figures for 2024-01 (reference sample)" in run.notes["release"]
    assert "2024-02" not in run.notes["release"]


def test_a_rule_of_publication_makes_new_rows_and_no_revision_of_equal_ones(
    story: Story, world: Path
) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    before, estimates = story.csv(), made(story, "estimates")
    rules = story.pipeline.publication.model_dump()
    looser = story.write(publication=rules | {"min_coverage": 0.5})
    run = looser.run("looser", *JANUARY)
    assert run.work == []
    assert run.notes["release"] == "nothing to release: every figure equals the current one"
    assert story.csv() == before
    again = looser.run("again", *JANUARY)
    assert again.notes["release"] == "nothing to release: no period changed"
    stricter = story.write(publication=rules | {"max_cv_pct": 0.1, "suppress_cv_pct": 0.2})
    run = stricter.run("stricter", *JANUARY)
    assert run.work == []
    assert "revised figures for 2024-01 (rules of publication)" in run.notes["release"]
    assert {row["obs_status"] for row in read_table(story) if row["method"] == "STRATIFIED"} == {"Q"}
    assert made(story, "estimates") == estimates


def move_border(story: Story, world: Path, uri: str) -> str:
    """Cut a corner off one zone; returns its id."""
    zones = gpd.read_file(world / "zones.gpkg")
    west, _, _, north = zones.geometry[0].bounds
    zones.loc[0, "geometry"] = zones.geometry[0] - shapely.Point(west, north).buffer(0.001)
    path = story.folder / "moved.gpkg"
    zones.to_file(path)
    storage.upload(path, uri)
    return str(zones.zone_id[0])


def test_a_changed_zone_computes_the_tiles_that_it_touches_and_composes_none(
    story: Story, world: Path
) -> None:
    story = write_small_tiles(story)
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    tiles, tabulations = made(story, "tiles"), made(story, "tabulations")
    zones = story.pipeline.zones.model_dump()
    uri = zones["uri"].replace("zones.gpkg", "moved.gpkg")
    zone_id = move_border(story, world, uri)
    changed = story.write(zones=zones | {"uri": uri, "version": "synthetic-2"})
    run = changed.run("moved", *JANUARY)
    new = made(story, "tabulations") - tabulations
    assert made(story, "tiles") == tiles
    assert tiles_of(run) == len(new)
    old_zone = gpd.read_file(world / "zones.gpkg").set_index("zone_id").to_crs(32633).geometry[zone_id]
    touching = sum(old_zone.intersects(box(place(name))) for name in tiles)
    assert 0 < len(new) == touching < len(tiles)
    assert "revised figures for 2024-01 (zones, version of the zones)" in run.notes["release"]


def test_changed_zones_under_an_old_version_name_are_refused(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    move_border(story, world, story.pipeline.zones.uri)
    with pytest.raises(ConfigurationError, match="both are called version"):
        story.plan("moved", *JANUARY)
    with pytest.raises(
        ConfigurationError, match=r"though both are called version 'synthetic-1'.*another zones"
    ):
        story.step("judge", "moved")


def test_a_new_version_of_orthostat_computes_nothing_and_of_a_step_what_it_makes(
    story: Story, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_scenes(story, world, "2024-01")
    story.run("first", *JANUARY)
    for module in ("orthostat", "orthostat.statistics.rows", "orthostat.statistics.release"):
        monkeypatch.setattr(f"{module}.__version__", "99.0.0")
    assert story.run("newer", *JANUARY).notes["release"] == "nothing to release: no period changed"
    tiles = made(story, "tiles")
    monkeypatch.setattr(keys, "TABULATE_VERSION", 99)
    monkeypatch.setitem(inputs._STEPS, "tabulate", 99)
    run = story.run("changed", *JANUARY)
    assert tiles_of(run) == len(tiles)
    assert made(story, "tiles") == tiles
    assert run.notes["release"] == "nothing to release: every figure equals the current one"


def test_a_run_over_several_periods_lists_the_archive_once_for_each_step_that_asks(
    story: Story, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_scenes(story, world)
    listed: list[str] = []
    list_objects = storage.list_objects
    monkeypatch.setattr(
        storage, "list_objects", lambda uri, **given: listed.append(uri) or list_objects(uri, **given)
    )
    story.run("first", "2024-01-01", "2024-04-01")
    assert listed.count(story.pipeline.scenes.uri) == 2  # plan and judge
    story.plan("again", "2024-01-01", "2024-04-01")
    assert listed.count(story.pipeline.scenes.uri) == 4  # the plan has judged, too
