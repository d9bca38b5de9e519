"""A batch: facts of a prediction, its commit, and scenes that fail without harming the others."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio

from orthostat import storage
from orthostat.errors import BundleError, LimitError, MachineError, ModelError, OutageError, SceneError
from orthostat.pipelines.limits import Limits
from orthostat.prediction import batch as batch_module
from orthostat.prediction.batch import Summary, predict_batch
from orthostat.prediction.engines.onnx import OnnxEngine
from orthostat.prediction.failure import Failure
from orthostat.prediction.item import Prediction
from orthostat.prediction.stac import from_stac
from tests.unit.prediction_images import InThisProcess, key_of, make_batch, make_recipe, write_image

VALUES = np.array([[[0, 50, 200], [150, 0, 101], [100, 99, 30]]], dtype=np.uint16)
LABELS = [[255, 0, 1], [1, 255, 1], [0, 0, 0]]


@pytest.fixture(autouse=True)
def model(monkeypatch):
    monkeypatch.setattr(batch_module, "ModelProcess", InThisProcess)


def scenes(tmp_path: Path, *names: str) -> list[str]:
    for name in names:
        write_image(tmp_path / "scenes" / f"{name}.tif", VALUES)
    return list(names)


def read_prediction(uri: str) -> Prediction:
    return from_stac(storage.read_json(uri), uri)


def read_failure(uri: str) -> Failure:
    return Failure.model_validate(storage.read_json(uri))


def test_a_prediction_and_its_facts(tmp_path):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"))
    assert predict_batch(batch) == Summary(predicted=1, skipped=0, failed=0)
    key = key_of(batch, 0)
    with rasterio.open(key.file("labels.tif")) as labels:
        assert labels.read(1).tolist() == LABELS
        assert labels.nodata == 255
        assert labels.colormap(1)[1] == (255, 255, 0, 255)
        assert labels.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert labels.compression.name == "deflate"
    prediction = read_prediction(key.item)
    assert prediction.histogram == {0: 4, 1: 3}
    assert prediction.valid_fraction == pytest.approx(7 / 9)
    assert prediction.value_ranges == ((30, 200),)
    assert (prediction.crs, prediction.shape) == ("EPSG:32633", (3, 3))
    assert prediction.transform == (10, 0, 500000, 0, -10, 4983400)
    assert (prediction.source_crs, prediction.source_shape) == ("EPSG:32633", (3, 3))
    assert prediction.labels.href == key.file("labels.tif")
    assert prediction.source_etag == batch.scenes[0].etag
    assert prediction.model_sha256 == batch.recipe.sha256
    assert (prediction.task, prediction.engine, prediction.device) == ("semantic_segmentation", "onnx", "cpu")
    assert prediction.software["provider"] == "CPUExecutionProvider"
    assert (prediction.options["chip_size"], prediction.options["batch_size"]) == (16, 2)
    assert (prediction.network, prediction.channels, prediction.image_size) == ("made.net", 1, 16)
    with rasterio.open(key.file("preview.png")) as preview:
        assert preview.read()[:, 0, 2].tolist() == [255, 255, 0, 255]


def test_an_image_without_any_data_is_predicted_as_such(tmp_path):
    write_image(tmp_path / "scenes" / "A.tif", VALUES * 0)
    batch = make_batch(tmp_path, ["A"])
    predict_batch(batch)
    prediction = read_prediction(key_of(batch, 0).item)
    assert (prediction.valid_fraction, prediction.histogram) == (0, {})
    assert prediction.value_ranges == (None,)


def test_a_large_class_raster_has_overviews_of_the_most_frequent_class(tmp_path):
    values = np.full((1, 600, 600), 200, np.uint16)
    values[:, ::2, ::2] = 50
    write_image(tmp_path / "scenes" / "A.tif", values)
    batch = make_batch(tmp_path, ["A"])
    predict_batch(batch)
    with rasterio.open(key_of(batch, 0).file("labels.tif")) as labels:
        assert labels.overviews(1) == [2]
        assert labels.block_shapes == [(512, 512)]
    with rasterio.open(key_of(batch, 0).file("labels.tif"), overview_level=0) as overview:
        assert (overview.read(1) == 1).all()


def test_bad_images_become_failure_records_and_the_others_are_predicted(tmp_path):
    names = scenes(tmp_path, "A", "B", "C", "D")
    (tmp_path / "scenes" / "B.tif").write_text("hello")
    write_image(tmp_path / "scenes" / "C.tif", np.ones((2, 3, 3), np.uint16))
    batch = make_batch(tmp_path, names)
    assert predict_batch(batch) == Summary(predicted=2, skipped=0, failed=2)
    text, bands = read_failure(key_of(batch, 1).failure), read_failure(key_of(batch, 2).failure)
    assert (text.kind, text.etag) == ("image", batch.scenes[1].etag)
    assert "B.tif cannot be read as an image" in text.reason
    assert bands.kind == "image"
    assert "C.tif gives the model 2 channel(s), it takes 1" in bands.reason
    assert sorted(p.name for p in Path(key_of(batch, 1).folder).iterdir()) == ["failure.json"]
    assert all(storage.exists(key_of(batch, number).item) for number in (0, 3))


def test_an_image_that_was_replaced_after_planning_fails_but_is_tried_again(tmp_path):
    batch = make_batch(tmp_path, scenes(tmp_path, "A", "B"))
    write_image(tmp_path / "scenes" / "A.tif", VALUES + 1)
    assert predict_batch(batch) == Summary(predicted=1, skipped=0, failed=1)
    failure = read_failure(key_of(batch, 0).failure)
    assert failure.kind == "storage"
    assert "it was replaced" in failure.reason
    assert not failure.is_final(batch.recipe)


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model fail."""

    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(OnnxEngine, "segment", fail)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelError("no numbers"), "bundle"),
        (LimitError("too many", "pixels", Limits().pixels), "limit"),
        (SceneError("damaged"), "image"),
    ],
)
def test_a_failure_is_recorded_by_its_cause_and_not_tried_again(tmp_path, monkeypatch, error, kind):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"))
    fail_with(error, monkeypatch)
    assert predict_batch(batch).failed == 1
    failure = read_failure(key_of(batch, 0).failure)
    assert (failure.kind, failure.reason) == (kind, str(error))
    assert failure.is_final(batch.recipe)
    monkeypatch.setattr(batch_module, "ModelProcess", None)  # a retry loads nothing
    assert predict_batch(batch) == Summary(predicted=0, skipped=0, failed=1)


