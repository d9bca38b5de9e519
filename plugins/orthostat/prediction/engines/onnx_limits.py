"""What the engine onnx knows and what not: it refuses by name what it would get wrong."""

from orthostat.prediction.description import VERSIONS, Description
from orthostat.prediction.options import ModelOptions

TRANSFORMERS = frozenset(
    [
        "cast_transformer",
        "min_max_transformer",
        "nan_transformer",
        "reclass_transformer",
        "stats_transformer",
    ]
)
"""Raster Vision's names of the transformers that are known."""


def why_not(model: Description, options: ModelOptions) -> str | None:
    """Why the model cannot be run from its `model.onnx` alone; None when it can."""
    unknown = [t.get("type_hint") for t in model.transformers if t.get("type_hint") not in TRANSFORMERS]
    if not model.is_current:
        found = {name: model.config_versions.get(name) for name in VERSIONS}
        return f"its configuration is of version {found}, {VERSIONS} can be read without Raster Vision"
    if not model.has_onnx:
        return "the bundle holds no model.onnx"
    if unknown:
        return f"it transforms its chips with {unknown}, known are {sorted(TRANSFORMERS)}"
    if model.base_transform is not None:
        name = (model.base_transform.get("transform") or model.base_transform).get("__class_fullname__")
        return f"it transforms its chips with albumentations' {name}, for which its code is needed"
    return None
