"""The outputs are Raster Vision's own, by both engines: its command and Orthostat run on the same images."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from orthostat import storage
from orthostat.errors import BundleError, SceneError
from orthostat.layout import Layout
from orthostat.pipelines.options import PredictOptions
from orthostat.planning.manifest import Batch, Recipe
from orthostat.prediction import batch as batch_module
from orthostat.prediction.batch import Summary, predict_batch
from orthostat.prediction.images import predict_images
from tests.builders import make_scene
from tests.integration import raster_vision
from tests.integration.prediction_bundle import CLASSES, write_bundle
from tests.integration.raster_vision import BIN, read_boxes, read_geoparquet, read_labels
from tests.unit.prediction_images import InThisProcess

ENGINES = ["onnx", "raster-vision"]

DEMO = Path(__file__).parents[2] / "demo" / "landsat"
HOLE = np.zeros((210, 330), dtype=bool)
HOLE[:, :25] = HOLE[100:130, 150:180] = HOLE[-20:, 200:] = True


def synthetic_bands() -> NDArray[np.float64]:
    """Four bands of patches with noise, shape (4, 210, 330), all above 0."""
    generator = np.random.default_rng(1)
    patches = generator.normal(450, 150, (4, 21, 33)).repeat(10, axis=1).repeat(10, axis=2)
    return np.clip(patches + generator.normal(0, 30, patches.shape), 4, None)


def write_synthetic(path: Path, bands: NDArray[Any], mask: bool = False, **profile: Any) -> Path:
    count, rows, columns = bands.shape
    fields: dict[str, Any] = {
        "driver": "GTiff",
        "count": count,
        "height": rows,
        "width": columns,
        "dtype": bands.dtype.name,
        "crs": "EPSG:32621",
        "transform": rasterio.Affine(30, 0, 500000, 0, -30, -2800000),
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **(fields | profile)) as dataset,
    ):
        dataset.write(bands)
        if mask:
            dataset.write_mask(~HOLE)
    return path


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch) -> str:
    """Each engine, in this process; Raster Vision itself runs in the mode that is its reference."""
    monkeypatch.setenv("RASTERVISION_USE_ONNX", "1" if request.param == "onnx" else "0")
    monkeypatch.setattr(batch_module, "ModelProcess", InThisProcess)
    return str(request.param)


def predict_ours(
    bundle: Path, image: Path, output: Path, engine: str, fill: float | None = None, **options: Any
) -> dict[str, Any]:
    recipe = Recipe(bundle=str(bundle), engine=engine, options=PredictOptions(**options), fill=fill)
    (item,) = predict_images(recipe, [str(image)], str(output))
    assert item["properties"]["orthostat:engine"] == engine
    return item


def assert_equal_where_valid(ours: NDArray[np.uint8], theirs: NDArray[np.uint8], valid: NDArray[Any]) -> None:
    assert np.unique(theirs[valid]).size > 1, "an image of one class proves little"
    assert (ours[valid] == theirs[valid]).all()
    assert (ours[~valid] == 255).all()


@pytest.mark.parametrize(
    "options",
    [
        {"chip_sz": 300},
        {"chip_sz": 64, "batch_sz": 3},
        {"chip_sz": 50},  # resized to the learner's 64 and back
        {"chip_sz": 64, "stride": 32},
        {"chip_sz": 64, "stride": 40, "crop_sz": 10},
        {"chip_sz": 64, "stride": 24, "is_smooth": True},
        {"chip_sz": 64, "is_smooth": True},
    ],
    ids=lambda options: "-".join(f"{name}={value}" for name, value in options.items()),
)
def test_labels_equal_raster_visions_whatever_the_bundles_options(tmp_path, engine, options):
    bundle = write_bundle(tmp_path / "bundle.zip", channel_order=[2, 0, 1], **options)
    bands = synthetic_bands().astype(np.uint16)
    bands[:, HOLE] = 0
    image = write_synthetic(tmp_path / "image.tif", bands)
    predict_ours(bundle, image, tmp_path / "ours", engine, fill=0)
    raster_vision.predict(bundle, image, tmp_path / "theirs")
    assert_equal_where_valid(read_labels(tmp_path / "ours"), read_labels(tmp_path / "theirs"), ~HOLE)


def test_options_of_the_command_equal_raster_visions(tmp_path, engine):
    bundle = write_bundle(tmp_path / "bundle.zip", chip_sz=64)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands().astype(np.uint16))
    options = {"channel_order": (3, 1, 0), "scene_group": "others"}
    predict_ours(bundle, image, tmp_path / "ours", engine, **options)
    raster_vision.predict(bundle, image, tmp_path / "theirs", channel_order=[3, 1, 0], scene_group="others")
    theirs = read_labels(tmp_path / "theirs")
    assert_equal_where_valid(read_labels(tmp_path / "ours"), theirs, np.ones_like(HOLE))
    predict_ours(bundle, image, tmp_path / "plain", engine, channel_order=(3, 1, 0))
    assert (read_labels(tmp_path / "plain") != theirs).any(), "the scene group must matter"


def test_an_image_can_be_scaled_by_its_own_statistics(tmp_path, engine):
    bands = synthetic_bands()[:3].astype(np.uint16)
    bands[:, HOLE] = 0
    image = write_synthetic(tmp_path / "image.tif", bands)
    own = [bands[i][~HOLE] for i in range(3)]
    statistics = {"means": [b.mean() for b in own], "stds": [b.std() for b in own]}

    def with_own(config: dict[str, Any]) -> None:
        folder = tmp_path / "own-parts/bundle/analyze/stats/train_scenes"
        (folder / "stats.json").write_text(json.dumps(statistics))

    plain = write_bundle(tmp_path / "bundle.zip", chip_sz=64)
    changed = write_bundle(tmp_path / "own.zip", chip_sz=64, change=with_own)
    predict_ours(plain, image, tmp_path / "ours", engine, fill=0, update_stats=True)
    raster_vision.predict(changed, image, tmp_path / "theirs")
    assert_equal_where_valid(read_labels(tmp_path / "ours"), read_labels(tmp_path / "theirs"), ~HOLE)


def with_hole() -> NDArray[np.uint16]:
    """An image with an area as large as four chips without data."""
    bands = synthetic_bands()[:3].astype(np.uint16)
    bands[:, 32:160, 64:192] = 0
    return bands


@pytest.mark.parametrize("options", [{"chip_sz": 32}, {"chip_sz": 40, "batch_sz": 3}])
def test_cells_equal_raster_visions(tmp_path, engine, options):
    size = options["chip_sz"]
    bundle = write_bundle(tmp_path / "bundle.zip", "chip_classification", img_size=32, **options)
    image = write_synthetic(tmp_path / "image.tif", with_hole(), nodata=0)
    item = predict_ours(bundle, image, tmp_path / "ours", engine)
    ours = read_geoparquet(tmp_path / "ours" / "cells.parquet", image)
    theirs = read_boxes(raster_vision.predict(bundle, image, tmp_path / "theirs.json"), image)
    holds_data = [
        (with_hole()[:, int(t) : int(t) + size, int(i) : int(i) + size] != 0).any()
        for t, i in np.round(theirs.corners[:, :2])
    ]
    kept = np.flatnonzero(holds_data)
    assert len(set(ours.class_ids)) > 1
    assert ours.class_ids == [theirs.class_ids[i] for i in kept]
    clipped = np.minimum(np.round(theirs.corners[kept]), [210, 330, 210, 330])
    assert np.abs(ours.corners - clipped).max() < 1e-3
    best = theirs.scores[kept, ours.class_ids]
    assert np.abs(ours.scores - best).max() < 1e-5
    labels = read_labels(tmp_path / "ours")
    for (top, left, bottom, right), class_id in zip(clipped.astype(int), ours.class_ids, strict=True):
        assert set(np.unique(labels[top:bottom, left:right])) <= {class_id, 255}
    assert ((labels == 255) == (with_hole() == 0).all(axis=0)).all()
    counts = {str(i): ours.class_ids.count(i) for i in sorted(set(ours.class_ids))}
    assert item["properties"]["orthostat:counts"] == counts


@pytest.mark.parametrize(
    "options",
    [
        {"chip_sz": 64, "score_thresh": 0.6, "merge_thresh": 0.3},
        {"chip_sz": 64, "stride": 64, "batch_sz": 2},
        {"chip_sz": 96, "score_thresh": 0.8},  # resized to the learner's 64, and boxes back
    ],
    ids=lambda options: "-".join(f"{name}={value}" for name, value in options.items()),
)
def test_detections_equal_raster_visions(tmp_path, engine, options, monkeypatch):
    # Its ONNX mode takes no batch but the exported one, so the reference is torch for both engines.
    monkeypatch.setenv("RASTERVISION_USE_ONNX", "0")
    bundle = write_bundle(tmp_path / "bundle.zip", "object_detection", **options)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands()[:3].astype(np.uint16))
    item = predict_ours(bundle, image, tmp_path / "ours", engine)
    ours = read_geoparquet(tmp_path / "ours" / "detections.parquet", image)
    theirs = read_boxes(raster_vision.predict(bundle, image, tmp_path / "theirs.json"), image)
    assert len(set(ours.class_ids)) > 1
    assert len(ours.class_ids) > 30
    # Beyond the image's edge all is 0, and what a network finds there ties: either box of two may stay.
    is_told, is_ours = (
        ((boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2 < (200, 320)).all(axis=1)
        for boxes in (theirs, ours)
    )
    assert is_told.sum() == is_ours.sum() > 30
    # Raster Vision cuts off fractions of pixels, and boxes of equal scores may change places.
    for number in np.flatnonzero(is_told):
        corners, class_id, score = theirs.corners[number], theirs.class_ids[number], theirs.scores[number]
        is_same = np.abs(ours.corners - corners).max(axis=1) < 1.001
        is_same &= (np.array(ours.class_ids) == class_id) & (np.abs(ours.scores - score) < 1e-5)
        assert is_same.any(), (corners, class_id, score)
    assert sum(item["properties"]["orthostat:counts"].values()) == len(ours.class_ids)
    with rasterio.open(tmp_path / "ours" / "observed.tif") as observed:
        assert (observed.read(1) == 0).all()


def float_with_nan(bands: NDArray[np.float64]) -> tuple[NDArray[Any], dict[str, Any]]:
    bands[:, HOLE] = np.nan
    return bands.astype(np.float32), {"nodata": np.nan}


def integer_with_tag(bands: NDArray[np.float64]) -> tuple[NDArray[Any], dict[str, Any]]:
    bands[:, HOLE] = 9999
    bands[1, :40, 100:200] = 9999  # no data in one band only: the pixel still holds data
    return bands.astype(np.uint16), {"nodata": 9999}


def bytes_with_alpha(bands: NDArray[np.float64]) -> tuple[NDArray[Any], dict[str, Any]]:
    bands = np.clip(bands / 4, 1, 255)
    bands[3] = np.where(HOLE, 0, 255)
    return bands.astype(np.uint8), {"photometric": "RGB", "alpha": "YES"}


def mask_and_tag(bands: NDArray[np.float64]) -> tuple[NDArray[Any], dict[str, Any]]:
    return bands.astype(np.uint16), {"mask": True, "nodata": 450}


@pytest.mark.parametrize("make", [float_with_nan, integer_with_tag, bytes_with_alpha, mask_and_tag])
def test_labels_equal_raster_visions_however_the_file_says_nodata(tmp_path, engine, make):
    channels = 3 if make is bytes_with_alpha else 4
    bundle = write_bundle(tmp_path / "bundle.zip", channels=channels, chip_sz=64)
    bands, profile = make(synthetic_bands())
    image = write_synthetic(tmp_path / "image.tif", bands, **profile)
    predict_ours(bundle, image, tmp_path / "ours", engine)
    raster_vision.predict(bundle, image, tmp_path / "theirs")
    assert_equal_where_valid(read_labels(tmp_path / "ours"), read_labels(tmp_path / "theirs"), ~HOLE)


def test_both_commands_agree_on_a_real_scene(tmp_path, engine):
    bundle = next((DEMO / "bundle").glob("*.zip"))
    image = tmp_path / "crop.tif"
    valid = crop_with_fill(sorted((DEMO / "scenes").glob("*.tif"))[0], image)
    environment = {**os.environ, "RASTERVISION_PREDICT_NUM_WORKERS": "0", "NO_ALBUMENTATIONS_UPDATE": "1"}
    theirs = [str(BIN / "rastervision"), "predict", str(bundle), str(image), str(tmp_path / "theirs")]
    subprocess.run(theirs, check=True, env=environment, capture_output=True)
    ours = [str(BIN / "orthostat"), "predict", "--bundle", str(bundle), "--image", str(image)]
    ours += ["--output", str(tmp_path / "ours"), "--fill", "0", "--engine", engine, "--json"]
    done = subprocess.run(ours, check=True, capture_output=True)
    assert_equal_where_valid(read_labels(tmp_path / "ours"), read_labels(tmp_path / "theirs"), valid)
    (item,) = json.loads(done.stdout)
    assert item["properties"]["orthostat:valid_fraction"] == pytest.approx(valid.mean())
    software = {"onnx": {"onnxruntime", "provider"}, "raster-vision": {"rastervision", "torch"}}[engine]
    assert item["properties"]["processing:software"].keys() == software


def crop_with_fill(scene: Path, path: Path) -> NDArray[np.bool_]:
    """Cut 420 x 500 pixels at the scene's upper left corner; returns where they hold data."""
    with rasterio.open(scene) as dataset:
        window = Window(0, 0, 500, 420)
        bands = dataset.read(window=window)
        place = {"crs": dataset.crs, "transform": dataset.window_transform(window)}
    write_synthetic(path, bands, **place)
    valid: NDArray[np.bool_] = (bands != 0).any(axis=0)
    assert 0.05 < valid.mean() < 1, "the crop must hold both data and fill"
    return valid


