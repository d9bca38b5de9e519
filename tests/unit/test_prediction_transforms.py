"""What happens to a chip between the image and the network, in numbers that can be checked by hand."""

import json
import math

import numpy as np
import pytest

from orthostat.errors import BundleError
from orthostat.prediction import transformers
from orthostat.prediction.engines.onnx_limits import TRANSFORMERS
from orthostat.prediction.resize import bilinear, can_resize, resize
from orthostat.prediction.transformers import check_base_transform, make_transforms
from orthostat.prediction.transforms import normalise

STATS = {"type_hint": "stats_transformer", "scene_group": "train_scenes"}
ALL_BANDS = {**STATS, "needs_channel_order": True}


def chip(values, dtype, channels=1):
    """One row of pixels."""
    return np.array(values, dtype=dtype).reshape(1, -1, channels)


def transform(transformer, tmp_path, channel_order=None):
    (made,) = make_transforms([transformer], tmp_path, channel_order)
    return made


def write_stats(path, means, stds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"means": means, "stds": stds, "counts": None}))


@pytest.fixture
def bundle_folder(tmp_path):
    write_stats(tmp_path / "analyze/stats/train_scenes/stats.json", [100, 200], [10, 20])
    return tmp_path


def test_three_standard_deviations_span_the_bytes_and_zeros_stay(bundle_folder):
    stats = transform(STATS, bundle_folder)
    given = chip([(70, 140), (85, 200), (999, 260), (0, 1)], np.uint16, channels=2)
    kept = given.copy()
    assert stats(given).tolist() == [[[0, 0], [63, 127], [255, 255], [0, 0]]]
    assert stats(given).dtype == stats.dtype(given.dtype) == np.uint8
    assert (given == kept).all()


def test_bytes_pass_the_statistics(bundle_folder):
    given = chip([1, 2, 3], np.uint8, channels=3)  # however many channels they are of
    assert transform(STATS, bundle_folder)(given).tolist() == given.tolist()


def test_old_statistics_are_those_of_the_bands_that_are_read(bundle_folder):
    stats = transform(ALL_BANDS, bundle_folder, channel_order=(1,))
    assert (stats.means.tolist(), stats.deviations.tolist()) == ([200], [20])
    assert transform(STATS, bundle_folder, channel_order=(1,)).means.tolist() == [100, 200]


def test_the_oldest_bundles_have_one_file_of_statistics(tmp_path):
    write_stats(tmp_path / "stats.json", [7], [1])
    assert transform({**STATS, "scene_group": "__N/A__"}, tmp_path).means.tolist() == [7]


@pytest.mark.parametrize("group", ["north", "__N/A__", "../stats/train_scenes", None])
def test_a_missing_group_of_scenes_is_named_with_those_that_are_there(bundle_folder, group):
    write_stats(bundle_folder / "analyze/stats/south/stats.json", [1], [1])
    with pytest.raises(BundleError, match=rf"'{group}', there are: south, train_scenes;"):
        transform({**STATS, "scene_group": group}, bundle_folder)


def test_missing_statistics_are_an_error(tmp_path):
    with pytest.raises(BundleError, match="'train_scenes', there are: none"):
        transform(STATS, tmp_path)


@pytest.mark.parametrize(
    ("means", "stds", "order", "reason"),
    [
        ([1, 2], [1], None, "2 means, 1 stds"),
        (None, None, None, "1 means, 1 stds"),
        ([1, 2], [1, 1], (0, 2), "out of bounds"),
        (["a"], [1], None, "could not convert"),
    ],
)
def test_unusable_statistics_are_an_error(tmp_path, means, stds, order, reason):
    write_stats(tmp_path / "analyze/stats/train_scenes/stats.json", means, stds)
    with pytest.raises(BundleError, match=f"train_scenes/stats.json of the bundle.*{reason}"):
        transform(ALL_BANDS, tmp_path, order)


