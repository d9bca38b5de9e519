"""`orthostat predict`: images with one model bundle, outside any pipeline."""

import argparse
from typing import TYPE_CHECKING, Any

from orthostat.cli.predict_options import add_options, finite, read_options, sha256
from orthostat.errors import SceneError

if TYPE_CHECKING:
    from orthostat.prediction.launch import Launched


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "predict",
        help="predict images with a Raster Vision model bundle",
        description="Predict one or many images with one Raster Vision model bundle, for semantic "
        "segmentation, chip classification or object detection. URIs are s3://BUCKET/KEY or local paths.",
        epilog="The acquisition time in an Item is the file's TIFFTAG_DATETIME (taken as UTC), else the time "
        "when the object was last modified. An image that fails leaves failure.json in place of item.json; "
        "the others are predicted, and the exit code is 1. "
        "Where ORTHOSTAT_ALLOW names an allow-list, only what stands on it is opened, read and written.",
    )
    parser.add_argument("--bundle", required=True, metavar="URI", help="the model bundle, a zip file")
    parser.add_argument(
        "--sha256",
        type=sha256,
        metavar="HEX",
        help="digest that the bundle must have: a bundle is code, and another one is not opened "
        "(default: open it unchecked and log its digest)",
    )
    parser.add_argument(
        "--image", required=True, action="append", metavar="URI", help="an image; give it once per image"
    )
    parser.add_argument(
        "--mosaic",
        action="store_true",
        help="the images are parts of one scene, on one grid; later ones lie on top, the first names it",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="URI",
        help="where item.json, preview.png and labels.tif, cells.parquet or detections.parquet go: "
        "straight under it for one image or a mosaic, else in a folder for each "
        "image, named by the image's stem",
    )
    parser.add_argument(
        "--fill",
        type=finite,
        metavar="VALUE",
        help="pixels with this value in every band hold no data, where the image has neither a nodata tag "
        "nor a mask nor an alpha band (default: every pixel of such an image holds data)",
    )
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list of the STAC Items")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> list[dict[str, Any]] | str:
    """Predict the images; the Items as a list, or as a readable table."""
    from orthostat.prediction.launch import launched_early

    with launched_early() as early:  # it imports while this process does
        return _predict(arguments, early)


def _predict(arguments: argparse.Namespace, early: "Launched") -> list[dict[str, Any]] | str:
    from orthostat.pipelines.allow import read_allow_list
    from orthostat.planning.manifest import Recipe
    from orthostat.prediction.images import predict_images

    allowed = read_allow_list()
    sha256 = arguments.sha256 or allowed.sha256_of(arguments.bundle)
    allowed.require_bundle(arguments.bundle, sha256)
    allowed.require_output(arguments.output)
    for image in arguments.image:
        allowed.require_image(image)
    recipe = Recipe(
        bundle=arguments.bundle,
        sha256=sha256,
        engine=arguments.engine,
        options=read_options(arguments),
        fill=arguments.fill,
    )
    try:
        items = predict_images(
            recipe, arguments.image, arguments.output, is_mosaic=arguments.mosaic, early=early
        )
        return _show(items, arguments.json)
    except SceneError as error:
        error.result = _show(error.result or [], arguments.json)
        raise


def _show(items: list[dict[str, Any]], is_json: bool) -> list[dict[str, Any]] | str:
    return items if is_json else "\n\n".join(_describe(item) for item in items)


def _describe(item: dict[str, Any]) -> str:
    properties = item["properties"]
    (output,) = properties["mlm:output"]
    is_counted = output["name"] == "object_detection"
    numbers = properties["orthostat:counts" if is_counted else "orthostat:histogram"]
    total = sum(numbers.values())
    lines = [
        f"{item['id']}  {properties['datetime']}  {properties['orthostat:valid_fraction']:.1%} valid  "
        f"engine {properties['orthostat:engine']}"
        + ("" if properties["orthostat:is_georeferenced"] else "  NOT GEOREFERENCED"),
        *(f"  {asset['href']}" for name, asset in item["assets"].items() if name != "model"),
    ]
    for entry in output["classification:classes"]:
        number = numbers.get(str(entry["value"]), 0)
        share = number / total if total else 0.0
        unit = "objects" if is_counted else "pixels"
        lines.append(f"  {entry['value']:>3}  {entry['name']:<24} {number:>12} {unit}  {share:>6.1%}")
    return "\n".join(lines)