def test_a_batch_keeps_its_model_and_goes_on_after_a_bad_image(tmp_path, caplog, engine):
    caplog.set_level("INFO")
    bundle = write_bundle(tmp_path / "bundle.zip", channel_order=[2, 0, 3], chip_sz=64)
    bands = synthetic_bands().astype(np.uint16)
    scenes = []
    for name, values in (("A", bands), ("B", bands[:2]), ("C", bands[:, ::-1])):
        image = str(write_synthetic(tmp_path / f"{name}.tif", np.ascontiguousarray(values)))
        scenes.append(make_scene(name, image_uri=image, etag=storage.describe(image).etag))
    sha256 = hashlib.sha256(bundle.read_bytes()).hexdigest()
    batch = Batch(
        output=str(tmp_path / "out"),
        recipe=Recipe(bundle=str(bundle), sha256=sha256, engine=engine),
        options_sha256="cd" * 32,
        scenes=tuple(scenes),
    )
    assert predict_batch(batch) == Summary(predicted=2, skipped=0, failed=1)
    keys = [
        Layout(batch.output).prediction(sha256, batch.options_sha256, s.acquired, s.scene_id, s.etag)
        for s in batch.scenes
    ]
    assert (
        "B.tif has 2 band(s), the model reads bands [3, 1, 4]" in storage.read_json(keys[1].failure)["reason"]
    )
    flipped, plain = (read_labels(Path(keys[number].folder)) for number in (2, 0))
    predict_ours(bundle, tmp_path / "C.tif", tmp_path / "alone", engine)
    assert (flipped == read_labels(tmp_path / "alone")).all()
    assert (flipped != plain).any()


