"""The warm model: Raster Vision's learner, its transformers and its sliding window, fed by our reader."""

import logging
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import torch
from numpy.typing import NDArray
from rastervision.core.box import Box
from rastervision.core.data import (
    ClassConfig,
    RasterioSourceConfig,
    SceneConfig,
    SemanticSegmentationLabelStoreConfig,
)
from rastervision.core.data.label.utils import discard_prediction_edges
from rastervision.core.data.raster_transformer.utils import get_transformed_num_channels
from rastervision.core.data.utils import color_to_triple
from rastervision.core.rv_pipeline import SemanticSegmentationConfig, SemanticSegmentationPredictOptions
from rastervision.core.utils import calculate_required_padding
from rastervision.pipeline import rv_config_
from rastervision.pipeline.config import build_config, upgrade_config
from rastervision.pipeline.verbosity import Verbosity
from rastervision.pytorch_learner import SemanticSegmentationSlidingWindowGeoDataset
from rastervision.pytorch_learner.learner import Learner
from rastervision.pytorch_learner.utils import get_learner_config_from_bundle_dir

from orthostat import storage
from orthostat.errors import BundleError, SceneError
from orthostat.prediction.bundle import CONFIG_NAME, MODEL_NAME, Bundle
from orthostat.prediction.item import LabelClass
from orthostat.prediction.merge import Labels, Merge
from orthostat.prediction.read import Area, Image

log = logging.getLogger(__name__)

_MOST_CLASSES = 254
"""254 and 255 mean unobserved and nodata in class rasters."""


class Model:
    """A loaded model that labels one image after another."""

    def __init__(
        self,
        learner: Learner,
        source: RasterioSourceConfig,
        class_config: ClassConfig,
        options: SemanticSegmentationPredictOptions,
        is_smooth: bool,
    ):
        self._learner = learner
        self._channel_order: list[int] | None = source.channel_order
        self._transformers = [t.build(channel_order=source.channel_order) for t in source.transformers]
        self._options = options
        self._chip_transform, _ = learner.cfg.data.get_data_transforms()
        self._merge = Merge(
            len(class_config), class_config.null_class_id, is_smooth, options.batch_sz * options.chip_sz
        )
        self.classes = _label_classes(class_config)
        self.software = {"rastervision": version("rastervision-core"), "torch": torch.__version__}

    @property
    def options(self) -> dict[str, int]:
        """What was used, for the Item."""
        return {"chip_size": self._options.chip_sz, "batch_size": self._options.batch_sz}

    def check(self, image: Image, name: str) -> None:
        """Raises SceneError when the image has not the bands that the model takes."""
        if self._channel_order is not None and max(self._channel_order) >= image.bands:
            raise SceneError(
                f"{name} has {image.bands} band(s), the model reads bands "
                f"{[channel + 1 for channel in self._channel_order]}; upload an image with all of them"
            )
        given = get_transformed_num_channels(self._transformers, len(self._channels(image)))
        taken = self._learner.cfg.data.img_channels or 3
        if given != taken:
            raise SceneError(
                f"{name} gives the model {given} channel(s), it takes {taken}; "
                "upload an image with the bands that the model was trained on"
            )

    def label(self, image: Image) -> Iterator[Labels]:
        """Final class ids of the whole image, in areas that do not overlap and leave nothing out.

        Windows, their order, batches and transforms are those of Raster Vision's predict_scene_ss
        (pytorch_learner/utils/prediction.py), so that even floating-point results are the same.
        """
        size, stride, crop = self._options.chip_sz, self._options.stride, self._options.crop_sz
        dataset = SemanticSegmentationSlidingWindowGeoDataset(
            _Scene(image, self._channels(image), self._transformers, (self._options.batch_sz - 1) * stride),
            size=size,
            stride=stride,
            transform=self._chip_transform,
            **self._padding(image),
        )
        predictions = self._learner.predict_dataset(
            dataset,
            raw_out=self._merge.is_smooth,
            numpy_out=True,
            predict_kw={"out_shape": (size, size)},
            dataloader_kw={
                "batch_size": self._options.batch_sz,
                "num_workers": 0,
                "pin_memory": torch.cuda.is_available(),
            },
            progress_bar=False,
        )
        if crop is None and stride == size:
            return self._merge.separate(dataset.windows, predictions, image.shape)
        windows = dataset.windows
        if crop is not None:
            windows, predictions = discard_prediction_edges(windows, predictions, crop)
        return self._merge.overlapping(windows, predictions, image.shape, size)

    def _channels(self, image: Image) -> list[int]:
        return image.colour_bands if self._channel_order is None else self._channel_order

    def _padding(self, image: Image) -> dict[str, Any]:
        if self._options.crop_sz is None:
            return {}
        size, stride = self._options.chip_sz, self._options.stride
        padding = calculate_required_padding(
            extent_sz=image.shape,
            chip_sz=(size, size),
            stride=(stride, stride),
            pad_direction="both",
            crop_sz=self._options.crop_sz,
        )
        return {"padding": padding, "pad_direction": "both"}


