"""The demo's trees: the files fit each other, the pattern and the bundle."""

import csv
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import rasterio

ROOT = Path(__file__).parents[2]
TREES = ROOT / "demo/trees"
BUNDLE = TREES / "bundle/trees.zip"


def _read(name: str) -> list[dict[str, str]]:
    with (TREES / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_scenes_match_the_pattern_lie_on_one_grid_and_overlap_by_thirty_metres():
    bounds = {}
    for path in sorted((TREES / "scenes").iterdir()):
        found = re.fullmatch(r"(?P<scene_id>YELL_[A-D]_(?P<acquired>\d{8}))\.tif", path.name)
        assert (found["scene_id"], found["acquired"]) == (path.stem, "20190701")
        with rasterio.open(path) as dataset:
            assert dataset.crs == rasterio.CRS.from_epsg(32612)
            assert (dataset.transform.a, dataset.transform.e) == (0.1, -0.1)
            assert dataset.transform.c * 10 == round(dataset.transform.c * 10)
            assert dataset.transform.f * 10 == round(dataset.transform.f * 10)
            assert (dataset.count, dataset.dtypes[0], dataset.nodata) == (3, "uint8", None)
            bounds[found["scene_id"][5]] = dataset.bounds
    assert round(bounds["A"].right - bounds["B"].left, 6) == 30
    assert round(bounds["C"].top - bounds["A"].bottom, 6) == 30


def test_the_true_counts_are_those_of_the_boxed_crowns():
    crowns = _read("crowns.csv")
    assert len(crowns) == 574
    assert Counter(crown["zone_id"] for crown in crowns) == {
        row["zone_id"]: int(row["count"]) for row in _read("truth.csv")
    }


def test_the_first_crown_lies_where_its_box_was_drawn():
    # columns 747 to 786 and rows 1 to 36 of an image whose corner is at 528000, 4979000
    assert _read("crowns.csv")[0] == {
        "zone_id": "Y1",
        "west": "528074.7",
        "south": "4978996.4",
        "east": "528078.6",
        "north": "4978999.9",
    }


def test_the_bundle_is_the_readmes_and_holds_the_shipped_network_and_no_path_of_a_machine():
    assert hashlib.sha256(BUNDLE.read_bytes()).hexdigest() in (ROOT / "demo/README.md").read_text()
    with zipfile.ZipFile(BUNDLE) as outer:
        pipeline_text = outer.read("pipeline-config.json").decode()
        with zipfile.ZipFile(io.BytesIO(outer.read("model-bundle.zip"))) as inner:
            learner_text = inner.read("learner-config.json").decode()
            assert inner.read("modules/network/hubconf.py") == (TREES / "model/hubconf.py").read_bytes()
            assert {"model.onnx", "model.pth"} < set(inner.namelist())
    paths = re.findall(r'"(/[^"]*)"', pipeline_text + learner_text)
    assert paths
    assert all(path.startswith("/opt/data/") for path in paths)
    assert json.loads(learner_text)["data"]["num_workers"] == 0
    assert json.loads(pipeline_text)["dataset"]["class_config"]["names"] == ["tree"]
    assert len(json.loads(pipeline_text)["dataset"]["validation_scenes"]) == 1
