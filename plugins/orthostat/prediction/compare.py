"""How far two predictions of one image are apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from orthostat.prediction.description import Task
from orthostat.prediction.rasters import SCORE_STEPS

_SAME_BOX = 0.9
"""Intersection over union from which on two boxes are one."""


@dataclass(frozen=True)
class Difference:
    """Between a prediction and its reference."""

    unit: str
    """pixels, cells or boxes."""
    total: int
    """That the reference has."""
    different: int
    """With another class, or without a counterpart."""
    score: float
    """The most by which scores differ."""

    @property
    def share(self) -> float:
        """Of the reference that differs."""
        return self.different / self.total if self.total else float(self.different > 0)

    @property
    def told(self) -> str:
        """For people."""
        return (
            f"{self.different} of {self.total} {self.unit} differ ({self.share:.2g}), scores by at most "
            f"{self.score:.2g}"
        )


def compare(task: Task, reference: Path, other: Path) -> Difference:
    """Compare the files of two predictions, which `local.predict_local` wrote into these folders."""
    if task == "semantic_segmentation":
        return _compare_pixels(reference, other)
    if task == "chip_classification":
        return _compare_cells(reference / "cells.parquet", other / "cells.parquet")
    return _compare_boxes(reference / "detections.parquet", other / "detections.parquet")


def _compare_pixels(reference: Path, other: Path) -> Difference:
    total = different = 0
    score = 0.0
    with (
        rasterio.open(reference / "labels.tif") as labels,
        rasterio.open(other / "labels.tif") as other_labels,
        rasterio.open(reference / "scores.tif") as scores,
        rasterio.open(other / "scores.tif") as other_scores,
    ):
        for _, window in labels.block_windows(1):
            first, second = labels.read(1, window=window), other_labels.read(1, window=window)
            valid = first != labels.nodata
            total += int(valid.sum())
            different += int((first != second).sum())
            steps = scores.read(window=window).astype(int) - other_scores.read(window=window)
            # One step may be rounding alone.
            score = max(score, float(np.maximum(np.abs(steps) - 1, 0).max(initial=0)) / SCORE_STEPS)
    return Difference("pixels", total, different, score)


def _compare_cells(reference: Path, other: Path) -> Difference:
    first, second = _read(reference), _read(other)
    if len(first) != len(second):
        return Difference("cells", len(first), max(len(first), len(second)), np.inf)
    different = int((first["class_id"].to_numpy() != second["class_id"].to_numpy()).sum())
    score = np.abs(first["score"].to_numpy() - second["score"].to_numpy()).max(initial=0)
    return Difference("cells", len(first), different, float(score))


def _compare_boxes(reference: Path, other: Path) -> Difference:
    """Each box of one takes the best box of the other, if that is the same one by place and class."""
    import shapely

    first, second = _read(reference), _read(other)
    boxes, others = first.geometry.to_numpy(), second.geometry.to_numpy()
    left, right = shapely.STRtree(others).query(boxes, predicate="intersects")
    common = shapely.area(shapely.intersection(boxes[left], others[right]))
    union = shapely.area(boxes[left]) + shapely.area(others[right]) - common
    is_same = common >= _SAME_BOX * union
    is_same &= first["class_id"].to_numpy()[left] == second["class_id"].to_numpy()[right]
    left, right = left[is_same], right[is_same]
    missing = len(first) - len(np.unique(left)) + len(second) - len(np.unique(right))
    scores = np.abs(first["score"].to_numpy()[left] - second["score"].to_numpy()[right])
    return Difference("boxes", len(first), missing, float(scores.max(initial=0)))


def _read(path: Path) -> Any:
    import geopandas

    return geopandas.read_parquet(path)
