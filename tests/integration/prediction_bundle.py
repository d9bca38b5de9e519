"""Bundles for tests, built with Raster Vision's own classes: small networks with fixed random weights."""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("TMPDIR", tempfile.gettempdir())

import torch
from rastervision.core import data as rv_data
from rastervision.core import rv_pipeline as rv
from rastervision.core.data import ClassConfig, DatasetConfig, RasterioSourceConfig, SceneConfig
from rastervision.core.data import StatsTransformerConfig as Stats
from rastervision.core.rv_pipeline.chip_classification_config import ChipClassificationConfig
from rastervision.core.rv_pipeline.object_detection_config import ObjectDetectionConfig
from rastervision.pytorch_backend import (
    PyTorchChipClassificationConfig,
    PyTorchObjectDetectionConfig,
    PyTorchSemanticSegmentationConfig,
)
from rastervision.pytorch_learner import (
    ClassificationImageDataConfig,
    ClassificationLearnerConfig,
    ClassificationModelConfig,
    ExternalModuleConfig,
    ObjectDetectionImageDataConfig,
    ObjectDetectionLearnerConfig,
    ObjectDetectionModelConfig,
    SemanticSegmentationImageDataConfig,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationModelConfig,
    SolverConfig,
)
from torchvision.models.segmentation import deeplabv3_resnet50

CLASSES = ("water", "crop", "tree")
COLORS = ("blue", "#ffdd00", (0, 100, 0))
FIXED_BATCH = 3
"""Chips that the exported detector takes at a time."""
HUBCONF = (Path(__file__).parent / "network.py").read_text()


@dataclass(frozen=True)
class Kind:
    """Raster Vision's classes for a task."""

    network: str
    pipeline: Any
    options: Any
    store: Any
    backend: Any
    model: Any
    data: Any
    learner: Any


KINDS = {
    "semantic_segmentation": Kind(
        "segmenter",
        rv.SemanticSegmentationConfig,
        rv.SemanticSegmentationPredictOptions,
        rv_data.SemanticSegmentationLabelStoreConfig,
        PyTorchSemanticSegmentationConfig,
        SemanticSegmentationModelConfig,
        SemanticSegmentationImageDataConfig,
        SemanticSegmentationLearnerConfig,
    ),
    "chip_classification": Kind(
        "classifier",
        ChipClassificationConfig,
        rv.PredictOptions,
        rv_data.ChipClassificationGeoJSONStoreConfig,
        PyTorchChipClassificationConfig,
        ClassificationModelConfig,
        ClassificationImageDataConfig,
        ClassificationLearnerConfig,
    ),
    "object_detection": Kind(
        "detector",
        ObjectDetectionConfig,
        rv.ObjectDetectionPredictOptions,
        rv_data.ObjectDetectionGeoJSONStoreConfig,
        PyTorchObjectDetectionConfig,
        ObjectDetectionModelConfig,
        ObjectDetectionImageDataConfig,
        ObjectDetectionLearnerConfig,
    ),
}


