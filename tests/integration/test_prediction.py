"""The class rasters are Raster Vision's own: `rastervision predict` and Orthostat run on the same images."""

import hashlib
import json
import os
import subprocess
import sys
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
from orthostat.planning.manifest import Batch
from orthostat.prediction.batch import Recipe, Summary, predict_batch
from orthostat.prediction.images import predict_images
from tests.builders import make_scene
from tests.integration.prediction_bundle import write_bundle

BIN = Path(sys.executable).parent
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


def labels_of_orthostat(bundle: Path, image: Path, output: Path, fill: float | None) -> NDArray[np.uint8]:
    predict_images(Recipe(str(bundle), fill=fill), [str(image)], str(output))
    return read_labels(output)


def labels_of_raster_vision(bundle: Path, image: Path, output: Path, scratch: Path) -> NDArray[np.uint8]:
    """What the command `rastervision predict` runs (core/cli.py), in this process."""
    from rastervision.core.predictor import Predictor

    Predictor(str(bundle), str(scratch)).predict([str(image)], str(output))
    return read_labels(output)


def read_labels(folder: Path) -> NDArray[np.uint8]:
    with rasterio.open(folder / "labels.tif") as dataset:
        labels: NDArray[np.uint8] = dataset.read(1)
        return labels


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
def test_labels_equal_raster_visions_whatever_the_bundles_options(tmp_path, options):
    bundle = write_bundle(tmp_path / "bundle.zip", channel_order=[2, 0, 1], **options)
    bands = synthetic_bands().astype(np.uint16)
    bands[:, HOLE] = 0
    image = write_synthetic(tmp_path / "image.tif", bands)
    ours = labels_of_orthostat(bundle, image, tmp_path / "ours", fill=0)
    theirs = labels_of_raster_vision(bundle, image, tmp_path / "theirs", tmp_path / "scratch")
    assert_equal_where_valid(ours, theirs, ~HOLE)


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
def test_labels_equal_raster_visions_however_the_file_says_nodata(tmp_path, make):
    channels = 3 if make is bytes_with_alpha else 4
    bundle = write_bundle(tmp_path / "bundle.zip", channels=channels, chip_sz=64)
    bands, profile = make(synthetic_bands())
    image = write_synthetic(tmp_path / "image.tif", bands, **profile)
    ours = labels_of_orthostat(bundle, image, tmp_path / "ours", fill=None)
    theirs = labels_of_raster_vision(bundle, image, tmp_path / "theirs", tmp_path / "scratch")
    assert_equal_where_valid(ours, theirs, ~HOLE)


def test_both_commands_agree_on_a_real_scene(tmp_path):
    bundle = next((DEMO / "bundle").glob("*.zip"))
    image = tmp_path / "crop.tif"
    valid = crop_with_fill(sorted((DEMO / "scenes").glob("*.tif"))[0], image)
    environment = {**os.environ, "RASTERVISION_PREDICT_NUM_WORKERS": "0", "NO_ALBUMENTATIONS_UPDATE": "1"}
    theirs = [str(BIN / "rastervision"), "predict", str(bundle), str(image), str(tmp_path / "theirs")]
    subprocess.run(theirs, check=True, env=environment, capture_output=True)
    ours = [str(BIN / "orthostat"), "predict", "--bundle", str(bundle), "--image", str(image)]
    ours += ["--output", str(tmp_path / "ours"), "--fill", "0", "--json"]
    done = subprocess.run(ours, check=True, capture_output=True)
    assert_equal_where_valid(read_labels(tmp_path / "ours"), read_labels(tmp_path / "theirs"), valid)
    (item,) = json.loads(done.stdout)
    assert item["properties"]["orthostat:valid_fraction"] == pytest.approx(valid.mean())
    assert item["properties"]["processing:software"].keys() == {"rastervision", "torch"}


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


def test_a_batch_keeps_its_model_and_goes_on_after_a_bad_image(tmp_path, caplog):
    caplog.set_level("INFO")
    bundle = write_bundle(tmp_path / "bundle.zip", channel_order=[2, 0, 3], chip_sz=64)
    bands = synthetic_bands().astype(np.uint16)
    scenes = []
    for name, values in (("A", bands), ("B", bands[:2]), ("C", bands[:, ::-1])):
        image = str(write_synthetic(tmp_path / f"{name}.tif", np.ascontiguousarray(values)))
        scenes.append(make_scene(name, image_uri=image, etag=storage.describe(image).etag))
    batch = Batch(
        output=str(tmp_path / "out"),
        bundle=str(bundle),
        bundle_sha256=hashlib.sha256(bundle.read_bytes()).hexdigest(),
        chip_size=64,
        batch_size=8,
        fill=None,
        options_sha256="cd" * 32,
        scenes=tuple(scenes),
    )
    assert predict_batch(batch) == Summary(predicted=2, skipped=0, failed=1)
    assert caplog.text.count("loaded on") == 1
    keys = [
        Layout(batch.output).prediction(
            batch.bundle_sha256, batch.options_sha256, s.acquired, s.scene_id, s.etag
        )
        for s in batch.scenes
    ]
    assert (
        "B.tif has 2 band(s), the model reads bands [3, 1, 4]" in storage.read_json(keys[1].failure)["reason"]
    )
    flipped, plain = (read_labels(Path(keys[number].folder)) for number in (2, 0))
    alone = labels_of_orthostat(bundle, tmp_path / "C.tif", tmp_path / "alone", fill=None)
    assert (flipped == alone).all()
    assert (flipped != plain).any()


def test_an_image_with_more_bands_than_the_model_takes_is_refused(tmp_path):
    bundle = write_bundle(tmp_path / "bundle.zip", channels=3, chip_sz=64)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands().astype(np.uint16))
    with pytest.raises(SceneError, match=r"gives the model 4 channel\(s\), it takes 3"):
        predict_images(Recipe(str(bundle)), [str(image)], str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda config: config.update(type_hint="chip_classification"),
            r"is a ChipClassificationConfig; only Semantic",
        ),
        (lambda config: config.update(backend={"type_hint": "other"}), r"cannot read pipeline-config.json"),
        (lambda config: config["dataset"].update(validation_scenes=[]), r"has no validation scene"),
        (lambda config: config["predict_options"].update(stride=90), r"stride 90 is larger than its chips"),
    ],
)
def test_a_bundle_that_cannot_predict_is_refused(tmp_path, change, message):
    bundle = write_bundle(tmp_path / "bundle.zip", change=change, chip_sz=64)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands().astype(np.uint16))
    with pytest.raises(BundleError, match=message):
        predict_images(Recipe(str(bundle)), [str(image)], str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_loading_a_default_model_downloads_no_weights(tmp_path, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("the network was touched")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    bundle = write_bundle(tmp_path / "bundle.zip", is_default_model=True, chip_sz=64)
    image = write_synthetic(tmp_path / "image.tif", synthetic_bands()[:3, :64, :64].astype(np.uint16))
    items = predict_images(Recipe(str(bundle)), [str(image)], str(tmp_path / "out"))
    assert [c["name"] for c in items[0]["assets"]["labels"]["classification:classes"]] == [
        "water",
        "crop",
        "tree",
        "null",
    ]
