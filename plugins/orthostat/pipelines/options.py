"""How a model goes over an image: what a user may ask for in place of the bundle's own options."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
EngineChoice = Literal["auto", "onnx", "raster-vision"]


class PredictOptions(BaseModel):
    """Raster Vision's predict options, and what else of its command decides the labels. None: the bundle's.

    A chip size other than the bundle's goes without the overlap and crop of the bundle's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    chip_size: Annotated[int, Field(ge=16)] | None = None
    """Side of the model's window in pixels."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Pixels from one window to the next; windows overlap where it is smaller than they are."""
    crop_size: Annotated[int, Field(ge=0)] | None = None
    """Pixels at each edge of a window whose labels are thrown away (semantic segmentation)."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Chips that go through the model together."""
    smooth: bool | None = None
    """Overlapping windows average their scores instead of counting votes (semantic segmentation)."""
    score_threshold: Share | None = None
    """Boxes with no higher score are left out (object detection)."""
    merge_threshold: Share | None = None
    """Of boxes whose intersection over union is larger, the best is kept (object detection)."""
    channel_order: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Bands of the image that the model reads, from 0."""
    scene_group: str | None = None
    """Group of scenes in the bundle whose statistics scale the pixels."""
    update_stats: bool = False
    """Scale the pixels by the image's own statistics instead of the bundle's."""
    scores: bool = False
    """Write the class scores of every pixel, too (semantic segmentation)."""
    polygons: bool = False
    """Write the outlines of the labelled areas, too (semantic segmentation)."""