def write_bundle(
    path: Path,
    task: str = "semantic_segmentation",
    *,
    channel_order: list[int] | None = None,
    img_size: int = 64,
    channels: int = 3,
    is_smooth: bool = False,
    is_default_model: bool = False,
    has_onnx: bool = True,
    change: Callable[[dict[str, Any]], Any] = lambda config: None,
    **options: Any,
) -> Path:
    """A bundle as `rastervision run ... bundle` packs it; `options` are Raster Vision's predict options.

    `is_default_model` takes Raster Vision's own DeepLabV3 instead of the small network; `change` gets the
    pipeline's configuration before it is packed.
    """
    kind = KINDS[task]
    folder = path.parent / f"{path.stem}-parts"
    hub = folder / "model" / "modules" / "tiny"
    hub.mkdir(parents=True)
    (hub / "hubconf.py").write_text(HUBCONF)
    classes = [*CLASSES, *(["null"] if task == "semantic_segmentation" else [])]
    arguments = {"channels": channels, "classes": len(classes)}
    module = ExternalModuleConfig(
        uri=str(hub), name="tiny", entrypoint=kind.network, entrypoint_kwargs=arguments
    )
    class_config = ClassConfig(names=classes, colors=[*COLORS, "black"][: len(classes)])
    data = kind.data(
        uri="unused", class_config=class_config, img_channels=channels, img_sz=img_size, num_workers=0
    )
    parts: dict[str, Any] = {
        "model": kind.model(external_def=None if is_default_model else module),
        "solver": SolverConfig(),
        "data": data,
    }
    kind.learner(**parts, output_uri="unused").to_file(str(folder / "model" / "learner-config.json"))
    if is_default_model:
        network: Any = deeplabv3_resnet50(num_classes=len(classes), weights_backbone=None)
    else:
        network = load_network(hub, kind.network, arguments)
    prefix = "model." if task == "object_detection" else ""  # Raster Vision's adapter holds the detector
    weights = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(weights, folder / "model" / "model.pth")
    if has_onnx and not is_default_model:
        export(network, folder / "model" / "model.onnx", channels, img_size, task)
    outer = folder / "bundle"
    for group, mean in (("train_scenes", 500.0), ("others", 300.0)):
        statistics = outer / "analyze" / "stats" / group / "stats.json"
        statistics.parent.mkdir(parents=True)
        means = [mean - 100 * band for band in range(channels)]
        statistics.write_text(json.dumps({"means": means, "stds": [200.0] * channels}))
    config_path = outer / "pipeline-config.json"
    store = kind.store(**({"smooth_output": is_smooth} if task == "semantic_segmentation" else {}))
    source = RasterioSourceConfig(uris=["unused.tif"], channel_order=channel_order, transformers=[Stats()])
    scene = SceneConfig(id="unused", raster_source=source, label_store=store)
    config = kind.pipeline(
        root_uri=str(folder / "root"),
        dataset=DatasetConfig(class_config=class_config, train_scenes=[], validation_scenes=[scene]),
        backend=kind.backend(**parts),
        predict_options=kind.options(**options),
    )
    config.update()
    config.to_file(str(config_path))
    written = json.loads(config_path.read_text())
    change(written)
    config_path.write_text(json.dumps(written))
    _zip(folder / "model", outer / "model-bundle.zip")
    _zip(outer, path)
    shutil.rmtree(folder)
    return path


def load_network(hub: Path, entrypoint: str, arguments: dict[str, Any]) -> torch.nn.Module:
    """The network with random weights, large enough that its output varies."""
    network: torch.nn.Module = torch.hub.load(
        str(hub), entrypoint, source="local", skip_validation=True, **arguments
    )
    generator = torch.Generator().manual_seed(7)
    state = network.state_dict()
    network.load_state_dict(
        {
            name: torch.randn(tensor.shape, generator=generator) if "norm" not in name else tensor
            for name, tensor in state.items()
        }
    )
    return network.eval()


def export(network: torch.nn.Module, path: Path, channels: int, size: int, task: str) -> None:
    """As Raster Vision's learner exports it, with the exporter that takes detectors, too."""
    is_detector = task == "object_detection"
    chips = torch.rand(FIXED_BATCH if is_detector else 2, channels, size, size)
    axes = {0: "batch_size", 2: "height", 3: "width"}
    is_map = task == "semantic_segmentation"
    dynamic = {} if is_detector else {"x": axes, "out": axes if is_map else {0: "batch_size"}}
    torch.onnx.export(
        network,
        (chips,),
        str(path),
        input_names=["x"],
        output_names=None if is_detector else ["out"],
        dynamic_axes=dynamic,
        opset_version=15,
        dynamo=False,
    )


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file != path:
                archive.write(file, file.relative_to(folder))
