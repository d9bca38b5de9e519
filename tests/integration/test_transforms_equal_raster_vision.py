"""Chips and scores are what Raster Vision, albumentations with OpenCV, and torch make of them, to the bit."""

import json
import os
import warnings

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations
import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rastervision.core.data.raster_transformer import (
    CastTransformer,
    MinMaxTransformer,
    NanTransformer,
    ReclassTransformer,
    RGBClassTransformer,
    StatsTransformerConfig,
)
from rastervision.pytorch_learner.dataset.dataset import AlbumentationsDataset
from rastervision.pytorch_learner.dataset.transform import TransformType

from orthostat.prediction.resize import bilinear, can_resize, resize
from orthostat.prediction.transformers import make_transforms
from orthostat.prediction.transforms import normalise

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
DTYPES = (*INTEGERS, "float16", "float32", "float64")
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 10)
SEEDS = st.integers(0, 2**32 - 1)
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_chip(seed, dtype, rows, columns, channels):
    """Values of the whole type or of a narrow range; some mean no data, some are no numbers."""
    random = np.random.default_rng(seed)
    shape = (rows, columns, channels)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max) if seed % 2 else (max(limits.min, -9), 99)
        chip = random.integers(low, high, shape, dtype, endpoint=True)
    else:
        chip = (random.normal(0, 100, shape) * 10.0 ** random.integers(-2, 3)).astype(dtype)
        chip[random.random(shape) < 0.05] = np.nan
    chip[random.random((rows, columns)) < 0.1] = 0
    if seed % 3 == 0:
        chip[..., 0] = chip[0, 0, 0]  # nothing to scale
    return chip


def assert_same(transformer, theirs, chip, folder, channel_order=None):
    (ours,) = make_transforms([transformer], folder, channel_order)
    kept = chip.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = ours(chip)
    np.testing.assert_array_equal(chip, kept)  # ours changes nothing in place; theirs may
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.transform(chip.copy())
    np.testing.assert_array_equal(result, expected, strict=True)
    assert ours.dtype(chip.dtype) == result.dtype
    assert ours.channels(chip.shape[2]) == theirs.get_out_channels(chip.shape[2]) == result.shape[2]


chips = st.builds(
    make_chip,
    SEEDS,
    st.sampled_from(DTYPES).map(np.dtype),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(CHANNELS),
)


@many
@given(chip=chips, seed=SEEDS, reorder=st.booleans(), old=st.booleans())
def test_stats_transformer(tmp_path, chip, seed, reorder, old):
    random = np.random.default_rng(seed)
    channels, bands = chip.shape[2], chip.shape[2] + 2 if reorder else chip.shape[2]
    group = "__N/A__" if old else "train_scenes"
    path = tmp_path / "stats.json" if old else tmp_path / "analyze/stats/train_scenes/stats.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    stds = np.where(random.random(bands) < 0.1, 0, random.uniform(0.1, 100, bands))
    path.write_text(json.dumps({"means": random.normal(20, 30, bands).tolist(), "stds": stds.tolist()}))
    order = random.permutation(bands)[:channels].tolist()
    config = StatsTransformerConfig(scene_group=group, needs_channel_order=reorder)
    config.update_root(str(tmp_path))
    written = json.loads(config.model_dump_json())
    assert_same(
        {**written, "type_hint": "stats_transformer"}, config.build(order), chip, tmp_path, tuple(order)
    )


@many
@given(chip=chips)
def test_min_max_transformer(tmp_path, chip):
    assert_same({"type_hint": "min_max_transformer"}, MinMaxTransformer(), chip, tmp_path)


@many
@given(chip=chips, to=st.sampled_from((*DTYPES, "bool")))
def test_cast_transformer(tmp_path, chip, to):
    assert_same({"type_hint": "cast_transformer", "to_dtype": to}, CastTransformer(to), chip, tmp_path)


@many
@given(chip=chips, value=st.sampled_from((0.0, -1.5, 7.0)))
def test_nan_transformer(tmp_path, chip, value):
    # Theirs fails on unsigned integers, which hold no such values, when it could not write its own.
    value = abs(value) if np.issubdtype(chip.dtype, np.unsignedinteger) else value
    assert_same({"type_hint": "nan_transformer", "to_value": value}, NanTransformer(value), chip, tmp_path)


@many
@given(
    chip=chips, mapping=st.dictionaries(st.integers(-300, 300), st.integers(0, 100), min_size=1, max_size=6)
)
def test_reclass_transformer(tmp_path, chip, mapping):
    written = json.loads(json.dumps({"type_hint": "reclass_transformer", "mapping": mapping}))
    assert_same(written, ReclassTransformer(mapping), chip, tmp_path)


