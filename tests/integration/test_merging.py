"""Merging windows a strip at a time gives the labels that Raster Vision merges in memory."""

import numpy as np
import pytest
from rastervision.core.box import Box
from rastervision.core.data import SemanticSegmentationLabels
from rastervision.core.data.label import ObjectDetectionLabels
from rastervision.core.utils import calculate_required_padding

from orthostat.prediction.chips import Chip
from orthostat.prediction.detections import Detections, prune
from orthostat.prediction.options import ModelOptions
from orthostat.prediction.segmentation import Averages, Strip, Votes
from orthostat.prediction.windows import spans

CLASSES, NULL, SIZE = 4, 3, 16


def options_of(stride, crop=None, is_smooth=False):
    return ModelOptions(SIZE, stride, crop, 8, is_smooth, 0.5, 0.5, None)


def windows_of(shape, stride, crop):
    extent = Box(0, 0, *shape)
    if crop is None:
        return extent.get_windows(SIZE, stride)
    padding = calculate_required_padding(shape, (SIZE, SIZE), (stride, stride), "both", crop)
    return extent.get_windows(SIZE, stride, padding=padding, pad_direction="both")


SHAPES = [(16, 16), (7, 50), (40, 33), (65, 20)]
STRIDES = [(16, None), (8, None), (5, None), (8, 4), (12, 2), (10, 3), (4, 1), (16, 0)]


@pytest.mark.parametrize(("stride", "crop"), STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_windows_are_raster_visions(shape, stride, crop):
    (span,) = spans(shape, options_of(stride, crop))
    ours = [(w.area.top, w.area.left, w.area.bottom, w.area.right) for row in span.rows() for w in row]
    assert ours == [tuple(box) for box in windows_of(shape, stride, crop)]


@pytest.mark.parametrize("is_smooth", [False, True])
@pytest.mark.parametrize(("stride", "crop"), STRIDES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [17, 1000])
def test_strips_give_the_labels_of_the_whole(shape, stride, crop, is_smooth, width):
    windows = windows_of(shape, stride, crop)
    generator = np.random.default_rng(stride)
    scores = generator.random((len(windows), CLASSES, SIZE, SIZE), dtype=np.float32)
    predictions = list(scores if is_smooth else scores.argmax(axis=1))
    valid = generator.random(shape) > 0.2
    extent = Box(0, 0, *shape)
    whole = SemanticSegmentationLabels.from_predictions(
        windows, predictions, extent, CLASSES, smooth=is_smooth, crop_sz=crop
    ).get_label_arr(extent, NULL)

    by_place = {(box.ymin, box.xmin): p for box, p in zip(windows, predictions, strict=True)}
    merged, seen = np.full(shape, 255), np.zeros(shape, bool)
    for span in spans(shape, options_of(stride, crop, is_smooth), width=width):
        ballot = (Averages if is_smooth else Votes)(CLASSES, SIZE, span.right - span.left, NULL)
        predicted = (
            (Chip(w, valid[w.area.clip(*shape).slices(0, 0)]), by_place[w.area.top, w.area.left])
            for row in span.rows()
            for w in row
        )
        for piece in Strip(ballot, span, shape[0]).merge(predicted):
            place = piece.area.slices(0, 0)
            assert (merged[place] == 255).all(), "pieces must not overlap"
            merged[place] = piece.labels
            seen[place] = piece.valid
    assert (merged == whole).all()
    assert (seen == valid).all()


def test_own_parts_of_windows_are_the_image_once():
    for width in (17, 1000):
        times = np.zeros((65, 50), int)
        for span in spans(times.shape, options_of(5), each_once=True, width=width):
            for window in (w for row in span.rows() for w in row):
                times[window.own.clip(*times.shape).slices(0, 0)] += 1
        assert (times == 1).all()


@pytest.mark.parametrize("merge", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_pruning_keeps_the_boxes_that_raster_vision_keeps(merge, seed):
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, 60, (300, 2)).astype(float)
    size = generator.integers(0, 12, (300, 2))  # some have no width or height, or neither
    corners = np.concatenate([corner, corner + size], axis=1)
    class_ids = generator.integers(0, 3, 300)
    scores = generator.integers(1, 40, 300).astype(np.float32) / 40  # with ties
    theirs = ObjectDetectionLabels.prune_duplicates(
        ObjectDetectionLabels(corners, class_ids, scores), score_thresh=0.25, merge_thresh=merge
    )
    ours = prune(Detections(corners, class_ids, scores), 0.25, merge)
    assert ours.corners.tolist() == theirs.get_npboxes().tolist()
    assert ours.scores.tolist() == theirs.get_scores().tolist()
    assert ours.class_ids.tolist() == theirs.get_class_ids().tolist()