def test_an_image_with_more_bands_than_the_model_takes_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle.zip", channels=3, chip_sz=64)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands().astype(np.uint16))
    with pytest.raises(SceneError, match=r"gives the model 4 channel\(s\), it takes 3"):
        predict_images(Recipe(bundle=str(bundle)), [str(image)], str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(type_hint="regression"), r"is for the task 'regression'; only"),
        (
            lambda config: config.update(backend={"type_hint": "other"}),
            r"Raster Vision .* cannot load the mod",
        ),
        (lambda config: config["dataset"].update(validation_scenes=[]), r"has no validation scene"),
        (
            lambda config: config["predict_options"].update(stride=90),
            r"stride 90 .* is larger than its chips",
        ),
    ],
)
def test_a_bundle_that_cannot_predict_is_refused(tmp_path, change, message, monkeypatch):
    monkeypatch.setattr(batch_module, "ModelProcess", InThisProcess)
    bundle = write_bundle(tmp_path / "bundle.zip", change=change, chip_sz=64)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands().astype(np.uint16))
    with pytest.raises(BundleError, match=message):
        predict_images(
            Recipe(bundle=str(bundle), engine="raster-vision"), [str(image)], str(tmp_path / "out")
        )
    assert not (tmp_path / "out").exists()


def test_loading_a_default_model_downloads_no_weights(tmp_path):
    bundle = write_bundle(tmp_path / "bundle.zip", is_default_model=True, chip_sz=64)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands()[:3, :64, :64].astype(np.uint16))
    # Weights would land in the scratch folder of the model's process, or fail without a network.
    item = predict_ours(bundle, image, tmp_path / "out", "raster-vision")
    names = [c["name"] for c in item["assets"]["labels"]["classification:classes"]]
    assert names == [*CLASSES, "null"]
