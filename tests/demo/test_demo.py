"""What the demo left behind, on one machine or in docker compose."""

import csv
import hashlib
import json
import os
from collections import defaultdict
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from pyproj import Geod, Proj

from orthostat.aggregation.borders import cut_edges
from orthostat.planning.manifest import Recipe
from orthostat.prediction.images import predict_images

ROOT = Path(__file__).parents[2]
FILES = {"statistics.csv", "statistics.parquet", "accuracy.csv", "lineage.csv", "map.png", "composite.png"}


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The table of all periods in a folder of results."""
    rows = []
    for path in sorted(folder.glob("*/statistics.csv")):
        with path.open(newline="") as lines:
            rows += list(csv.DictReader(lines))
    return rows


def test_landsat_table_shows_what_is_published_and_what_is_withheld(results: Path) -> None:
    """Hexagons that the scenes show whole, in part and hardly, beside provinces that they do not."""
    rows = read_rows(results / "landsat")
    zones = gpd.read_file(ROOT / "demo/landsat/zones.gpkg")
    classes = {"water", "crop", "tree", "developed"}
    assert {(row["zone_id"], row["class_name"]) for row in rows} == {
        (zone, name) for zone in zones["zone_id"] for name in classes
    }
    assert len(rows) == 4 * len(zones)
    for row in rows:
        assert (row["period"], row["method"], row["period_state"]) == ("2020-05", "MAP_COUNT", "closed")
        assert row["std_err_m2"] == row["ci_lower_m2"] == row["ci_upper_m2"] == row["sample_id"] == ""
        assert row["scene_count"] == "2"
        is_seen = float(row["coverage"]) >= 0.8
        assert (row["obs_status"], bool(row["area_m2"])) == (("G", True) if is_seen else ("O", False))
        assert row["mapped_area_m2"] == row["area_m2"]
    published = {row["zone_id"] for row in rows if row["area_m2"]}
    partly = {row["zone_id"] for row in rows if row["area_m2"] and "below the normal" in row["obs_note"]}
    assert len(published) >= 12
    assert len(partly) >= 3
    assert published.isdisjoint(zones["zone_id"][zones["part_of"].isna()])


def test_overlapping_scenes_are_counted_once(results: Path) -> None:
    """Valid ground of both scenes together, counted here on the common grid, equals the zones' valid area."""
    paths = sorted((ROOT / "demo/landsat/scenes").glob("*.tif"))
    ground: set[tuple[int, int]] = set()
    pixels = 0
    for path in paths:
        with rasterio.open(path) as source:
            valid = (source.read() != 0).any(axis=0)
            column, row = round((source.transform.c - 15) / 30), round((15 - source.transform.f) / 30)
        rows, columns = np.nonzero(valid)
        pixels += len(rows)
        ground.update(zip((rows + row).tolist(), (columns + column).tolist(), strict=True))
    assert len(ground) < pixels, "the demo's scenes do not overlap"
    provinces = set(gpd.read_file(ROOT / "demo/landsat/provinces.gpkg")["zone_id"])
    observed = {
        row["zone_id"]: float(row["valid_area_m2"])
        for row in read_rows(results / "landsat")
        if row["zone_id"] in provinces
    }
    assert len(observed) == 4
    utm = Proj("EPSG:32621")
    y, x = np.mean([(15 - 30 * row, 15 + 30 * column) for row, column in ground], axis=0)
    ground_m2 = len(ground) * 900 / utm.get_factors(*utm(x, y, inverse=True)).areal_scale
    inside = sum(observed.values())
    assert inside <= ground_m2 * (1 + 1e-4)
    assert inside > 0.9 * ground_m2
    zones = gpd.read_file(ROOT / "demo/landsat/zones.gpkg")
    drawn = [cut_edges(zone, 0.001) for zone in zones.geometry]  # straight in degrees, not geodesics
    true = [abs(Geod(ellps="WGS84").geometry_area_perimeter(zone)[0]) for zone in drawn]
    assert dict(zip(zones["zone_id"], true, strict=True)) == pytest.approx(
        {row["zone_id"]: float(row["zone_area_m2"]) for row in read_rows(results / "landsat")}, rel=1e-6
    )