def test_raster_vision_cannot_predict_after_an_rgb_class_transformer_either():
    from rastervision.core.data.class_config import ClassConfig

    classes = RGBClassTransformer(ClassConfig(names=["a"], colors=["red"]))
    chip = classes.transform(np.zeros((8, 8, 3), np.uint8))
    resizing = albumentations.Compose([albumentations.Resize(8, 8)])
    with pytest.raises(NotImplementedError, match="3 or 4 dims"):
        AlbumentationsDataset([(chip, None)], resizing, TransformType.semantic_segmentation)[0]


@pytest.mark.parametrize("task", ["semantic_segmentation", "classification", "object_detection"])
@many
@given(chip=chips, seed=SEEDS)
def test_the_dataset_of_every_task(task, chip, seed):
    size = int(np.random.default_rng(seed).integers(1, 60)) if chip.dtype == np.uint8 else chip.shape[0]
    chip = np.resize(chip, (chip.shape[0], chip.shape[0], chip.shape[2]))
    boxes = (
        albumentations.BboxParams(format="albumentations", label_fields=["category_id"])
        if task == "object_detection"
        else None
    )
    transform = albumentations.Compose([albumentations.Resize(size, size)], bbox_params=boxes)
    expected = AlbumentationsDataset([(chip, None)], transform, TransformType[task])[0][0].numpy()
    result = normalise(resize(chip, size))
    np.testing.assert_array_equal(result, expected, strict=True)
    assert result.flags.c_contiguous


def assert_resized_as_theirs(chip, size):
    expected = albumentations.Resize(size, size)(image=chip)["image"]
    np.testing.assert_array_equal(resize(chip, size), expected, strict=True)


def bytes_of(seed, rows, columns, channels):
    random = np.random.default_rng(seed)
    top = random.choice([2, 20, 256])  # few values make many ties
    return random.integers(0, top, (rows, columns, channels), np.uint8)


@settings(max_examples=600, deadline=None)
@given(SEEDS, st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.sampled_from(CHANNELS))
def test_any_size_to_any_other(seed, rows, columns, size, channels):
    assert_resized_as_theirs(bytes_of(seed, rows, columns, channels), size)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    ("given_size", "size"),
    [
        *[(300, 256), (256, 300), (256, 512), (512, 256), (301, 150), (302, 151), (513, 255), (64, 63)],
        *[(63, 64), (1024, 300), (300, 900), (900, 300), (1024, 256), (200, 224), (7, 512), (512, 7)],
        *[(1, 5), (2, 1)],
    ],
)
def test_the_sizes_of_chips(given_size, size, channels):
    assert_resized_as_theirs(bytes_of(given_size + size, given_size, given_size, channels), size)


@settings(max_examples=150, deadline=None)
@given(
    SEEDS, st.integers(1, 60), st.sampled_from(CHANNELS), st.sampled_from(("both", "rows", "columns", "one"))
)
def test_halves(seed, size, channels, halved):
    rows, columns = {
        "both": (2 * size, 2 * size),
        "rows": (2 * size, size + 3),
        "columns": (size + 3, 2 * size),
        "one": (2 * size, size),
    }[halved]
    assert_resized_as_theirs(bytes_of(seed, rows, columns, channels), size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_neither_can_resize_is_told_from_what_only_opencv_can(dtype):
    reason = can_resize(np.dtype(dtype), 20, 16) or ""
    try:
        albumentations.Resize(16, 16)(image=np.zeros((20, 20, 3), dtype))
    except cv2.error:
        assert "neither" in reason
    else:
        assert ("raster-vision" in reason) == (dtype != "uint8")


def interpolated(scores, size):
    return torch.nn.functional.interpolate(
        torch.from_numpy(scores), size=(size, size), mode="bilinear", align_corners=False
    ).numpy()


def probabilities(seed, chips_of, classes, rows, columns):
    random = np.random.default_rng(seed)
    scores = torch.from_numpy(random.normal(0, 4, (chips_of, classes, rows, columns)).astype(np.float32))
    return scores.softmax(dim=1).numpy()


@pytest.fixture(autouse=True)
def two_threads():
    """Torch resizes by another kernel where it has one thread only, and other tests may have said so."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEEDS, st.integers(1, 3), st.integers(1, 9), st.integers(1, 150), st.integers(1, 150))
def test_scores_of_chips_of_any_size(seed, chips_of, classes, side, size):
    scores = probabilities(seed, chips_of, classes, side, side)
    np.testing.assert_allclose(bilinear(scores, size), interpolated(scores, size), rtol=0, atol=1e-6)


def test_with_one_thread_torch_rounds_otherwise():
    scores = probabilities(0, 1, 3, 18, 18)
    torch.set_num_threads(1)
    np.testing.assert_allclose(bilinear(scores, 65), interpolated(scores, 65), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("rows", "size"), [(256, 300), (300, 256), (512, 300), (75, 300), (150, 300)])
def test_scores_of_the_sizes_of_chips_have_the_same_best_class(rows, size):
    scores = probabilities(rows, 2, 5, rows, rows)
    ours, theirs = bilinear(scores, size), interpolated(scores, size)
    np.testing.assert_array_equal(ours.argmax(axis=1), theirs.argmax(axis=1))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
