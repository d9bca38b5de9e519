"""Bundles with small ONNX models whose output can be told by hand, made without torch or Raster Vision."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("low", "high")
COLORS = ("#0000FF", "#FFFF00")
VERSIONS = {"rastervision.core": 14, "rastervision.pytorch_learner": 7, "rastervision.pytorch_backend": 2}
STORES = {
    "semantic_segmentation": "semantic_segmentation_label_store",
    "chip_classification": "chip_classification_geojson_store",
    "object_detection": "object_detection_geojson_store",
}
PEAKS = 3
"""Objects that the detector finds in every chip."""


def write_onnx_bundle(
    path: Path,
    task: str = "semantic_segmentation",
    *,
    chip_size: int = 16,
    threshold: float = 100,
    scale: float = 65535,
    channels: int = 1,
    pipeline: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
    learner: dict[str, Any] | None = None,
    model: bytes | None = None,
    extra: dict[str, bytes] | None = None,
    **predict_options: Any,
) -> Path:
    """A bundle as Raster Vision 0.31 packs it.

    Segmentation and classification say `high` where the first band (its mean over the chip) is over
    `threshold`; `scale` is the greatest value of the images' type. The detector finds the PEAKS largest
    values of a chip: boxes of 5 pixels round them, with the value divided by `scale` as score.
    `pipeline`, `source` and `learner` change the configurations; `model` replaces the ONNX file, and b""
    leaves it out.
    """
    config = {
        "plugin_versions": VERSIONS,
        "rv_config": None,
        "type_hint": task,
        "dataset": {
            "class_config": {"names": list(CLASSES), "colors": list(COLORS), "null_class": None},
            "validation_scenes": [
                {
                    "id": "validation",
                    "raster_source": {
                        "type_hint": "rasterio_source",
                        "channel_order": None,
                        "transformers": [],
                        "bbox": None,
                        **(source or {}),
                    },
                    "label_store": {"type_hint": STORES[task]},
                }
            ],
        },
        "predict_options": {"chip_sz": chip_size, "batch_sz": 2, **predict_options},
        **(pipeline or {}),
    }
    learned = {
        "model": {"backbone": "resnet18", "external_def": {"name": "made", "entrypoint": "net"}},
        "data": {"img_channels": channels, "img_sz": chip_size, "base_transform": None},
        **(learner or {}),
    }
    made = make_model(task, chip_size, channels, threshold / scale) if model is None else model
    inner = {"learner-config.json": json.dumps(learned).encode(), "model.pth": b"", "model.onnx": made}
    if not made:
        del inner["model.onnx"]
    files = {"pipeline-config.json": json.dumps(config).encode(), "model-bundle.zip": pack(inner)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack({**files, **(extra or {})}))
    return path


def pack(entries: dict[str, bytes]) -> bytes:
    """A zip file; equal entries give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def make_model(task: str, size: int, channels: int, threshold: float) -> bytes:
    """The ONNX file."""
    if task == "object_detection":
        return _graph(*_detector(size), [1, channels, size, size], _DETECTED)
    outputs = 2 if task == "chip_classification" else 3  # and the null class, which never wins
    weights = np.zeros((outputs, channels, 1, 1), np.float32)
    weights[1, 0] = 1000
    bias = np.array([0, -1000 * threshold, -1000][:outputs], np.float32)
    nodes = [helper.make_node("Conv", ["x", "weights", "bias"], ["map"])]
    constants = {"weights": weights, "bias": bias}
    if task == "chip_classification":
        nodes.append(helper.make_node("ReduceMean", ["map", "axes"], ["out"], keepdims=0))
        constants["axes"] = np.array([2, 3])
    else:
        nodes.append(helper.make_node("Identity", ["map"], ["out"]))
    out = ["n", 2] if task == "chip_classification" else ["n", 3, "h", "w"]
    return _graph(nodes, constants, ["n", channels, "h", "w"], [("out", TensorProto.FLOAT, out)])


_DETECTED = [
    ("boxes", TensorProto.FLOAT, [PEAKS, 4]),
    ("scores", TensorProto.FLOAT, [PEAKS]),
    ("labels", TensorProto.INT64, [PEAKS]),
]


def _detector(size: int) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """The largest values of the first channel, as boxes, scores and labels: not in torchvision's order."""
    make = helper.make_node
    nodes = [
        make("Gather", ["x", "zero"], ["band"], axis=1),
        make("Reshape", ["band", "flat"], ["values"]),
        make("TopK", ["values", "k"], ["scores", "places"]),
        make("Div", ["places", "size"], ["rows"]),
        make("Mod", ["places", "size"], ["columns"]),
        make("Unsqueeze", ["columns", "last"], ["x0"]),
        make("Unsqueeze", ["rows", "last"], ["y0"]),
        make("Concat", ["x0", "y0", "x0", "y0"], ["corners"], axis=1),
        make("Add", ["corners", "reach"], ["whole"]),
        make("Cast", ["whole"], ["boxes"], to=TensorProto.FLOAT),
        make("Add", ["ones", "zero"], ["labels"]),
    ]
    constants = {
        "zero": np.array(0),
        "flat": np.array([-1]),
        "k": np.array([PEAKS]),
        "size": np.array(size),
        "last": np.array([1]),
        "reach": np.array([-2, -2, 3, 3]),
        "ones": np.ones(PEAKS, np.int64),
    }
    return nodes, constants


def _graph(
    nodes: list[Any],
    constants: dict[str, NDArray[Any]],
    shape: list[Any],
    outputs: list[tuple[str, int, list[Any]]],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
