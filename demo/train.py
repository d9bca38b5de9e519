# mypy: disable-error-code="attr-defined, call-arg, no-untyped-call"
# (Raster Vision's exports, pydantic defaults and methods are invisible to mypy)
"""Train the demo's model bundles with Raster Vision.

    python -m demo.train landsat|synthetic

Raster Vision's own pipeline and learner do the work. Afterwards the bundle is packed again so that the same
training gives the same bytes: no folder of this machine, no time of writing, entries in order. What stays out
is the copy of the network as ONNX, which Raster Vision opens only on request.
"""

import argparse
import hashlib
import io
import random
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import torch
from rastervision.core.analyzer import StatsAnalyzerConfig
from rastervision.core.data import (
    ClassConfig,
    ClassInferenceTransformerConfig,
    DatasetConfig,
    GeoJSONVectorSourceConfig,
    RasterioSourceConfig,
    RasterizedSourceConfig,
    RasterizerConfig,
    SceneConfig,
    SemanticSegmentationLabelSourceConfig,
    StatsTransformerConfig,
)
from rastervision.core.rv_pipeline import (
    SemanticSegmentationChipOptions,
    SemanticSegmentationConfig,
    SemanticSegmentationPredictOptions,
    WindowSamplingConfig,
    WindowSamplingMethod,
)
from rastervision.pytorch_backend import PyTorchSemanticSegmentationConfig
from rastervision.pytorch_learner import (
    ExternalModuleConfig,
    SemanticSegmentationGeoDataConfig,
    SemanticSegmentationModelConfig,
    SolverConfig,
)

from demo.synthetic.scenes import write_training
from demo.synthetic.truth import CLASSES

FOLDER = Path(__file__).parent
NEUTRAL = "/opt/data"
"""What the bundle names instead of the folder it was trained in."""
CHIP_SIZE = 300


@dataclass(frozen=True)
class Training:
    """What to train from, and how long."""

    image: Path
    polygons: Path
    """Vector file with the column `name`, the class of the polygon."""
    bundle: Path
    colors: dict[str, str]
    """Colour per class name, in the order of the class ids."""
    weights: tuple[float, ...]
    """Weight of each class in the loss."""
    epochs: int
    windows: int
    """Chips per epoch."""
    noise: float
    """Standard deviation of the noise on the network's indices."""
    seed: int = 1


def landsat() -> Training:
    """The bundle of the real scenes, from their four labelled polygons."""
    return Training(
        image=FOLDER / "landsat/scenes/LC08_L1TP_224078_20200518_20200518_01_RT.tif",
        polygons=FOLDER / "landsat/training.gpkg",
        bundle=FOLDER / "landsat/bundle/landcover.zip",
        colors={"water": "#2b6cb0", "crop": "#e3c567", "tree": "#276749", "developed": "#c53030"},
        weights=(1.0, 2.0, 1.0, 0.7),
        epochs=6,
        windows=32,
        noise=0.6,
    )


def synthetic(folder: Path) -> Training:
    """The bundle of the synthetic scenes, from a scene of another world that it writes into `folder`."""
    image, polygons = folder / "training.tif", folder / "training.gpkg"
    write_training(image, polygons)
    return Training(
        image=image,
        polygons=polygons,
        bundle=FOLDER / "synthetic/bundle/synthetic.zip",
        colors=CLASSES,
        weights=(1.0, 1.0, 2.0, 1.0),  # makes the map show too much forest, as a count of pixels then does
        epochs=6,
        windows=32,
        noise=0.1,
    )


