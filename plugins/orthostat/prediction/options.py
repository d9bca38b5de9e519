"""The options that a model is run with: the bundle's own, and what the user wants instead."""

import logging
from dataclasses import asdict, dataclass
from typing import Any

from orthostat.errors import BundleError
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.description import Description, Task

log = logging.getLogger(__name__)

_CHIP_SIZE, _BATCH_SIZE, _THRESHOLD = 300, 8, 0.5
"""Raster Vision's defaults (core/rv_pipeline/rv_pipeline_config.py and object_detection_config.py)."""


_FOREIGN = {
    "semantic_segmentation": ("score_threshold", "merge_threshold"),
    "chip_classification": (
        "score_threshold",
        "merge_threshold",
        "crop_size",
        "smooth",
        "scores",
        "polygons",
    ),
    "object_detection": ("crop_size", "smooth", "scores", "polygons"),
}
"""Options that mean nothing for a task."""


@dataclass(frozen=True)
class ModelOptions:
    """How a model goes over an image."""

    chip_size: int
    """Side of the window in pixels."""
    stride: int
    """Pixels from one window to the next; windows overlap where it is smaller than they are."""
    crop_size: int | None
    """Pixels at each edge of a window whose labels are thrown away; None does not even pad for it."""
    batch_size: int
    """Chips that go through the model together."""
    is_smooth: bool
    """Overlapping windows average their scores instead of counting votes."""
    score_threshold: float
    """Boxes with no higher score are left out."""
    merge_threshold: float
    """Of boxes whose intersection over union is larger, the best is kept."""
    channel_order: tuple[int, ...] | None
    """Bands of the image that are read, from 0; None for all but alpha."""

    def told(self, task: Task) -> dict[str, Any]:
        """What an Item says of them: those that mean something for the task."""
        foreign = {*_FOREIGN[task], *(("is_smooth",) if "smooth" in _FOREIGN[task] else ())}
        return {name: value for name, value in asdict(self).items() if name not in foreign}

    @property
    def is_overlapping(self) -> bool:
        """Whether a pixel may get labels from several windows, or none."""
        return self.crop_size is not None or self.stride != self.chip_size


def resolve_options(model: Description, wanted: PredictOptions, uri: str) -> ModelOptions:
    """The bundle's own options where nothing else is wanted. Raises BundleError when they leave pixels out,
    or mean nothing for the bundle's task.

    Another chip size than the bundle's goes without the overlap and crop of the bundle's own.
    """
    _check_wanted(model.task, wanted, uri)
    own = model.predict_options
    size = own.get("chip_sz") or _CHIP_SIZE
    stride, crop = own.get("stride"), own.get("crop_sz")
    if wanted.chip_size is not None and wanted.chip_size != size:
        if stride not in (None, size) or crop is not None:
            log.info(
                "chip size %d replaces the bundle's %d, whose stride and crop go", wanted.chip_size, size
            )
        size, stride, crop = wanted.chip_size, None, None
    is_detection = model.task == "object_detection"
    stride = _first(wanted.stride, stride, max(size // 2, 1) if is_detection else size)
    crop = (
        _crop(_first(wanted.crop_size, crop), size, stride) if model.task == "semantic_segmentation" else None
    )
    _check(size, stride, crop, uri)
    is_smooth = _first(wanted.smooth, model.is_smooth)
    if wanted.scores and not is_smooth:
        raise BundleError(f"scores of {uri} are kept only where they are averaged; ask for smooth as well")
    return ModelOptions(
        chip_size=size,
        stride=stride,
        crop_size=crop,
        batch_size=_first(wanted.batch_size, own.get("batch_sz"), _BATCH_SIZE),
        is_smooth=is_smooth,
        score_threshold=_first(wanted.score_threshold, own.get("score_thresh"), _THRESHOLD),
        merge_threshold=_first(wanted.merge_threshold, own.get("merge_thresh"), _THRESHOLD),
        channel_order=_first(wanted.channel_order, model.channel_order),
    )


def _check_wanted(task: Task, wanted: PredictOptions, uri: str) -> None:
    asked = [
        name
        for name in _FOREIGN[task]
        if getattr(wanted, name) is not None and getattr(wanted, name) is not False
    ]
    if asked:
        raise BundleError(f"{', '.join(asked)} mean nothing for {uri}, a bundle for {task}; leave them out")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _crop(crop: int | str | None, size: int, stride: int) -> int | None:
    return (size - stride) // 2 if crop == "auto" else crop if isinstance(crop, int) else None


def _check(size: int, stride: int, crop: int | None, uri: str) -> None:
    kept = size - 2 * (crop or 0)
    if stride > kept:
        what = f"chips ({size})" if not crop else f"chips without their cropped edges ({size} - 2 x {crop})"
        raise BundleError(
            f"the stride {stride} for bundle {uri} is larger than its {what}, which leaves pixels "
            "unpredicted; give a smaller stride, or another chip size"
        )