@pytest.mark.parametrize("error", [MachineError("CUDA error"), OutageError("S3 did not answer")])
def test_a_machine_that_fails_ends_the_batch_and_leaves_no_record(tmp_path, monkeypatch, error):
    batch = make_batch(tmp_path, scenes(tmp_path, "A", "B"))
    with monkeypatch.context() as patch:
        fail_with(error, patch)
        with pytest.raises(type(error)):
            predict_batch(batch)
    assert not storage.exists(key_of(batch, 0).failure)
    assert predict_batch(batch) == Summary(predicted=2, skipped=0, failed=0)


def test_a_raised_limit_is_tried_again(tmp_path):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"), make_recipe(tmp_path, limits={"pixels": 8}))
    assert predict_batch(batch).failed == 1
    failure = read_failure(key_of(batch, 0).failure)
    assert re.search(r"the pixels of .*A\.tif are 9, allowed are 8 \(ORTHOSTAT_MAX_PIXELS", failure.reason)
    assert failure.is_final(batch.recipe)
    raised = batch.model_copy(update={"recipe": make_recipe(tmp_path, limits={"pixels": 9})})
    assert predict_batch(raised).predicted == 1


def test_what_is_committed_is_not_predicted_again(tmp_path, monkeypatch):
    batch = make_batch(tmp_path, scenes(tmp_path, "A", "B"))
    predict_batch(batch)
    before = storage.read_bytes(key_of(batch, 0).item)
    storage.delete(key_of(batch, 1).item)
    assert predict_batch(batch) == Summary(predicted=1, skipped=1, failed=0)
    monkeypatch.setattr(batch_module, "ModelProcess", None)  # nothing to do: nothing is loaded
    assert predict_batch(batch) == Summary(predicted=0, skipped=2, failed=0)
    assert storage.read_bytes(key_of(batch, 0).item) == before


def test_predicting_again_writes_the_same_labels(tmp_path):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"))
    key = key_of(batch, 0)
    predict_batch(batch)
    before = storage.read_bytes(key.file("labels.tif"))
    storage.write_bytes(key.file("labels.tif"), b"half")
    assert predict_batch(batch.model_copy(update={"generation": "second"})).predicted == 1
    assert storage.read_bytes(key.file("labels.tif")) == before
    assert read_prediction(key.item).generation == "second"


def test_a_re_prediction_that_is_overtaken_leaves_the_later_one(tmp_path, monkeypatch):
    """Of two at once: the later would else take its own scenes for those that were never done."""
    batch, later = make_batch(tmp_path, scenes(tmp_path, "A")), "two of 2024-01-02T00:00:00Z"
    key = key_of(batch, 0)
    predict_batch(batch.model_copy(update={"generation": later}))
    item = storage.read_bytes(key.item)
    storage.delete(key.item)
    compute = batch_module.compute_scene

    def be_overtaken(*arguments):
        facts = compute(*arguments)
        storage.write_bytes(key.item, item)
        return facts

    monkeypatch.setattr(batch_module, "compute_scene", be_overtaken)
    assert predict_batch(batch.model_copy(update={"generation": "one of 2024-01-01T00:00:00Z"})).failed == 0
    assert read_prediction(key.item).generation == later


