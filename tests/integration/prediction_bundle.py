"""Bundles for tests, built with Raster Vision's own classes: a small network with fixed random weights."""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("TMPDIR", tempfile.gettempdir())

import torch
from rastervision.core.data import (
    ClassConfig,
    DatasetConfig,
    RasterioSourceConfig,
    SceneConfig,
    SemanticSegmentationLabelStoreConfig,
    StatsTransformerConfig,
)
from rastervision.core.rv_pipeline import SemanticSegmentationConfig, SemanticSegmentationPredictOptions
from rastervision.pytorch_backend import PyTorchSemanticSegmentationConfig
from rastervision.pytorch_learner import (
    ExternalModuleConfig,
    SemanticSegmentationImageDataConfig,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationModelConfig,
    SolverConfig,
)
from torchvision.models.segmentation import deeplabv3_resnet50

CLASSES = ("water", "crop", "tree", "null")
COLORS = ("blue", "#ffdd00", (0, 100, 0), "black")

HUBCONF = """
import torch
from torch import nn
from torch.nn import functional


def tiny(channels, classes):
    return Tiny(channels, classes)


class Tiny(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        print("a bundle may print")
        self.fine = nn.Conv2d(channels, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.coarse = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        fine = torch.relu(self.norm(self.fine(x)))
        coarse = torch.relu(self.coarse(functional.avg_pool2d(fine, 2)))
        coarse = functional.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return torch.sin(4 * self.head(torch.cat([fine, coarse], dim=1)))
"""


def write_bundle(
    path: Path,
    *,
    channel_order: list[int] | None = None,
    img_size: int = 64,
    channels: int = 3,
    is_smooth: bool = False,
    is_default_model: bool = False,
    change: Callable[[dict[str, Any]], Any] = lambda config: None,
    **options: Any,
) -> Path:
    """A bundle as `rastervision run ... bundle` packs it; `options` are Raster Vision's predict options.

    `is_default_model` takes Raster Vision's own DeepLabV3 instead of the small network; `change` gets the
    pipeline's configuration before it is packed.
    """
    folder = path.parent / f"{path.stem}-parts"
    hub = folder / "model" / "modules" / "tiny"
    hub.mkdir(parents=True)
    (hub / "hubconf.py").write_text(HUBCONF)
    module = ExternalModuleConfig(
        uri=str(hub),
        name="tiny",
        entrypoint="tiny",
        entrypoint_kwargs={"channels": channels, "classes": len(CLASSES)},
    )
    class_config = ClassConfig(names=list(CLASSES), colors=list(COLORS))
    data = SemanticSegmentationImageDataConfig(
        uri="unused", class_config=class_config, img_channels=channels, img_sz=img_size, num_workers=0
    )
    parts: dict[str, Any] = {
        "model": SemanticSegmentationModelConfig(external_def=None if is_default_model else module),
        "solver": SolverConfig(),
        "data": data,
    }
    learner = SemanticSegmentationLearnerConfig(**parts, output_uri="unused")
    learner.to_file(str(folder / "model" / "learner-config.json"))
    torch.save(_weights(None if is_default_model else hub, channels), folder / "model" / "model.pth")
    outer = folder / "bundle"
    statistics = outer / "analyze" / "stats" / "train_scenes" / "stats.json"
    statistics.parent.mkdir(parents=True)
    statistics.write_text(
        json.dumps({"means": [500.0, 400.0, 300.0, 200.0][:channels], "stds": [200.0] * channels})
    )
    config_path = outer / "pipeline-config.json"
    _config(folder, class_config, parts, channel_order, is_smooth, options).to_file(str(config_path))
    written = json.loads(config_path.read_text())
    change(written)
    config_path.write_text(json.dumps(written))
    _zip(folder / "model", outer / "model-bundle.zip")
    _zip(outer, path)
    shutil.rmtree(folder)
    return path


def _config(
    folder: Path,
    class_config: ClassConfig,
    parts: dict[str, Any],
    channel_order: list[int] | None,
    is_smooth: bool,
    options: dict[str, Any],
) -> SemanticSegmentationConfig:
    source = RasterioSourceConfig(
        uris=["unused.tif"], channel_order=channel_order, transformers=[StatsTransformerConfig()]
    )
    scene = SceneConfig(
        id="unused",
        raster_source=source,
        label_store=SemanticSegmentationLabelStoreConfig(smooth_output=is_smooth),
    )
    config = SemanticSegmentationConfig(
        root_uri=str(folder / "root"),
        dataset=DatasetConfig(class_config=class_config, train_scenes=[], validation_scenes=[scene]),
        backend=PyTorchSemanticSegmentationConfig(**parts),
        predict_options=SemanticSegmentationPredictOptions(**options),
    )
    config.update()
    return config


def _weights(hub: Path | None, channels: int) -> dict[str, torch.Tensor]:
    """Random weights, large enough that every class occurs; without `hub`, of Raster Vision's own model."""
    if hub is None:
        return dict(deeplabv3_resnet50(num_classes=len(CLASSES), weights_backbone=None).state_dict())
    model = torch.hub.load(
        str(hub), "tiny", source="local", skip_validation=True, channels=channels, classes=len(CLASSES)
    )
    generator = torch.Generator().manual_seed(7)
    state = model.state_dict()
    return {
        name: torch.randn(tensor.shape, generator=generator) if "norm" not in name else tensor
        for name, tensor in state.items()
    }


def _zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file != path:
                archive.write(file, file.relative_to(folder))
