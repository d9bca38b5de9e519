"""Which engine runs a bundle: decided by what the bundle holds, and part of a prediction's key."""

import hashlib
import json
import zipfile
from importlib.util import find_spec

import pytest

from orthostat import storage
from orthostat.errors import BundleError
from orthostat.pipelines.options import PredictOptions
from orthostat.planning.recipe import options_sha256, pipeline_recipe
from orthostat.prediction.bundle import unpack_bundle
from orthostat.prediction.description import describe_bundle
from orthostat.prediction.engines import choice
from orthostat.prediction.engines.choice import choose_engine, require_installed
from orthostat.prediction.options import resolve_options
from tests.builders import make_pipeline
from tests.onnx_bundle import VERSIONS, write_onnx_bundle

BLUR = {"__version__": "2.0.8", "transform": {"__class_fullname__": "Blur", "p": 1.0}}


def choose(tmp_path, wanted="auto", task="semantic_segmentation", **changes):
    path = write_onnx_bundle(tmp_path / "bundle.zip", task, **changes)
    model = describe_bundle(unpack_bundle(path, "m.zip", "ab", tmp_path))
    return choose_engine(wanted, model, resolve_options(model, PredictOptions(), "m.zip"), "m.zip")


@pytest.mark.parametrize("task", ["semantic_segmentation", "chip_classification", "object_detection"])
def test_auto_takes_onnx_when_the_bundle_allows_it(tmp_path, task):
    assert choose(tmp_path, task=task) == "onnx"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": b""}, "the bundle holds no model.onnx"),
        (
            {"source": {"transformers": [{"type_hint": "mine"}]}},
            r"its chips with \['mine'\], known",
        ),
        ({"learner": {"data": {"img_sz": 16, "base_transform": BLUR}}}, "albumentations' Blur"),
        ({"pipeline": {"plugin_versions": {**VERSIONS, "rastervision.core": 9}}}, "of version .*core': 9"),
    ],
)
def test_what_onnx_does_not_know_it_refuses_by_name_and_auto_takes_the_other(tmp_path, changes, reason):
    assert choose(tmp_path, **changes) == "raster-vision"
    with pytest.raises(BundleError, match=rf"the engine onnx cannot run m\.zip: .*{reason}"):
        choose(tmp_path, "onnx", **changes)


def test_a_missing_engine_says_what_to_install_and_how_to_add_the_onnx_model(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None if "torch" in name else find_spec(name))
    cure = r"install it with pip install 'orthostat\[predict,raster-vision\]' .*`orthostat bundle add-onnx`"
    with pytest.raises(BundleError, match=rf"needs the engine raster-vision, which is not installed.*{cure}"):
        require_installed("raster-vision", "m.zip", "the bundle holds no model.onnx")
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(BundleError, match=r"needs the engine onnx.*orthostat\[predict\]"):
        require_installed("onnx", "m.zip", None)


def test_the_engine_of_a_pipeline_is_decided_once_and_part_of_its_keys(tmp_path, monkeypatch):
    path = write_onnx_bundle(tmp_path / "bundle.zip")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = {"bundle": str(path), "sha256": digest}
    pipeline = make_pipeline("s3://x/y", model=model).model_copy(update={"output": str(tmp_path / "out")})
    recipe = pipeline_recipe(pipeline)
    assert recipe.engine == "onnx"
    path.unlink()  # kept below the output, what the bundle says need not be fetched again
    assert pipeline_recipe(pipeline) == recipe
    other = make_pipeline("s3://x/y", model=model | {"engine": "raster-vision"})
    assert options_sha256(pipeline_recipe(other)) != options_sha256(recipe)


def test_a_description_of_another_version_is_made_anew(tmp_path):
    path = write_onnx_bundle(tmp_path / "bundle.zip")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    pipeline = make_pipeline("s3://x/y", model={"bundle": str(path), "sha256": digest})
    pipeline = pipeline.model_copy(update={"output": str(tmp_path / "out")})
    kept = f"{tmp_path}/out/bundles/{digest[:12]}.json"
    storage.write_json(kept, {"colour": "red"})
    assert pipeline_recipe(pipeline).engine == "onnx"
    assert json.loads(storage.read_bytes(kept))["task"] == "semantic_segmentation"


def resolve(tmp_path, task="semantic_segmentation", own=None, **wanted):
    path = write_onnx_bundle(tmp_path / "bundle.zip", task, **(own or {}))
    model = describe_bundle(unpack_bundle(path, "m.zip", "ab", tmp_path))
    return resolve_options(model, PredictOptions(**wanted), "m.zip")


def test_options_are_the_bundles_until_others_are_wanted(tmp_path):
    own = {"chip_size": 64, "stride": 32, "crop_sz": "auto"}
    options = resolve(tmp_path, own=own)
    assert (options.chip_size, options.stride, options.crop_size, options.batch_size) == (64, 32, 16, 2)
    other = resolve(tmp_path, own=own, chip_size=100)
    assert (other.chip_size, other.stride, other.crop_size) == (100, 100, None)
    assert resolve(tmp_path, own=own, stride=16, crop_size=4).crop_size == 4


def test_a_detector_looks_twice_by_default(tmp_path):
    options = resolve(tmp_path, "object_detection", own={"chip_size": 64, "score_thresh": 0.7})
    assert (options.stride, options.score_threshold, options.merge_threshold) == (32, 0.7, 0.5)


@pytest.mark.parametrize(
    ("task", "wanted", "names"),
    [
        ("semantic_segmentation", {"score_threshold": 0.5}, "score_threshold"),
        ("chip_classification", {"smooth": True, "polygons": True}, "smooth, polygons"),
        ("object_detection", {"crop_size": 0}, "crop_size"),
    ],
)
def test_options_that_mean_nothing_for_a_task_are_refused(tmp_path, task, wanted, names):
    with pytest.raises(BundleError, match=rf"{names} mean nothing for m\.zip, a bundle for {task}; leave"):
        resolve(tmp_path, task, **wanted)


@pytest.mark.parametrize("wanted", [{"stride": 65}, {"stride": 40, "crop_size": 13}])
def test_options_that_leave_pixels_out_are_refused(tmp_path, wanted):
    with pytest.raises(BundleError, match=r"which leaves pixels unpredicted; give a smaller stride"):
        resolve(tmp_path, own={"chip_size": 64}, **wanted)


@pytest.mark.parametrize("names", [["low", ["x"]], ["low", {}], ["low", None], "low", 5])
def test_class_names_that_are_no_text_are_the_bundles_fault(tmp_path, names):
    with zipfile.ZipFile(write_onnx_bundle(tmp_path / "whole.zip")) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    config = json.loads(files["pipeline-config.json"])
    config["dataset"]["class_config"]["names"] = names
    files["pipeline-config.json"] = json.dumps(config).encode()
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    with pytest.raises(BundleError) as error:
        describe_bundle(unpack_bundle(path, "m.zip", "ab", tmp_path))
    assert "\n" not in str(error.value)
