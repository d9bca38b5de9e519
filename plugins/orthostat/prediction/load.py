"""Loading a bundle's configuration, transformers and learner, as Raster Vision's Predictor does."""

import logging
from importlib.metadata import version
from typing import Any

from rastervision.core.data.class_config import ClassConfig
from rastervision.core.data.label_store.semantic_segmentation_label_store_config import (
    SemanticSegmentationLabelStoreConfig,
)
from rastervision.core.data.raster_source.rasterio_source_config import RasterioSourceConfig
from rastervision.core.data.utils import color_to_triple
from rastervision.core.rv_pipeline import SemanticSegmentationConfig
from rastervision.pipeline import rv_config_
from rastervision.pipeline.config import build_config, upgrade_config
from rastervision.pytorch_learner.learner import Learner
from rastervision.pytorch_learner.utils import get_learner_config_from_bundle_dir

from orthostat import storage
from orthostat.errors import BundleError
from orthostat.prediction.bundle import CONFIG_NAME, MODEL_NAME, Bundle
from orthostat.prediction.item import LabelClass
from orthostat.prediction.model import Model, ModelOptions

log = logging.getLogger(__name__)

_MOST_CLASSES = 254
"""254 and 255 mean unobserved and nodata in class rasters."""


def load_model(bundle: Bundle, chip_size: int | None, batch_size: int | None) -> Model:
    """Load the bundle's model once, on the GPU when torch sees one, and without touching the network.

    `chip_size` and `batch_size` replace the bundle's own. Raises BundleError when the bundle is not for
    semantic segmentation, cannot be loaded, or its options leave pixels without a prediction.
    """
    rv_config_.set_tmp_dir_root(str(bundle.folder.parent))
    logging.getLogger("rastervision").setLevel(logging.WARNING)
    logging.getLogger("rastervision").propagate = False  # it has a handler of its own
    config = _read_config(bundle)
    scene = _check_config(config, bundle.uri)
    options = _resolve_options(config, scene, chip_size, batch_size)
    try:
        model = _build_model(bundle, config.dataset.class_config, scene.raster_source, options)
    except Exception as error:  # a bundle's code can raise anything
        raise BundleError(
            f"Raster Vision cannot load the model of {bundle.uri} ({type(error).__name__}: {error}); "
            "check that `rastervision predict` runs with this bundle"
        ) from error
    log.info("model of %s loaded on %s", bundle.uri, model.learner.device)
    return model


def _read_config(bundle: Bundle) -> Any:
    written = storage.read_json(str(bundle.folder / CONFIG_NAME))
    try:
        rv_config_.set_everett_config(config_overrides=written.get("rv_config"))
        upgraded: Any = upgrade_config(written)
        return build_config(upgraded)
    except Exception as error:  # whatever its parsing raises, the bundle is what is wrong
        raise BundleError(
            f"Raster Vision {version('rastervision-core')} cannot read {CONFIG_NAME} of {bundle.uri} "
            f"({type(error).__name__}: {error}); bundle the model again with this version"
        ) from error


def _check_config(config: Any, uri: str) -> Any:
    """The scene whose reading and label store count: the first validation scene, as for the Predictor."""
    if not isinstance(config, SemanticSegmentationConfig):
        raise BundleError(
            f"bundle {uri} is a {type(config).__name__}; only SemanticSegmentationConfig can be predicted: "
            "give a bundle for semantic segmentation"
        )
    if not config.dataset.validation_scenes:
        raise BundleError(
            f"bundle {uri} has no validation scene, from which bands and transformers are taken; "
            "bundle the model again with at least one"
        )
    scene = config.dataset.validation_scenes[0]
    parts = (scene.raster_source, scene.label_store)
    if not (
        isinstance(parts[0], RasterioSourceConfig)
        and isinstance(parts[1], SemanticSegmentationLabelStoreConfig)
    ):
        found = " and ".join(type(part).__name__ for part in parts)
        raise BundleError(
            f"bundle {uri} reads and writes with {found}; only RasterioSourceConfig and "
            "SemanticSegmentationLabelStoreConfig can be predicted: bundle the model again with these"
        )
    config.dataset.class_config.ensure_null_class()
    classes = len(config.dataset.class_config)
    if classes > _MOST_CLASSES:
        raise BundleError(
            f"bundle {uri} has {classes} classes, at most {_MOST_CLASSES} fit a class raster; merge classes"
        )
    return scene


def _resolve_options(config: Any, scene: Any, chip_size: int | None, batch_size: int | None) -> ModelOptions:
    """The bundle's own options; another chip size goes without the overlap and crop of the bundle's own.

    A bundle without predict options gets Raster Vision's defaults (core/rv_pipeline/rv_pipeline_config.py).
    """
    own = config.predict_options
    size, stride, crop, batch = (
        (own.chip_sz, own.stride, own.crop_sz, own.batch_sz) if own is not None else (300, 300, None, 8)
    )
    if chip_size is not None and chip_size != size:
        log.info("chip size %d replaces the bundle's %d, without overlap", chip_size, size)
        size, stride, crop = chip_size, chip_size, None
    if stride > size:
        raise BundleError(
            f"the bundle's stride {stride} is larger than its chips ({size}), which leaves pixels "
            "unpredicted; bundle the model with a smaller stride, or give another chip size"
        )
    return ModelOptions(size, stride, crop, batch_size or batch, scene.label_store.smooth_output)


def _build_model(bundle: Bundle, class_config: ClassConfig, source: Any, options: ModelOptions) -> Model:
    for transformer in source.transformers:
        transformer.update_root(str(bundle.folder))
    return Model(
        learner=_load_learner(bundle),
        channel_order=source.channel_order,
        transformers=[t.build(channel_order=source.channel_order) for t in source.transformers],
        classes=_label_classes(class_config),
        null_class=class_config.null_class_id,
        options=options,
    )


def _load_learner(bundle: Bundle) -> Learner:
    config = get_learner_config_from_bundle_dir(str(bundle.model_folder))
    if config.model is not None:
        config.model.pretrained = False  # else torchvision downloads weights that the bundle's own replace
    return Learner.from_model_bundle(
        str(bundle.folder / MODEL_NAME), tmp_dir=str(bundle.folder.parent), cfg=config, training=False
    )


def _label_classes(class_config: ClassConfig) -> tuple[LabelClass, ...]:
    colors = [color_to_triple(c) if isinstance(c, str) else tuple(c) for c in class_config.colors or []]
    return tuple(
        LabelClass(i, name, bytes(int(part) for part in color[:3]).hex().upper())
        for i, (name, color) in enumerate(zip(class_config.names, colors, strict=True))
    )
