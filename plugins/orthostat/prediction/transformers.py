"""What a bundle's configuration says should happen to chips: the transforms that it lists, or why not."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthostat.errors import BundleError
from orthostat.prediction.engines.onnx_limits import TRANSFORMERS
from orthostat.prediction.transforms import (
    CastTransform,
    MinMaxTransform,
    NanTransform,
    ReclassTransform,
    StatsTransform,
    Transform,
)

_OLD_GROUP = "__N/A__"
"""Raster Vision's sign for bundles from before there were groups of scenes."""


def make_transforms(
    transformers: Sequence[Mapping[str, Any]], bundle_folder: Path, channel_order: Sequence[int] | None
) -> list[Transform]:
    """What a bundle's configuration lists as `raster_source.transformers`, to be called one after the other.

    `bundle_folder` holds the unpacked bundle with its statistics; `channel_order` are the bands to be read.
    Raises BundleError when a transformer is unknown or its statistics are not there.
    """
    return [_make_transform(transformer, bundle_folder, channel_order) for transformer in transformers]


def read_statistics(
    transformers: Sequence[Mapping[str, Any]], bundle_folder: Path, channel_order: Sequence[int] | None
) -> tuple[list[float], list[float]]:
    """Means and deviations of the training images, one of each per channel; empty where there are none."""
    for transformer in transformers:
        if transformer.get("type_hint") == "stats_transformer":
            stats = _make_stats(transformer, bundle_folder, channel_order)
            return [float(mean) for mean in stats.means], [float(value) for value in stats.deviations]
    return [], []


def check_base_transform(base_transform: Mapping[str, Any] | None) -> None:
    """Raises BundleError when chips go through a transform of albumentations after they are resized."""
    if base_transform is None:
        return
    inner = base_transform.get("transform", base_transform)
    raise BundleError(
        f"the bundle's base_transform is albumentations' {inner.get('__class_fullname__')}, whose code is "
        "needed to run it; predict with the engine raster-vision"
    )


def _make_transform(
    transformer: Mapping[str, Any], bundle_folder: Path, channel_order: Sequence[int] | None
) -> Transform:
    name = str(transformer.get("type_hint"))
    if name == "stats_transformer":
        return _make_stats(transformer, bundle_folder, channel_order)
    if name == "rgb_class_transformer":
        raise BundleError(
            "the bundle's rgb_class_transformer makes chips without channels, with which Raster Vision can "
            "neither train nor predict; it is for labels: bundle the model without it in the raster source"
        )
    if name not in _MAKERS:
        known = ", ".join(sorted(TRANSFORMERS))
        raise BundleError(
            f"the bundle's transformer '{name}' is not known here, only {known}; predict with the engine "
            "raster-vision"
        )
    try:
        return _MAKERS[name](transformer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"the bundle's transformer {dict(transformer)} cannot be understood ({error!r}); bundle the "
            "model again"
        ) from error


def _make_stats(
    transformer: Mapping[str, Any], bundle_folder: Path, channel_order: Sequence[int] | None
) -> StatsTransform:
    """As Raster Vision's StatsTransformerConfig: the statistics in the bundle, whatever `stats_uri` says."""
    path = _stats_path(bundle_folder, transformer.get("scene_group", "train_scenes"))
    try:
        written = json.loads(path.read_bytes())
        means = np.array(written["means"], np.float64)
        deviations = np.array(written["stds"], np.float64)
        if means.ndim != 1 or means.shape != deviations.shape:
            raise ValueError(f"{means.size} means, {deviations.size} stds")
        if transformer.get("needs_channel_order") and channel_order is not None:
            # Bundles from before Raster Vision 0.31 hold statistics of all bands, not of those that are read.
            means, deviations = means[list(channel_order)], deviations[list(channel_order)]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BundleError(
            f"the statistics {path.relative_to(bundle_folder)} of the bundle cannot be used ({error!r}) with "
            f"channel order {channel_order}; one mean and one deviation per channel are needed: bundle the "
            "model again"
        ) from error
    return StatsTransform(means, deviations)


def _stats_path(bundle_folder: Path, group: Any) -> Path:
    """The file of a group of scenes, looked up among those that are there: a name cannot lead elsewhere."""
    old, folder = bundle_folder / "stats.json", bundle_folder / "analyze" / "stats"
    paths = {path.parent.relative_to(folder).as_posix(): path for path in folder.rglob("stats.json")}
    if old.is_file():
        paths[_OLD_GROUP] = old
    if group not in paths:
        there = ", ".join(sorted(paths)) or "none"
        raise BundleError(
            f"the bundle holds no statistics of the scene group '{group}', there are: {there}; name one of "
            "these, or bundle the model again after Raster Vision's analyze step"
        )
    return paths[group]


def _make_nan(transformer: Mapping[str, Any]) -> Transform:
    value = transformer.get("to_value", 0.0)
    return NanTransform(np.nan if value is None else float(value))  # numpy writes None as not a number


def _make_cast(transformer: Mapping[str, Any]) -> Transform:
    to = np.dtype(str(transformer["to_dtype"]))
    if to.kind not in "biuf":
        raise ValueError(f"{to} is no type of pixels")
    return CastTransform(to)


def _make_reclass(transformer: Mapping[str, Any]) -> Transform:
    return ReclassTransform({int(old): int(new) for old, new in transformer["mapping"].items()})


_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], Transform]] = {
    "min_max_transformer": lambda _: MinMaxTransform(),
    "cast_transformer": _make_cast,
    "nan_transformer": _make_nan,
    "reclass_transformer": _make_reclass,
}