def test_statistics_of_other_channels_are_an_error(bundle_folder):
    with pytest.raises(
        BundleError, match="are of 2 channels, the image's chips have 3; give a channel order"
    ):
        transform(STATS, bundle_folder)(chip([1, 2, 3], np.uint16, channels=3))


def test_least_and_greatest_of_each_channel_span_the_bytes(tmp_path):
    scale = transform({"type_hint": "min_max_transformer"}, tmp_path)
    given = chip([(10, -1), (20, 0), (15, 3)], np.int16, channels=2)
    assert scale(given).tolist() == [[[0, 0], [255, 63], [127, 255]]]
    assert scale.dtype(given.dtype) == np.uint8


def test_a_channel_of_one_value_raises_no_warning(tmp_path, recwarn):
    assert transform({"type_hint": "min_max_transformer"}, tmp_path)(chip([5, 5], np.uint16)).shape == (
        1,
        2,
        1,
    )
    assert not recwarn.list


def test_a_cast_cuts_fractions_off(tmp_path):
    cast = transform({"type_hint": "cast_transformer", "to_dtype": "uint8"}, tmp_path)
    assert cast(chip([0.9, 7.1, 255.9], np.float32)).tolist() == [[[0], [7], [255]]]
    assert cast(chip([256, 257], np.uint16)).tolist() == [[[0], [1]]]
    assert (cast.dtype(np.dtype(np.float32)), cast.channels(4)) == (np.uint8, 4)


@pytest.mark.parametrize(
    ("options", "value"), [({}, 0), ({"to_value": 3}, 3), ({"to_value": None}, math.nan)]
)
def test_another_value_stands_for_not_a_number(tmp_path, options, value):
    replace = transform({"type_hint": "nan_transformer", **options}, tmp_path)
    given = chip([1, math.nan], np.float32)
    np.testing.assert_array_equal(replace(given), chip([1, value], np.float32))
    assert math.isnan(given[0, 1, 0])
    assert replace(chip([1, 2], np.int16)).tolist() == [[[1], [2]]]
    assert replace.dtype(given.dtype) == np.float32


def test_values_can_be_exchanged(tmp_path):
    exchange = transform({"type_hint": "reclass_transformer", "mapping": {"1": 2, "2": 1, "-5": 0}}, tmp_path)
    given = chip([1, 2, 3], np.uint8)
    assert exchange(given).tolist() == [[[2], [1], [3]]]
    assert given.tolist() == [[[1], [2], [3]]]


def test_a_value_that_the_type_cannot_hold_is_an_error(tmp_path):
    write = transform({"type_hint": "reclass_transformer", "mapping": {"1": 300}}, tmp_path)
    with pytest.raises(BundleError, match="turns 1 into 300, which uint8 cannot hold"):
        write(chip([1], np.uint8))


@pytest.mark.parametrize(
    ("transformer", "reason"),
    [
        (
            {"type_hint": "sharpen_transformer"},
            "'sharpen_transformer' is not known here, only cast_transformer",
        ),
        ({}, "'None' is not known"),
        ({"type_hint": "rgb_class_transformer"}, "rgb_class_transformer makes chips without channels"),
        ({"type_hint": "cast_transformer"}, "KeyError.*bundle the model again"),
        ({"type_hint": "cast_transformer", "to_dtype": "byte8"}, "byte8"),
        ({"type_hint": "cast_transformer", "to_dtype": "complex64"}, "complex64 is no type of pixels"),
        ({"type_hint": "reclass_transformer", "mapping": {"a": 1}}, "invalid literal"),
    ],
)
def test_what_is_not_understood_is_an_error(tmp_path, transformer, reason):
    with pytest.raises(BundleError, match=reason):
        make_transforms([transformer], tmp_path, None)


def test_the_known_transformers_are_named():
    assert {"stats_transformer", *transformers._MAKERS} == TRANSFORMERS
    assert "rgb_class_transformer" not in TRANSFORMERS