def test_a_killed_re_prediction_goes_on_where_it_ended(tmp_path, monkeypatch):
    names = scenes(tmp_path, "A", "B", "C")
    predict_batch(make_batch(tmp_path, names))
    batch = make_batch(tmp_path, names, generation="second")
    original, done = OnnxEngine.segment, []

    def fail_late(self, chips, *, scores):
        done.append(chips)
        if len(done) == 2:
            raise MachineError("the node went")
        return original(self, chips, scores=scores)

    with monkeypatch.context() as patch:
        patch.setattr(OnnxEngine, "segment", fail_late)
        with pytest.raises(MachineError):
            predict_batch(batch)
    generations = [read_prediction(key_of(batch, number).item).generation for number in range(3)]
    assert generations == ["second", None, None]
    assert predict_batch(batch) == Summary(predicted=2, skipped=1, failed=0)
    assert predict_batch(batch) == Summary(predicted=0, skipped=3, failed=0)


def test_a_failure_record_goes_when_the_scene_succeeds(tmp_path, monkeypatch):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"))
    with monkeypatch.context() as patch:
        fail_with(SceneError("damaged"), patch)
        predict_batch(batch)
    assert storage.exists(key_of(batch, 0).failure)
    predict_batch(batch.model_copy(update={"generation": "second"}))
    assert storage.exists(key_of(batch, 0).item)
    assert not storage.exists(key_of(batch, 0).failure)


def test_a_failing_second_prediction_leaves_the_first_alone(tmp_path, monkeypatch):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"))
    predict_batch(batch)
    key = key_of(batch, 0)
    before = storage.read_bytes(key.item), storage.read_bytes(key.file("labels.tif"))
    fail_with(SceneError("damaged"), monkeypatch)
    assert predict_batch(batch.model_copy(update={"generation": "second"})).failed == 1
    assert (storage.read_bytes(key.item), storage.read_bytes(key.file("labels.tif"))) == before


def test_the_item_is_written_after_the_labels(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(storage, "upload", lambda path, uri, kind: written.append(uri))
    original = storage.write_bytes
    monkeypatch.setattr(
        storage, "write_bytes", lambda uri, *rest: (written.append(uri), original(uri, *rest))
    )
    batch = make_batch(tmp_path, scenes(tmp_path, "A"))
    written.clear()
    predict_batch(batch)
    key = key_of(batch, 0)
    assert written == [key.file("labels.tif"), key.file("preview.png"), key.item]


def test_the_next_image_is_downloaded_while_this_one_is_predicted(tmp_path, monkeypatch):
    batch = make_batch(tmp_path, scenes(tmp_path, "A", "B"))
    second_arrived = threading.Event()
    original, predict = storage.download, InThisProcess.predict

    def download(uri, path, etag=None):
        original(uri, path, etag)
        if uri.endswith("B.tif"):
            second_arrived.set()

    def wait_for_second(self, image, name, *rest):
        if name.endswith("A.tif"):
            assert second_arrived.wait(timeout=20)
        return predict(self, image, name, *rest)

    monkeypatch.setattr(storage, "download", download)
    monkeypatch.setattr(InThisProcess, "predict", wait_for_second)
    assert predict_batch(batch) == Summary(predicted=2, skipped=0, failed=0)


def test_another_bundle_fails_the_whole_batch_and_writes_nothing(tmp_path):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"), make_recipe(tmp_path, sha256="ab" * 32))
    with pytest.raises(BundleError, match="named was abab"):
        predict_batch(batch)
    assert not (tmp_path / "output").exists()


def test_progress_is_logged_per_scene(tmp_path, caplog):
    caplog.set_level("INFO")
    predict_batch(make_batch(tmp_path, scenes(tmp_path, "A", "B")))
    assert "[1/2] A, " in caplog.text
    assert "B predicted, 77.8% valid" in caplog.text


def test_nothing_stays_in_the_scratch_folder(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    batch = make_batch(tmp_path, scenes(tmp_path, "A", "B"))
    predict_batch(batch)
    assert list(scratch.iterdir()) == []


def test_a_batch_in_s3(tmp_path, s3_bucket):
    batch = make_batch(tmp_path, scenes(tmp_path, "A"))
    storage.upload(tmp_path / "scenes" / "A.tif", f"{s3_bucket}/scenes/A.tif")
    storage.upload(tmp_path / "bundle.zip", f"{s3_bucket}/bundle.zip")
    found = storage.describe(f"{s3_bucket}/scenes/A.tif")
    scene = batch.scenes[0].model_copy(update={"image_uri": found.uri, "etag": found.etag})
    recipe = batch.recipe.model_copy(update={"bundle": f"{s3_bucket}/bundle.zip"})
    moved = batch.model_copy(update={"output": s3_bucket, "recipe": recipe, "scenes": (scene,)})
    storage.write_bytes(key_of(moved, 0).failure, b"{}")
    assert predict_batch(moved).predicted == 1
    item = json.loads(storage.read_bytes(key_of(moved, 0).item))
    assert item["assets"]["labels"]["href"] == key_of(moved, 0).file("labels.tif")
    assert not storage.exists(key_of(moved, 0).failure)
