# mypy: disable-error-code="attr-defined, call-arg, no-untyped-call, arg-type"
# (Raster Vision's exports and pydantic's defaults are invisible to mypy)
"""A small U-Net with random weights whose labels vary, as a bundle of Raster Vision."""

import shutil
import sys
import tempfile
from pathlib import Path

import torch
from rastervision.core.data import (
    ClassConfig,
    DatasetConfig,
    RasterioSourceConfig,
    SceneConfig,
    SemanticSegmentationLabelStoreConfig,
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

CHIP = 256
CLASSES = ["water", "crop", "forest", "built", "null"]
NETWORK = Path(__file__).with_name("unet_hubconf.py")


def write_bundle(path: Path, **options: int) -> Path:
    """The bundle, with its ONNX model; `options` are Raster Vision's predict options."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hub, model = folder / "unet", folder / "model"
        (model / "modules/unet").mkdir(parents=True)
        hub.mkdir()
        for target in (hub, model / "modules/unet"):
            shutil.copyfile(NETWORK, target / "hubconf.py")
        torch.manual_seed(1)
        network = torch.hub.load(str(hub), "unet", source="local", skip_validation=True, classes=len(CLASSES))
        torch.save(network.state_dict(), model / "model.pth")
        chips = torch.rand(2, 3, CHIP, CHIP)
        axes = {0: "batch_size", 2: "height", 3: "width"}
        torch.onnx.export(
            network.eval(),
            (chips,),
            str(model / "model.onnx"),
            input_names=["x"],
            output_names=["out"],
            dynamic_axes={"x": axes, "out": axes},
            opset_version=15,
            dynamo=False,
        )
        classes = ClassConfig(names=CLASSES, colors=["blue", "yellow", "green", "red", "black"])
        parts = {
            "model": SemanticSegmentationModelConfig(
                external_def=ExternalModuleConfig(
                    uri=str(hub), name="unet", entrypoint="unet", entrypoint_kwargs={"classes": len(CLASSES)}
                )
            ),
            "solver": SolverConfig(),
            "data": SemanticSegmentationImageDataConfig(
                uri="unused", class_config=classes, img_channels=3, img_sz=CHIP, num_workers=0
            ),
        }
        SemanticSegmentationLearnerConfig(**parts, output_uri="unused").to_file(
            str(model / "learner-config.json")
        )
        source = RasterioSourceConfig(uris=["unused.tif"], channel_order=[0, 1, 2])
        scene = SceneConfig(
            id="unused", raster_source=source, label_store=SemanticSegmentationLabelStoreConfig()
        )
        config = SemanticSegmentationConfig(
            root_uri=str(folder / "root"),
            dataset=DatasetConfig(class_config=classes, train_scenes=[], validation_scenes=[scene]),
            backend=PyTorchSemanticSegmentationConfig(**parts),
            predict_options=SemanticSegmentationPredictOptions(chip_sz=CHIP, **options),
        )
        config.update()
        outer = folder / "outer"
        outer.mkdir()
        config.to_file(str(outer / "pipeline-config.json"))
        shutil.make_archive(str(outer / "model-bundle"), "zip", model)
        shutil.make_archive(str(path.with_suffix("")), "zip", outer)
    return path


def main() -> None:
    """Write a bundle: PATH [STRIDE]."""
    path, *rest = sys.argv[1:]
    write_bundle(Path(path), **({"stride": int(rest[0])} if rest else {}))


if __name__ == "__main__":
    main()
