"""What a model bundle says of its model, read from its JSON; none of its code is run."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orthostat.errors import BundleError
from orthostat.prediction.bundle import CONFIG_NAME, Bundle
from orthostat.prediction.classes import LabelClass

Task = Literal["semantic_segmentation", "chip_classification", "object_detection"]

TASKS: tuple[Task, ...] = ("semantic_segmentation", "chip_classification", "object_detection")
LEARNER_CONFIG = "learner-config.json"
ONNX_NAME = "model.onnx"
WEIGHTS_NAME = "model.pth"
VERSIONS = {"rastervision.core": 14, "rastervision.pytorch_learner": 7}
"""Versions of the configuration that Raster Vision 0.31 writes; it upgrades older ones when it reads them."""
_MOST_CLASSES = 254
"""254 and 255 mean unobserved and nodata in class rasters."""
_LABEL_STORES = {
    "semantic_segmentation": "semantic_segmentation_label_store",
    "chip_classification": "chip_classification_geojson_store",
    "object_detection": "object_detection_geojson_store",
}


class Description(BaseModel):
    """A model and how its bundle says that it is run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    classes: tuple[LabelClass, ...]
    null_class: int | None
    """Class of pixels without a prediction (semantic segmentation)."""
    network: str
    """The backbone, or the module of the bundle that makes the network."""
    is_builtin: bool
    """The network is one of Raster Vision's own."""
    channel_order: tuple[int, ...] | None
    """Bands of the image that are read, from 0; None for all but alpha."""
    channels: int
    """Channels that the network takes."""
    transformers: tuple[dict[str, Any], ...]
    """What happens to a chip after it is read, as in the configuration."""
    image_size: int
    """Side in pixels to which chips are resized for the network."""
    base_transform: dict[str, Any] | None
    """What happens to a chip after that: a transform of albumentations."""
    predict_options: dict[str, Any]
    """Of the configuration; empty for Raster Vision's defaults."""
    is_smooth: bool
    has_onnx: bool
    has_weights: bool
    config_versions: dict[str, int]

    @property
    def is_current(self) -> bool:
        """The configuration is of the version that is read here, not one that Raster Vision must upgrade."""
        return all(self.config_versions.get(name) == version for name, version in VERSIONS.items())


def describe_bundle(bundle: Bundle) -> Description:
    """What the bundle's files say. Raises BundleError when they cannot be read or predicted with."""
    pipeline = _read(bundle.folder / CONFIG_NAME, bundle.uri)
    learner = _read(bundle.model_folder / LEARNER_CONFIG, bundle.uri)
    return describe(pipeline, learner, bundle)


def describe(pipeline: Any, learner: Any, bundle: Bundle) -> Description:
    """The same from configurations that are read already (and upgraded, if need be)."""
    task = _task(pipeline, bundle.uri)
    try:
        scene = pipeline["dataset"]["validation_scenes"][0]
        described = _describe(task, pipeline, scene, learner, bundle)
        return Description.model_validate(described.model_dump(mode="json"))
    except IndexError:
        raise BundleError(
            f"bundle {bundle.uri} has no validation scene, from which bands and transformers are taken; "
            "bundle the model again with at least one"
        ) from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        reason = " ".join(repr(error).split())
        raise BundleError(
            f"the configuration in bundle {bundle.uri} cannot be understood ({reason:.300}); check that "
            "`rastervision predict` runs with this bundle, and bundle the model again"
        ) from error


def _describe(task: Task, pipeline: Any, scene: Any, learner: Any, bundle: Bundle) -> Description:
    source, data = scene["raster_source"], learner["data"]
    _check_scene(task, scene, bundle.uri)
    classes, null_class = _classes(pipeline["dataset"]["class_config"], task, bundle.uri)
    network = learner.get("model") or {}
    module = network.get("external_def")
    order = source.get("channel_order")
    return Description(
        task=task,
        classes=classes,
        null_class=null_class,
        network=f"{module['name']}.{module['entrypoint']}" if module else str(network.get("backbone")),
        is_builtin=module is None,
        channel_order=None if order is None else tuple(order),
        channels=data.get("img_channels") or 3,
        transformers=tuple(source.get("transformers") or ()),
        image_size=data.get("img_sz", 256),
        base_transform=data.get("base_transform"),
        predict_options=pipeline.get("predict_options") or {},
        is_smooth=bool((scene.get("label_store") or {}).get("smooth_output")),
        has_onnx=(bundle.model_folder / ONNX_NAME).is_file(),
        has_weights=(bundle.model_folder / WEIGHTS_NAME).is_file(),
        config_versions=pipeline.get("plugin_versions") or {},
    )


def _read(path: Path, uri: str) -> Any:
    try:
        value = json.loads(path.read_bytes())
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        return value
    except FileNotFoundError:
        return {}  # older bundles keep the learner's configuration elsewhere: only Raster Vision knows where
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path.name} in bundle {uri} is no JSON ({error}); bundle the model again"
        ) from error


def _task(pipeline: Any, uri: str) -> Task:
    found = pipeline.get("type_hint") if isinstance(pipeline, dict) else None
    for task in TASKS:
        if found == task:
            return task
    raise BundleError(
        f"bundle {uri} is for the task '{found}'; only {', '.join(TASKS)} can be predicted: "
        "give such a bundle"
    )


def _check_scene(task: Task, scene: Any, uri: str) -> None:
    source, store = scene["raster_source"], scene.get("label_store") or {}
    reads, writes = source.get("type_hint"), store.get("type_hint", _LABEL_STORES[task])
    if reads != "rasterio_source" or writes != _LABEL_STORES[task]:
        raise BundleError(
            f"bundle {uri} reads with {reads} and writes with {writes}; only rasterio_source and "
            f"{_LABEL_STORES[task]} can be predicted: bundle the model again with these"
        )
    if source.get("bbox") is not None:
        raise BundleError(
            f"bundle {uri} reads only the part {source['bbox']} of an image; bundle the model again without "
            "a bbox in its validation scene"
        )


def _classes(config: Any, task: Task, uri: str) -> tuple[tuple[LabelClass, ...], int | None]:
    """The classes with their colours, and the null class, which segmentation gets if it has none."""
    names, colors = list(config["names"]), list(config.get("colors") or [])
    if not all(isinstance(name, str) for name in names):
        raise BundleError(f"bundle {uri} has class names that are no text ({names!s:.200}); bundle it again")
    null_class = config.get("null_class")
    if task == "semantic_segmentation" and null_class is None:
        null_class = "null"
        if null_class not in names:  # as Raster Vision's ClassConfig.ensure_null_class
            names, colors = [*names, null_class], [*colors, "black"]
    if len(names) > _MOST_CLASSES:
        raise BundleError(
            f"bundle {uri} has {len(names)} classes, at most {_MOST_CLASSES} fit a class raster; "
            "merge classes"
        )
    classes = tuple(
        LabelClass(number, name, _hex(color))
        for number, (name, color) in enumerate(zip(names, colors, strict=True))
    )
    return classes, None if null_class is None else names.index(null_class)


def _hex(color: Any) -> str:
    """RRGGBB of a colour's name, its hexadecimal digits, or three numbers."""
    if not isinstance(color, str):
        return bytes(int(part) for part in color[:3]).hex().upper()
    from PIL import ImageColor  # what Raster Vision reads colours with

    red, green, blue, *_ = ImageColor.getrgb(color)
    return bytes((red, green, blue)).hex().upper()
