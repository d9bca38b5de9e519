"""Object detection: the boxes of all windows, each object once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orthostat.prediction.blocks import Area
from orthostat.prediction.chips import Chip, read_chips
from orthostat.prediction.engines.engine import Boxes, Engine
from orthostat.prediction.rasters import ClassRaster
from orthostat.prediction.read import Image
from orthostat.prediction.windows import spans


@dataclass(frozen=True)
class Detections:
    """Objects in an image, the surest first."""

    corners: NDArray[np.float64]
    """Shape (objects, 4): top, left, bottom, right in pixels, which may lie beyond the image's edges."""
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float64]

    def pick(self, chosen: NDArray[np.int64]) -> "Detections":
        """The objects with these numbers, in their order."""
        return Detections(self.corners[chosen], self.class_ids[chosen], self.scores[chosen])


def detect_objects(
    engine: Engine,
    image: Image,
    channels: Sequence[int],
    observed: ClassRaster,
    report: Callable[[Area], None] = lambda area: None,
) -> Detections:
    """Find the objects of every window that holds data; `observed` gets 0 where there is data.

    Windows, thresholds and the removal of duplicates are those of Raster Vision's predict_scene_od
    (pytorch_learner/utils/prediction.py), less the boxes that touch no pixel with data. Raises SceneError
    when the image cannot be decoded.
    """
    found: list[tuple[Area, Boxes]] = []
    for span in spans(image.shape, engine.options, each_once=True):
        for batch in read_chips(image, span, channels, engine.prepare, engine.options.batch_size):
            outputs = () if batch.values is None else engine.detect(batch.values)
            for chip, boxes in batch.pair(outputs):
                report(chip.window.area)
                own, inside = chip.window.own.clip(*image.shape), chip.window.area.clip(*image.shape)
                valid = chip.valid[own.slices(inside.top, inside.left)]
                observed.write(own, np.zeros(valid.shape, np.uint8), valid)
                if boxes is not None:
                    found.append((chip.window.area, _on_data(boxes, chip, engine.options.score_threshold)))
    found.sort(key=lambda pair: (pair[0].top, pair[0].left))
    options = engine.options
    return prune(_join(found), options.score_threshold, options.merge_threshold)


def prune(detections: Detections, score_threshold: float, merge_threshold: float) -> Detections:
    """Leave out boxes with no higher score, and of overlapping boxes all but the surest, whatever the class.

    What tfod_utils.np_box_list_ops.non_max_suppression does to all pairs is done here to those that touch.
    """
    kept = np.flatnonzero(detections.scores > score_threshold)
    ordered = kept[np.argsort(detections.scores[kept])[::-1]]
    sorted_boxes = detections.pick(ordered)
    if merge_threshold == 1:
        return sorted_boxes
    return sorted_boxes.pick(np.flatnonzero(_survive(sorted_boxes.corners, merge_threshold)))


def _survive(corners: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Which boxes, the surest first, overlap none that survives before them by more than the threshold."""
    import shapely

    top, left, bottom, right = corners.T
    areas = (bottom - top) * (right - left)
    alive = np.ones(len(corners), bool)
    # Two boxes without area have no ratio (0/0), which counts as too much: only the first one stays.
    flat = np.flatnonzero(areas == 0)
    tree = shapely.STRtree(shapely.box(left, top, right, bottom))
    first, second = tree.query(shapely.box(left, top, right, bottom))
    pairs = second > first
    first, second = first[pairs], second[pairs]
    height = np.minimum(bottom[first], bottom[second]) - np.maximum(top[first], top[second])
    width = np.minimum(right[first], right[second]) - np.maximum(left[first], left[second])
    common = np.maximum(height, 0) * np.maximum(width, 0)
    union = areas[first] + areas[second] - common
    with np.errstate(invalid="ignore"):
        is_same = ~(common / union <= threshold)
    order = np.argsort(first[is_same], kind="stable")
    rivals = np.split(second[is_same][order], np.flatnonzero(np.diff(first[is_same][order])) + 1)
    by_first = dict(zip(np.unique(first[is_same]).tolist(), rivals, strict=False))
    for number in range(len(corners)):
        if alive[number]:
            alive[by_first.get(number, [])] = False
            if areas[number] == 0:
                alive[flat[flat > number]] = False
    return alive


def _on_data(boxes: Boxes, chip: Chip, threshold: float) -> Boxes:
    """The boxes with a higher score that touch a pixel with data."""
    boxes = boxes.pick(boxes.scores > threshold)
    area = chip.window.area
    rows, columns = chip.valid.shape
    inside_top, inside_left = max(area.top, 0) - area.top, max(area.left, 0) - area.left
    shift = np.array([inside_top, inside_left, inside_top, inside_left])
    low = np.floor(boxes.corners - shift).astype(int)[:, :2]
    high = np.ceil(boxes.corners - shift).astype(int)[:, 2:]
    low, high = np.clip(low, 0, [rows, columns]), np.clip(high, 0, [rows, columns])
    kept = np.array(
        [
            chip.valid[t : max(b, t + 1), i : max(j, i + 1)].any()
            for (t, i), (b, j) in zip(low, high, strict=True)
        ],
        bool,
    )
    return boxes.pick(kept)


def _join(found: list[tuple[Area, Boxes]]) -> Detections:
    """All boxes in pixels of the image, window by window."""
    empty = np.zeros((0, 4))
    corners = [boxes.corners + np.array([a.top, a.left, a.top, a.left]) for a, boxes in found]
    return Detections(
        np.concatenate([empty, *corners]),
        np.concatenate([np.zeros(0, np.int64), *(boxes.class_ids for _, boxes in found)]),
        np.concatenate([np.zeros(0, np.float32), *(boxes.scores for _, boxes in found)]),
    )
