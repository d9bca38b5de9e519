"""The warm model: Raster Vision's learner, its transformers and its sliding window, fed by our reader."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from numpy.typing import NDArray
from rastervision.core.box import Box
from rastervision.core.data.label.utils import discard_prediction_edges
from rastervision.core.data.raster_transformer.raster_transformer import RasterTransformer
from rastervision.core.data.raster_transformer.utils import get_transformed_num_channels
from rastervision.core.utils import calculate_required_padding
from rastervision.pytorch_learner.dataset.semantic_segmentation_dataset import (
    SemanticSegmentationSlidingWindowGeoDataset,
)
from rastervision.pytorch_learner.learner import Learner

from orthostat.errors import SceneError
from orthostat.prediction.item import LabelClass
from orthostat.prediction.merge import Labels, Merge
from orthostat.prediction.read import Area, Image


@dataclass(frozen=True)
class ModelOptions:
    """How a model goes over an image."""

    chip_size: int
    """Side of the window in pixels."""
    stride: int
    """Pixels from one window to the next; windows overlap where it is smaller than they are."""
    crop_size: int | None
    """Pixels at each edge of a window whose prediction is thrown away."""
    batch_size: int
    """Chips that go through the model together."""
    is_smooth: bool
    """Overlapping windows average their scores instead of counting votes."""


@dataclass(frozen=True)
class Model:
    """A loaded model that labels one image after another."""

    learner: Learner
    channel_order: list[int] | None
    """Bands of the image that are read, from 0; None for all but alpha."""
    transformers: list[RasterTransformer]
    """What happens to a chip after it is read."""
    classes: tuple[LabelClass, ...]
    null_class: int
    options: ModelOptions

    @property
    def software(self) -> dict[str, str]:
        """Versions of what computes the labels."""
        return {"rastervision": version("rastervision-core"), "torch": torch.__version__}

    def check(self, image: Image) -> None:
        """Raises SceneError when the image has not the bands that the model takes."""
        if self.channel_order is not None and max(self.channel_order) >= image.bands:
            raise SceneError(
                f"{image.name} has {image.bands} band(s), the model reads bands "
                f"{[channel + 1 for channel in self.channel_order]}; upload an image with all of them"
            )
        given = get_transformed_num_channels(self.transformers, len(self._channels(image)))
        taken = self.learner.cfg.data.img_channels or 3
        if given != taken:
            raise SceneError(
                f"{image.name} gives the model {given} channel(s), it takes {taken}; "
                "upload an image with the bands that the model was trained on"
            )

    def label(self, image: Image) -> Iterator[Labels]:
        """Final class ids of the whole image, in areas that do not overlap and leave nothing out.

        Windows, their order, batches and transforms are those of Raster Vision's predict_scene_ss
        (pytorch_learner/utils/prediction.py), so that even floating-point results are the same.
        Raises SceneError when the image cannot be decoded.
        """
        options, size = self.options, self.options.chip_size
        chip_transform, _ = self.learner.cfg.data.get_data_transforms()
        make_dataset: Any = SemanticSegmentationSlidingWindowGeoDataset
        dataset = make_dataset(
            _Scene(
                image, self._channels(image), self.transformers, (options.batch_size - 1) * options.stride
            ),
            size=size,
            stride=options.stride,
            transform=chip_transform,
            **self._padding(image),
        )
        predictions: Iterator[Any] = self.learner.predict_dataset(
            dataset,
            raw_out=options.is_smooth,
            numpy_out=True,
            predict_kw={"out_shape": (size, size)},
            dataloader_kw={
                "batch_size": options.batch_size,
                "num_workers": 0,
                "pin_memory": torch.cuda.is_available(),
            },
            progress_bar=False,
        )
        merge = Merge(len(self.classes), self.null_class, options.is_smooth, options.batch_size * size)
        if options.crop_size is None and options.stride == size:
            return merge.separate(dataset.windows, predictions, image.shape)
        windows = dataset.windows
        if options.crop_size is not None:
            windows, predictions = discard_prediction_edges(windows, predictions, options.crop_size)
        return merge.overlapping(windows, predictions, image.shape, size)

    def _channels(self, image: Image) -> list[int]:
        return image.colour_bands if self.channel_order is None else self.channel_order

    def _padding(self, image: Image) -> dict[str, Any]:
        if self.options.crop_size is None:
            return {}
        size, stride = self.options.chip_size, self.options.stride
        padding = calculate_required_padding(
            extent_sz=image.shape,
            chip_sz=(size, size),
            stride=(stride, stride),
            pad_direction="both",
            crop_sz=self.options.crop_size,
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