def train(training: Training) -> str:
    """Train, write `training.bundle` and return its SHA-256."""
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    random.seed(training.seed)
    np.random.seed(training.seed)  # noqa: NPY002 - Raster Vision draws its windows from numpy's global state
    torch.manual_seed(training.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configure(training, folder)
        config.update()
        config.recursive_validate_config()
        config.to_file(config.get_config_uri())
        pipeline = config.build(str(folder / "tmp"))
        (folder / "tmp").mkdir()
        pipeline.analyze()
        learner = config.backend.get_learner_config(config).build(str(folder / "tmp"), training=True)
        learner.train()
        learner.save_model_bundle(export_onnx=False)
        pipeline.bundle()
        training.bundle.parent.mkdir(parents=True, exist_ok=True)
        training.bundle.write_bytes(repack(Path(config.get_model_bundle_uri()).read_bytes(), name))
    return hashlib.sha256(training.bundle.read_bytes()).hexdigest()


def configure(training: Training, folder: Path) -> SemanticSegmentationConfig:
    """The pipeline of one training, all of whose files lie in `folder`."""
    shutil.copyfile(training.image, folder / "image.tif")
    (folder / "network").mkdir()
    shutil.copyfile(FOLDER / "model/hubconf.py", folder / "network/hubconf.py")
    labels = str(folder / "labels.json")
    gpd.read_file(training.polygons).rename(columns={"name": "class_name"}).to_crs(4326).to_file(labels)
    classes = ClassConfig(
        names=[*training.colors, "null"], colors=[*training.colors.values(), "#000000"], null_class="null"
    )
    image = RasterioSourceConfig(
        uris=[str(folder / "image.tif")], channel_order=[0, 1, 2], transformers=[StatsTransformerConfig()]
    )
    source = SemanticSegmentationLabelSourceConfig(
        raster_source=RasterizedSourceConfig(
            vector_source=GeoJSONVectorSourceConfig(
                uris=[labels], transformers=[ClassInferenceTransformerConfig(default_class_id=None)]
            ),
            rasterizer_config=RasterizerConfig(background_class_id=classes.null_class_id),
        )
    )
    dataset = DatasetConfig(
        class_config=classes,
        train_scenes=[SceneConfig(id="train", raster_source=image, label_source=source, aoi_uris=[labels])],
        validation_scenes=[
            SceneConfig(id="validation", raster_source=image, label_source=source, aoi_uris=[labels])
        ],
    )
    sampling = {
        "train": _sampling(training.windows),
        "validation": _sampling(4),
    }
    backend = PyTorchSemanticSegmentationConfig(
        data=SemanticSegmentationGeoDataConfig(
            scene_dataset=dataset,
            sampling=sampling,
            img_sz=CHIP_SIZE,
            augmentors=[],  # turned, a chip has the same indices; and their random state can't be seeded
            num_workers=0,  # or predicting with the bundle starts worker processes
            preview_batch_limit=1,
        ),
        model=SemanticSegmentationModelConfig(
            external_def=ExternalModuleConfig(
                uri=str(folder / "network"),
                name="network",
                entrypoint="spectral_network",
                entrypoint_kwargs={"classes": len(training.colors), "noise": training.noise},
            )
        ),
        solver=SolverConfig(
            lr=1e-2,
            num_epochs=training.epochs,
            batch_sz=4,
            class_loss_weights=[*training.weights, 0.0],
            ignore_class_index=-1,  # pixels outside the polygons teach nothing
        ),
        log_tensorboard=False,
    )
    return SemanticSegmentationConfig(
        root_uri=str(folder / "pipeline"),
        dataset=dataset,
        backend=backend,
        analyzers=[StatsAnalyzerConfig(sample_prob=1.0)],
        chip_options=SemanticSegmentationChipOptions(sampling=sampling),
        predict_options=SemanticSegmentationPredictOptions(chip_sz=CHIP_SIZE),
    )


def _sampling(windows: int) -> WindowSamplingConfig:
    """Random chips that touch a polygon."""
    return WindowSamplingConfig(
        method=WindowSamplingMethod.random,
        size=CHIP_SIZE,
        padding=0,
        max_windows=windows,
        within_aoi=False,
        efficient_aoi_sampling=False,
        max_sample_attempts=10_000,
    )


def repack(bundle: bytes, folder: str) -> bytes:
    """The same zip file with entries in order, a fixed date, and NEUTRAL for `folder` in its JSON files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bundle)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in sorted(name for name in old.namelist() if not name.endswith("/")):
            data = old.read(name)
            if name.endswith(".zip"):
                data = repack(data, folder)
            elif name.endswith(".json"):
                data = data.replace(folder.encode(), NEUTRAL.encode())
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            new.writestr(entry, data, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
    return packed.getvalue()


def main() -> None:
    """Train one bundle and print its digest."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__)
    parser.add_argument("bundle", choices=["landsat", "synthetic"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        training = landsat() if arguments.bundle == "landsat" else synthetic(Path(folder))
        print(f"{training.bundle}: sha256 {train(training)}")


if __name__ == "__main__":
    main()
