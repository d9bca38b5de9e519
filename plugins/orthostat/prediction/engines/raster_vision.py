"""The engine raster-vision: torch and Raster Vision's own learner, for whatever its command takes."""

import json
import logging
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rastervision.core.data.raster_transformer.stats_transformer import StatsTransformer
from rastervision.core.data.raster_transformer.utils import get_transformed_num_channels
from rastervision.pipeline import rv_config_
from rastervision.pipeline.config import build_config, upgrade_config
from rastervision.pytorch_learner.dataset.dataset import AlbumentationsDataset
from rastervision.pytorch_learner.dataset.transform import TransformType
from rastervision.pytorch_learner.learner import Learner
from rastervision.pytorch_learner.utils import get_learner_config_from_bundle_dir

from orthostat.errors import BundleError
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import CONFIG_NAME, MODEL_NAME, Bundle
from orthostat.prediction.description import Description, describe
from orthostat.prediction.engines.engine import Boxes, Confidence, require_numbers
from orthostat.prediction.options import ModelOptions, resolve_options

_TRANSFORM_TYPES = {
    "semantic_segmentation": TransformType.semantic_segmentation,
    "chip_classification": TransformType.classification,
    "object_detection": TransformType.object_detection,
}


def open_engine(bundle: Bundle, wanted: PredictOptions, threads: int) -> "RasterVisionEngine":
    """Load the bundle's model, on the GPU when torch sees one, and without touching the network.

    Raises BundleError when it cannot be loaded, or the options leave pixels out.
    """
    torch.set_num_threads(threads)
    rv_config_.set_tmp_dir_root(str(bundle.folder.parent))
    logging.getLogger("rastervision").setLevel(logging.WARNING)
    logging.getLogger("rastervision").propagate = False  # it has a handler of its own
    try:
        config = _read_config(bundle)
        learner_config = get_learner_config_from_bundle_dir(str(bundle.model_folder))
        description = describe(config.dict(), learner_config.dict(), bundle)
        transformers = _build_transformers(config, bundle, wanted)
        learner = _load_learner(bundle, learner_config)
    except BundleError:
        raise
    except Exception as error:  # a bundle's code can raise anything
        raise BundleError(
            f"Raster Vision {version('rastervision-core')} cannot load the model of {bundle.uri} "
            f"({type(error).__name__}: {error}); check that `rastervision predict` runs with this bundle, or "
            "bundle the model again with this version"
        ) from error
    return RasterVisionEngine(
        description, resolve_options(description, wanted, bundle.uri), learner, transformers
    )


class RasterVisionEngine:
    """A learner of Raster Vision with its transformers."""

    def __init__(
        self, description: Description, options: ModelOptions, learner: Learner, transformers: list[Any]
    ):
        self.description = description
        self.confidence = Confidence()
        self.options = options
        self.software = {"rastervision": version("rastervision-core"), "torch": torch.__version__}
        self.device = str(learner.device)
        self.learner = _as_any(learner)
        self.learner.prob_to_pred = _Checked(self.learner.prob_to_pred, self.confidence)
        self._transformers = transformers
        transform, _ = learner.cfg.data.get_data_transforms()
        self._dataset = AlbumentationsDataset(
            _Identity(), transform=transform, transform_type=_TRANSFORM_TYPES[description.task]
        )
        self._shape = (options.chip_size, options.chip_size)
        model: Any = learner.model
        model.eval()

    def channels(self, given: int) -> int:
        """Channels of a chip of `given` bands after Raster Vision's transformers."""
        try:
            return int(get_transformed_num_channels(self._transformers, given))
        except ValueError as error:
            raise BundleError(f"the model's transformers do not take {given} band(s): {error}") from error

    def use_statistics(self, means: list[float], deviations: list[float]) -> None:
        """Scale by these statistics, one of each per channel, instead of the bundle's."""
        self._transformers = [
            StatsTransformer(means, deviations, t.max_stds) if isinstance(t, StatsTransformer) else t
            for t in self._transformers
        ]

    def prepare(self, chip: NDArray[Any]) -> NDArray[np.float32]:
        """Raster Vision's transformers, then what its datasets do to a chip."""
        for transformer in self._transformers:
            chip = transformer.transform(chip)
        # In another layout, torch would round differently than on what Raster Vision's data loader gives it.
        return np.ascontiguousarray(self._dataset[chip][0].numpy())

    def segment(self, chips: NDArray[np.float32], *, scores: bool) -> NDArray[Any]:
        """Class ids, or scores."""
        found: Any = self.learner.predict(torch.from_numpy(chips), raw_out=scores, out_shape=self._shape)
        labels: NDArray[Any] = found.numpy()
        require_numbers(not np.isnan(labels).any())
        if scores:
            self._note(labels)
        return labels if scores else labels.astype(np.uint8)

    def classify(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output."""
        output: NDArray[np.float32] = self.learner.predict(torch.from_numpy(chips), raw_out=True).numpy()
        require_numbers(not np.isnan(output).any())
        self._note(torch.softmax(torch.from_numpy(output), 1).numpy())
        return output

    def _note(self, probabilities: NDArray[np.float32]) -> None:
        best = probabilities.max(axis=1)
        self.confidence.add(float(best.sum(dtype=np.float64)), best.size)

    def detect(self, chips: NDArray[np.float32]) -> list[Boxes]:
        """The objects in each chip."""
        found: Any = self.learner.predict(torch.from_numpy(chips), raw_out=True, out_shape=self._shape)
        return [
            Boxes(boxes["boxes"], boxes["class_ids"], boxes["scores"])
            for boxes in self.learner.output_to_numpy(found)
        ]


def _as_any(learner: Learner) -> Any:
    """Its subclasses take more than it declares."""
    return learner


class _Checked:
    """From probabilities to classes, as the learner's own, which takes NaN for the first class."""

    def __init__(self, learners: Any, confidence: Confidence):
        self._learners = learners
        self._confidence = confidence

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        require_numbers(not bool(torch.isnan(probabilities).any()))
        best = probabilities.amax(1)
        self._confidence.add(float(best.double().sum()), best.numel())
        classes: torch.Tensor = self._learners(probabilities)
        return classes


class _Identity:
    """A dataset whose indices are its chips."""

    def __getitem__(self, chip: NDArray[Any]) -> tuple[NDArray[Any], None]:
        return chip, None


def _read_config(bundle: Bundle) -> Any:
    written = json.loads((bundle.folder / CONFIG_NAME).read_bytes())
    rv_config_.set_everett_config(config_overrides=written.get("rv_config"))
    upgraded: Any = upgrade_config(written)
    config: Any = build_config(upgraded)
    return config


def _build_transformers(config: Any, bundle: Bundle, wanted: PredictOptions) -> list[Any]:
    source = config.dataset.validation_scenes[0].raster_source
    for transformer in source.transformers:
        if wanted.scene_group is not None and hasattr(transformer, "scene_group"):
            transformer.scene_group = wanted.scene_group
        transformer.update_root(str(bundle.folder))
    order = list(wanted.channel_order) if wanted.channel_order is not None else source.channel_order
    return [transformer.build(channel_order=order) for transformer in source.transformers]


def _load_learner(bundle: Bundle, config: Any) -> Learner:
    if config.model is not None:
        config.model.pretrained = False  # else torchvision downloads weights that the bundle's own replace
    learner: Learner = Learner.from_model_bundle(
        str(bundle.folder / MODEL_NAME), tmp_dir=str(bundle.folder.parent), cfg=config, training=False
    )
    return learner
