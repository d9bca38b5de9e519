"""The options of the commands that predict: the engine, and Raster Vision's predict options."""

import argparse
import math
import re
from typing import TYPE_CHECKING

from orthostat.errors import ConfigurationError

if TYPE_CHECKING:
    from orthostat.pipelines.options import PredictOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them; what is left out is the bundle's own."""
    parser.add_argument(
        "--engine",
        choices=["auto", "onnx", "raster-vision"],
        default="auto",
        help="what runs the model: ONNX Runtime on the bundle's model.onnx, or PyTorch and Raster Vision "
        "(default: auto, which takes onnx when the bundle allows it)",
    )
    group = parser.add_argument_group("predict options", "default: the bundle's own")
    group.add_argument("--chip-size", type=int, metavar="N", help="side of the model's window in pixels")
    group.add_argument("--stride", type=int, metavar="N", help="pixels from one window to the next")
    group.add_argument(
        "--crop-size",
        type=int,
        metavar="N",
        help="pixels at each edge of a window whose labels are thrown away (semantic segmentation)",
    )
    group.add_argument("--batch-size", type=int, metavar="N", help="chips that go through the model together")
    group.add_argument(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        help="average the scores of overlapping windows instead of counting votes (semantic segmentation)",
    )
    group.add_argument(
        "--score-threshold",
        type=float,
        metavar="SHARE",
        help="leave out boxes with no higher score (object detection)",
    )
    group.add_argument(
        "--merge-threshold",
        type=float,
        metavar="SHARE",
        help="of boxes whose intersection over union is larger keep the best (object detection)",
    )
    group.add_argument(
        "--channel-order",
        type=_channels,
        metavar="N,N,..",
        help="bands of the image that the model reads, from 0, as `rastervision predict` counts them",
    )
    group.add_argument(
        "--scene-group", metavar="NAME", help="scale pixels by the statistics of this group of the bundle"
    )
    group.add_argument(
        "--update-stats",
        action="store_true",
        help="scale pixels by the image's own statistics, of all pixels that are not 0 (Raster Vision 0.31 "
        "takes such an option, and ignores it)",
    )
    group.add_argument(
        "--scores",
        action="store_true",
        help="write scores.tif, the averaged score of every class; needs --smooth (semantic segmentation)",
    )
    group.add_argument(
        "--polygons",
        action="store_true",
        help="write polygons.parquet, the outlines of the labels (semantic segmentation)",
    )


def read_options(arguments: argparse.Namespace) -> "PredictOptions":
    """What was asked for. Raises ConfigurationError for a value out of range, naming its option."""
    from pydantic import ValidationError

    from orthostat.pipelines.options import PredictOptions

    try:
        return PredictOptions(**{name: getattr(arguments, name) for name in PredictOptions.model_fields})
    except ValidationError as error:
        problems = "; ".join(
            f"--{str(problem['loc'][0]).replace('_', '-')} {problem['input']}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigurationError(f"{problems}; correct it or leave it out") from error


def sha256(text: str) -> str:
    """The argument, if it is a digest."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no SHA-256; write its 64 hexadecimal digits")
    return text.lower()


def finite(text: str) -> float:
    """The argument, if it is a number: NaN is equal to no value."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is no finite number")
    return value


def _channels(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+([ ,]\d+)*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of bands; write e.g. 2,1,0")
    return tuple(int(part) for part in re.split("[ ,]", text))