@pytest.mark.parametrize(("name", "periods"), [("landsat", 1), ("synthetic", 3)])
def test_classes_make_up_the_valid_area(results: Path, name: str, periods: int) -> None:
    sums: dict[tuple[str, str], float] = defaultdict(float)
    valid = {}
    for row in read_rows(results / name):
        if row["method"] == "MAP_COUNT" and row["mapped_area_m2"]:
            sums[row["zone_id"], row["period"]] += float(row["mapped_area_m2"])
            valid[row["zone_id"], row["period"]] = float(row["valid_area_m2"])
    assert len({period for _, period in valid}) == periods
    assert sums == pytest.approx(valid, rel=1e-9)


def test_synthetic_series_has_estimates_that_hold_the_truth(results: Path) -> None:
    rows = [row for row in read_rows(results / "synthetic") if row["method"] == "STRATIFIED"]
    assert len(rows) == 3 * 6 * 4
    assert all(row["is_simulated"] == "true" for row in rows)
    with (results.parent / "synthetic-world/truth.csv").open(newline="") as lines:
        truth = {
            (r["period"], r["zone_id"], r["class_name"]): float(r["area_m2"]) for r in csv.DictReader(lines)
        }
    published = [row for row in rows if row["area_m2"]]
    held = [
        float(row["ci_lower_m2"])
        <= truth[row["period"], row["zone_id"], row["class_name"]]
        <= float(row["ci_upper_m2"])
        for row in published
    ]
    assert len(published) > 60
    assert sum(held) / len(held) > 0.85


@pytest.mark.parametrize("name", ["landsat", "synthetic", "trees"])
def test_the_catalog_names_all_files_as_they_are(results: Path, name: str) -> None:
    catalog = json.loads((results / name / "catalog.json").read_text())
    assert set(catalog["periods"]) == {row["period"] for row in read_rows(results / name)}
    for period, entry in catalog["periods"].items():
        assert entry["release_id"] in {row["release_id"] for row in read_rows(results / name)}
        assert set(entry["files"]) >= FILES
        for file, facts in entry["files"].items():
            data = (results / name / period / file).read_bytes()
            assert hashlib.sha256(data).hexdigest() == facts["sha256"]


def test_trees_are_counted_once_and_next_to_what_people_boxed(results: Path, tmp_path: Path) -> None:
    """Scenes overlap by 30 m: counted scene by scene, the trees would be more."""
    counts = {row["zone_id"]: int(row["object_count"]) for row in read_rows(results / "trees")}
    with (ROOT / "demo/trees/truth.csv").open(newline="") as lines:
        boxed = {row["zone_id"]: int(row["count"]) for row in csv.DictReader(lines)}
    assert counts.keys() == boxed.keys()
    assert 0.7 < sum(counts.values()) / sum(boxed.values()) < 1.3
    for row in read_rows(results / "trees"):
        assert (row["indicator"], row["period"], row["method"]) == ("COUNT", "2019", "MAP_COUNT")
        assert (row["obs_status"], row["area_m2"], row["std_err_m2"]) == ("G", "", "")
        assert float(row["coverage"]) > 0.9
    scenes = [str(path) for path in sorted((ROOT / "demo/trees/scenes").glob("*.tif"))]
    recipe = Recipe(bundle=str(ROOT / "demo/trees/bundle/trees.zip"), engine="onnx")
    items = predict_images(recipe, scenes, str(tmp_path))
    each = sum(item["properties"]["orthostat:counts"]["0"] for item in items)
    assert sum(counts.values()) < 0.95 * each


@pytest.mark.skipif("OTHER_ENGINE" not in os.environ, reason="OTHER_ENGINE names no tables of another engine")
@pytest.mark.parametrize("name", ["landsat", "synthetic", "trees"])
def test_another_engine_gives_the_same_table(results: Path, name: str) -> None:
    """Labels may differ where two classes tie: a pixel or an object of thousands."""
    rows, others = read_rows(results / name), read_rows(Path(os.environ["OTHER_ENGINE"], name))
    assert len(rows) == len(others) > 0
    for row, other in zip(rows, others, strict=True):
        for column, value in row.items():
            if column in {"inputs_sha256", "release_id", "obs_note"}:
                continue
            if column == "mapped_count" or column == "object_count":
                assert abs(int(value or 0) - int(other[column] or 0)) <= 1
            elif column.endswith(("_m2", "_pct")) and value:
                assert float(value) == pytest.approx(float(other[column]), rel=1e-4)
            else:
                assert value == other[column], column