@pytest.mark.parametrize("nested", [True, False])
def test_a_transform_of_albumentations_is_an_error_with_its_name(nested):
    check_base_transform(None)
    given = {"__class_fullname__": "ToGray"}
    with pytest.raises(BundleError, match=r"albumentations' ToGray.*engine raster-vision"):
        check_base_transform({"transform": given} if nested else given)


@pytest.mark.parametrize(
    ("dtype", "given", "expected"),
    [
        (np.uint8, [0, 51, 255], [0, 0.2, 1]),
        (np.uint16, [0, 13107, 65535], [0, 0.2, 1]),
        (np.int16, [-1, 0, 300], [-1, 0, 300]),
        (np.float64, [0.1, -2, 1e300], [0.1, -2, math.inf]),
    ],
)
def test_only_unsigned_values_are_divided_by_their_greatest(dtype, given, expected):
    assert normalise(chip(given, dtype)).tolist() == [[np.array(expected, np.float32).tolist()]]


def test_channels_come_first_and_in_one_piece():
    given = normalise(np.arange(24, dtype=np.int32).reshape(2, 3, 4))
    assert given.shape == (4, 2, 3)
    assert given[1].tolist() == [[1, 5, 9], [13, 17, 21]]
    assert given.flags.c_contiguous


def test_a_chip_is_resized_between_the_middles_of_its_pixels():
    row = [0, 100]
    assert (
        resize(np.array([row, row], np.uint8)[..., np.newaxis], 4)[..., 0].tolist() == [[0, 25, 75, 100]] * 4
    )


def test_products_of_border_rows_are_cut_off_one_by_one():
    # Half of 1 is 64 of 128. Middle row: 64*1024 >> 16 = 1, twice, and (1 + 1 + 2) >> 2 = 1. Border rows:
    # 64*341 >> 16 = 0 and 64*1707 >> 16 = 1, but (0 + 1 + 2) >> 2 = 0.
    given = np.array([[0, 1], [0, 1]], np.uint8)[..., np.newaxis]
    assert resize(given, 3)[..., 0].tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize(("channels", "expected"), [(1, 1), (2, 0), (3, 1), (4, 1), (6, 1)])
def test_half_the_size_is_a_mean_and_two_channels_round_halves_to_even(channels, expected):
    given = np.zeros((2, 2, channels), np.uint8)
    given[:, 0] = 1
    assert resize(given, 1).tolist() == [[[expected] * channels]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int64])
def test_a_chip_of_the_right_size_stays(dtype):
    given = np.ones((3, 3, 2), dtype)
    assert resize(given, 3) is given
    assert can_resize(np.dtype(dtype), 3, 3) is None


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        (
            np.uint16,
            r"300 pixels .* 256, .* only for uint8, not for uint16; predict with the engine raster-vision",
        ),
        (np.float32, "not for float32"),
        (np.uint32, "neither OpenCV nor this can do for uint32"),
    ],
)
def test_only_bytes_can_be_resized(dtype, reason):
    assert can_resize(np.dtype(np.uint8), 300, 256) is None
    assert can_resize(np.dtype(dtype), 300, 256) is not None
    with pytest.raises(BundleError, match=reason):
        resize(np.zeros((300, 300, 1), dtype), 256)


def test_scores_are_resized_between_the_middles_of_their_pixels():
    scores = np.array([[[[0, 1], [0, 1]], [[4, 4], [8, 8]]]], np.float32)
    first, second = bilinear(scores, 4)[0]
    assert first.tolist() == [[0, 0.25, 0.75, 1]] * 4
    assert second.tolist() == [[row] * 4 for row in (4, 5, 7, 8)]
    assert bilinear(scores, 2) is scores


def test_large_scores_are_resized_likewise():
    scores = np.arange(40, dtype=np.float32).reshape(1, 1, 1, 40).repeat(40, axis=2)
    row = bilinear(scores, 80)[0, 0, 33]
    assert row.tolist() == [0, *(0.25 + 0.5 * i for i in range(78)), 39]
