# mypy: disable-error-code="arg-type, attr-defined, call-arg, no-untyped-call"
# (Raster Vision's exports, pydantic defaults and methods are invisible to mypy)
"""What the bundle that finds trees is trained from, as a configuration of Raster Vision's pipeline."""

import shutil
from pathlib import Path

import geopandas as gpd
from rastervision.core.data import (
    ClassConfig,
    ClassInferenceTransformerConfig,
    DatasetConfig,
    GeoJSONVectorSourceConfig,
    ObjectDetectionLabelSourceConfig,
    RasterioSourceConfig,
    SceneConfig,
)
from rastervision.core.rv_pipeline import (
    ObjectDetectionChipOptions,
    ObjectDetectionConfig,
    ObjectDetectionPredictOptions,
    ObjectDetectionWindowSamplingConfig,
    WindowSamplingMethod,
)
from rastervision.pytorch_backend import PyTorchObjectDetectionConfig
from rastervision.pytorch_learner import (
    ExternalModuleConfig,
    ObjectDetectionGeoDataConfig,
    ObjectDetectionModelConfig,
    SolverConfig,
)

FOLDER = Path(__file__).parent
BUNDLE = FOLDER / "bundle/trees.zip"
CHIP_SIZE = 256
"""Side of a chip in training as in prediction, in pixels: some six crowns."""
BATCH_SIZE = 4
"""Chips at a time; as ONNX the network takes just so many."""
EPOCHS = 16
WINDOWS = 160
"""Chips per epoch."""
VISIBLE = 0.5
"""Share of a crown that must lie in a chip for the crown to count there."""
OVERLAP = 0.3
"""Of two boxes that overlap more (intersection over union) one stays. No two boxed crowns overlap by 0.2, and
what VISIBLE leaves of a crown at a chip's edge overlaps its whole by 0.5.
"""
SCORE = 0.37
"""Lowest score of a tree. In a trial that saw only the west of the photo, this score gave about as many trees
in the east as are boxed there.
"""


def configure(
    folder: Path, image: Path = FOLDER / "training.tif", boxes: Path = FOLDER / "training.gpkg"
) -> ObjectDetectionConfig:
    """The pipeline of one training, all of whose files lie in `folder`."""
    shutil.copyfile(image, folder / "image.tif")
    (folder / "network").mkdir()
    shutil.copyfile(FOLDER / "model/hubconf.py", folder / "network/hubconf.py")
    labels = str(folder / "labels.json")
    gpd.read_file(boxes).rename(columns={"name": "class_name"}).to_crs(4326).to_file(labels)
    source = RasterioSourceConfig(uris=[str(folder / "image.tif")], channel_order=[0, 1, 2])
    crowns = ObjectDetectionLabelSourceConfig(
        vector_source=GeoJSONVectorSourceConfig(
            uris=[labels], transformers=[ClassInferenceTransformerConfig(default_class_id=None)]
        )
    )
    dataset = DatasetConfig(
        class_config=ClassConfig(names=["tree"], colors=["#276749"]),
        train_scenes=[SceneConfig(id="train", raster_source=source, label_source=crowns)],
        validation_scenes=[SceneConfig(id="validation", raster_source=source, label_source=crowns)],
    )
    sampling = {"train": _sampling(WINDOWS, (200, 330)), "validation": _sampling(8, None)}
    backend = PyTorchObjectDetectionConfig(
        data=ObjectDetectionGeoDataConfig(
            scene_dataset=dataset,
            sampling=sampling,
            img_sz=CHIP_SIZE,
            augmentors=[],  # their random state can't be seeded; the network turns its chips itself
            num_workers=0,  # or predicting with the bundle starts worker processes
            preview_batch_limit=1,
        ),
        model=ObjectDetectionModelConfig(
            external_def=ExternalModuleConfig(
                uri=str(folder / "network"), name="network", entrypoint="tree_detector"
            )
        ),
        solver=SolverConfig(lr=5e-3, num_epochs=EPOCHS, batch_sz=BATCH_SIZE),
        log_tensorboard=False,
    )
    return ObjectDetectionConfig(
        root_uri=str(folder / "pipeline"),
        dataset=dataset,
        backend=backend,
        chip_options=ObjectDetectionChipOptions(sampling=sampling["train"]),
        predict_options=ObjectDetectionPredictOptions(
            chip_sz=CHIP_SIZE,
            stride=CHIP_SIZE // 2,
            batch_sz=BATCH_SIZE,
            score_thresh=SCORE,
            merge_thresh=OVERLAP,
        ),
    )


def _sampling(windows: int, sides: tuple[int, int] | None) -> ObjectDetectionWindowSamplingConfig:
    """Random chips; `sides` are the limits of theirs before they are scaled to CHIP_SIZE, or as they are."""
    return ObjectDetectionWindowSamplingConfig(
        method=WindowSamplingMethod.random,
        size=CHIP_SIZE,
        size_lims=sides,
        padding=32,  # chips at the end of a scene are partly black
        max_windows=windows,
        ioa_thresh=VISIBLE,
        clip=True,
    )
