# mypy: disable-error-code="attr-defined, call-arg, no-untyped-call"
# (Raster Vision's exports, pydantic defaults and methods are invisible to mypy)
"""What a bundle of the demo is trained from, as a configuration of Raster Vision's pipeline."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
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

FOLDER = Path(__file__).parent
CHIP_SIZE = 300
"""Side of a chip in training as in prediction, in pixels; Raster Vision's default in prediction."""


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