class _Scene:
    """What Raster Vision's sliding window asks of a scene, answered from blocks."""

    aoi_polygons_bbox_coords: tuple[()] = ()

    def __init__(self, image: Image, channels: list[int], transformers: list[Any], ahead: int):
        self._image = image
        self._channels = channels
        self._transformers = transformers
        self._ahead = ahead
        self.extent = Box(0, 0, *image.shape)

    def __getitem__(self, window: Box) -> tuple[NDArray[Any], None]:
        area = Area(window.ymin, window.xmin, window.ymax, window.xmax)
        chip = self._image.chip(area, self._channels, self._ahead)
        for transformer in self._transformers:
            chip = transformer.transform(chip)
        return chip, None


def load_model(bundle: Bundle, chip_size: int | None, batch_size: int | None) -> Model:
    """Load the bundle's model once, on the GPU when torch sees one, and without touching the network.

    `chip_size` and `batch_size` replace the bundle's own. Raises BundleError when the bundle is not for semantic
    segmentation, cannot be loaded, or its options leave pixels without a prediction.
    """
    rv_config_.set_tmp_dir_root(str(bundle.folder.parent))
    rv_config_.set_verbosity(Verbosity.QUIET)
    logging.getLogger("rastervision").propagate = False
    try:
        config = _read_config(bundle)
    except Exception as error:  # whatever Raster Vision's parsing raises, the bundle is what is wrong
        raise BundleError(
            f"Raster Vision {version('rastervision-core')} cannot read {CONFIG_NAME} of {bundle.uri} ({error}); "
            "bundle the model again with this version"
        ) from error
    scene = _check_config(config, bundle.uri)
    for transformer in scene.raster_source.transformers:
        transformer.update_root(str(bundle.folder))
    options = _resolve_options(config.predict_options, chip_size, batch_size)
    try:
        learner = _load_learner(bundle)
        model = Model(
            learner,
            scene.raster_source,
            config.dataset.class_config,
            options,
            scene.label_store.smooth_output,
        )
    except Exception as error:  # a bundle's code can raise anything
        raise BundleError(
            f"Raster Vision cannot load the model of {bundle.uri} ({type(error).__name__}: {error}); "
            "check that `rastervision predict` runs with this bundle"
        ) from error
    log.info("model of %s loaded on %s", bundle.uri, learner.device)
    return model


def _read_config(bundle: Bundle) -> Any:
    written = storage.read_json(str(bundle.folder / CONFIG_NAME))
    rv_config_.set_everett_config(config_overrides=written.get("rv_config"))
    return build_config(upgrade_config(written))


def _check_config(config: Any, uri: str) -> SceneConfig:
    """The scene whose reading and label store are used, as Raster Vision's Predictor does: the first validation one."""
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
    store = scene.label_store
    if not isinstance(scene.raster_source, RasterioSourceConfig) or not isinstance(
        store, SemanticSegmentationLabelStoreConfig
    ):
        raise BundleError(
            f"bundle {uri} reads with {type(scene.raster_source).__name__} and writes with {type(store).__name__}; "
            "only RasterioSourceConfig and SemanticSegmentationLabelStoreConfig can be predicted"
        )
    config.dataset.class_config.ensure_null_class()
    classes = len(config.dataset.class_config)
    if classes > _MOST_CLASSES:
        raise BundleError(f"bundle {uri} has {classes} classes, at most {_MOST_CLASSES} fit a class raster")
    return scene


def _resolve_options(
    own: SemanticSegmentationPredictOptions | None, chip_size: int | None, batch_size: int | None
) -> SemanticSegmentationPredictOptions:
    """The bundle's own options; another chip size goes without its overlap and crop, which belong to its own."""
    options = own or SemanticSegmentationPredictOptions()
    if chip_size is not None and chip_size != options.chip_sz:
        log.info("chip size %d replaces the bundle's %d", chip_size, options.chip_sz)
        options = SemanticSegmentationPredictOptions(chip_sz=chip_size, batch_sz=options.batch_sz)
    if options.stride > options.chip_sz:
        raise BundleError(
            f"the bundle's stride {options.stride} is larger than its chips ({options.chip_sz}), which leaves "
            "pixels unpredicted; give another chip size"
        )
    if batch_size is not None:
        options.batch_sz = batch_size
    return options


def _load_learner(bundle: Bundle) -> Learner:
    config = get_learner_config_from_bundle_dir(str(bundle.model_folder))
    if config.model is not None:
        config.model.pretrained = False  # else torchvision downloads weights that the bundle's own replace
    return Learner.from_model_bundle(
        str(bundle.folder / MODEL_NAME), tmp_dir=str(bundle.folder.parent), cfg=config, training=False
    )


def _label_classes(class_config: ClassConfig) -> tuple[LabelClass, ...]:
    colors = [color_to_triple(c) if isinstance(c, str) else tuple(c) for c in class_config.colors]
    return tuple(
        LabelClass(i, name, bytes(int(part) for part in color[:3]).hex())
        for i, (name, color) in enumerate(zip(class_config.names, colors, strict=True))
    )
