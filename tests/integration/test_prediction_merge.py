"""Merging windows a strip at a time gives the labels that Raster Vision merges in memory."""

import numpy as np
import pytest
from rastervision.core.box import Box
from rastervision.core.data import SemanticSegmentationLabels
from rastervision.core.data.label.utils import discard_prediction_edges
from rastervision.core.utils import calculate_required_padding

from orthostat.prediction.merge import Merge

CLASSES, NULL, SIZE = 4, 3, 16


def windows_of(shape, stride, crop):
    extent = Box(0, 0, *shape)
    if crop is None:
        return extent.get_windows(SIZE, stride)
    padding = calculate_required_padding(shape, (SIZE, SIZE), (stride, stride), "both", crop)
    return extent.get_windows(SIZE, stride, padding=padding, pad_direction="both")


@pytest.mark.parametrize("is_smooth", [False, True])
@pytest.mark.parametrize(
    ("stride", "crop"), [(16, None), (8, None), (5, None), (8, 4), (12, 2), (10, 3), (4, 1)]
)
@pytest.mark.parametrize("shape", [(16, 16), (7, 50), (40, 33), (65, 20)])
def test_strips_give_the_labels_of_the_whole(shape, stride, crop, is_smooth):
    windows = windows_of(shape, stride, crop)
    generator = np.random.default_rng(stride)
    scores = generator.random((len(windows), CLASSES, SIZE, SIZE), dtype=np.float32)
    predictions = list(scores if is_smooth else scores.argmax(axis=1))
    extent = Box(0, 0, *shape)
    whole = SemanticSegmentationLabels.from_predictions(
        windows, predictions, extent, CLASSES, smooth=is_smooth, crop_sz=crop
    ).get_label_arr(extent, NULL)

    merge = Merge(CLASSES, NULL, is_smooth, columns=13)
    if crop is not None:
        windows, predictions = discard_prediction_edges(windows, predictions, crop)
    if stride == SIZE:
        pieces = merge.separate(windows, predictions, shape)
    else:
        pieces = merge.overlapping(windows, predictions, shape, SIZE)
    merged = np.full(shape, 255)
    for area, labels in pieces:
        place = area.slices(0, 0)
        assert (merged[place] == 255).all(), "pieces must not overlap"
        merged[place] = labels
    assert (merged == whole).all()
