"""The shipped bundles are the ones that the pipelines name, and fit the files beside them."""

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
import rasterio

from orthostat.pipelines.load import load_pipeline

ROOT = Path(__file__).parents[2]
BUNDLES = {
    "landsat": ROOT / "demo/landsat/bundle/landcover.zip",
    "synthetic": ROOT / "demo/synthetic/bundle/synthetic.zip",
}


@pytest.mark.parametrize("name", BUNDLES)
def test_the_pipeline_and_the_readme_name_the_digest_of_the_bundle(name):
    digest = hashlib.sha256(BUNDLES[name].read_bytes()).hexdigest()
    assert load_pipeline(ROOT / f"config/pipelines/{name}.yaml").model.sha256 == digest
    assert digest in (ROOT / "demo/README.md").read_text()


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_holds_the_shipped_network_and_no_path_of_the_machine_that_trained_it(name):
    with zipfile.ZipFile(BUNDLES[name]) as outer:
        pipeline_text = outer.read("pipeline-config.json").decode()
        with zipfile.ZipFile(io.BytesIO(outer.read("model-bundle.zip"))) as inner:
            learner_text = inner.read("learner-config.json").decode()
            network = inner.read("modules/network/hubconf.py")
    assert network == (ROOT / "demo/model/hubconf.py").read_bytes()
    paths = re.findall(r'"(/[^"]*)"', pipeline_text + learner_text)
    assert paths
    assert all(path.startswith("/opt/data/") for path in paths)
    assert json.loads(learner_text)["data"]["num_workers"] == 0
    assert len(json.loads(pipeline_text)["dataset"]["validation_scenes"]) == 1


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_holds_its_weights_for_torch_and_in_one_file_for_onnx(name):
    with (
        zipfile.ZipFile(BUNDLES[name]) as outer,
        zipfile.ZipFile(io.BytesIO(outer.read("model-bundle.zip"))) as inner,
    ):
        models = sorted(entry for entry in inner.namelist() if entry.startswith("model."))
    assert models == ["model.onnx", "model.pth"]


@pytest.mark.parametrize("name", BUNDLES)
def test_the_classes_in_the_table_are_the_models_without_null(name):
    with zipfile.ZipFile(BUNDLES[name]) as bundle:
        classes = json.loads(bundle.read("pipeline-config.json"))["dataset"]["class_config"]["names"]
    published = load_pipeline(ROOT / f"config/pipelines/{name}.yaml").publication.classes
    assert [*published, "null"] == classes


def test_the_landsat_crops_lie_on_the_grid_match_the_pattern_and_overlap():
    pipeline = load_pipeline(ROOT / "config/pipelines/landsat.yaml")
    bounds = []
    for path in sorted((ROOT / "demo/landsat/scenes").iterdir()):
        found = re.search(pipeline.scenes.pattern, path.name)
        assert (found["scene_id"], found["acquired"]) == (path.stem, "20200518")
        with rasterio.open(path) as dataset:
            assert dataset.crs == rasterio.CRS.from_user_input(pipeline.grid.crs)
            assert dataset.res == (pipeline.grid.resolution_m, pipeline.grid.resolution_m)
            assert (dataset.transform.c - pipeline.grid.origin[0]) % pipeline.grid.resolution_m == 0
            assert (dataset.transform.f - pipeline.grid.origin[1]) % pipeline.grid.resolution_m == 0
            assert dataset.nodata is None
            bounds.append(dataset.bounds)
    first, second = bounds
    assert first.right > second.left
    assert first.bottom < second.top
