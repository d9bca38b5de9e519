"""`orthostat predict`: images with one model bundle, outside any pipeline."""

import argparse
import re
from typing import Any

from orthostat.errors import SceneError


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "predict",
        help="predict images with a Raster Vision model bundle",
        description="Predict one or many images with one Raster Vision model bundle for semantic "
        "segmentation. URIs are s3://BUCKET/KEY or local paths.",
        epilog="The acquisition time in an Item is the file's TIFFTAG_DATETIME (taken as UTC), else the time "
        "when the object was last modified. An image that fails leaves failure.json in place of item.json; "
        "the others are predicted, and the exit code is 1.",
    )
    parser.add_argument("--bundle", required=True, metavar="URI", help="the model bundle, a zip file")
    parser.add_argument(
        "--sha256",
        type=_sha256,
        metavar="HEX",
        help="digest that the bundle must have: a bundle is code, and another one is not opened "
        "(default: open it unchecked and log its digest)",
    )
    parser.add_argument(
        "--image", required=True, action="append", metavar="URI", help="an image; give it once per image"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="URI",
        help="where labels.tif and item.json go: straight under it for one image, else in a folder for each "
        "image, named by the image's stem",
    )
    parser.add_argument(
        "--fill",
        type=float,
        metavar="VALUE",
        help="pixels with this value in every band hold no data, where the image has neither a nodata tag "
        "nor a mask nor an alpha band (default: every pixel of such an image holds data)",
    )
    parser.add_argument(
        "--chip-size",
        type=_positive,
        metavar="N",
        help="side of the model's window in pixels (default: the bundle's)",
    )
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="chips that go through the model together (default: the bundle's)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of the STAC Items")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> list[dict[str, Any]] | str:
    """Predict the images; the Items as a list, or as a readable table."""
    from orthostat.prediction.batch import Recipe
    from orthostat.prediction.images import predict_images

    recipe = Recipe(
        arguments.bundle, arguments.sha256, arguments.chip_size, arguments.batch_size, arguments.fill
    )
    try:
        return _show(predict_images(recipe, arguments.image, arguments.output), arguments.json)
    except SceneError as error:
        error.result = _show(error.result or [], arguments.json)
        raise


def _show(items: list[dict[str, Any]], is_json: bool) -> list[dict[str, Any]] | str:
    return items if is_json else "\n\n".join(_describe(item) for item in items)


def _describe(item: dict[str, Any]) -> str:
    properties, labels = item["properties"], item["assets"]["labels"]
    histogram = properties["orthostat:histogram"]
    total = sum(histogram.values())
    lines = [
        f"{item['id']}  {properties['datetime']}  {properties['orthostat:valid_fraction']:.1%} valid",
        f"  {labels['href']}",
    ]
    for entry in labels["classification:classes"]:
        pixels = histogram.get(str(entry["value"]), 0)
        share = pixels / total if total else 0.0
        lines.append(f"  {entry['value']:>3}  {entry['name']:<24} {pixels:>12} pixels  {share:>6.1%}")
    return "\n".join(lines)


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no SHA-256; write its 64 hexadecimal digits")
    return text.lower()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value
