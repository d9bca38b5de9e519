"""`orthostat bundle`: what a model bundle is, and its ONNX model."""

import argparse
from typing import Any

from orthostat.cli.predict_options import sha256
from orthostat.scratch import scratch_folder


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser("bundle", help="look into a model bundle, or add its ONNX model")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser(
        "show",
        help="say what a bundle does and which engines can run it",
        description="Say what a Raster Vision model bundle does and which engines can run it. None of its "
        "code is run.",
    )
    add = actions.add_parser(
        "add-onnx",
        help="add the ONNX model that the engine onnx runs",
        description="Export the network of a Raster Vision model bundle to ONNX with Raster Vision's own "
        "exporter, run both engines on an image, and write the new bundle if they agree. Needs both engines. "
        "A bundle is code, which is run.",
    )
    describe = actions.add_parser(
        "describe",
        help="draft the model card",
        description="Draft the model card, a STAC Item of the machine-learning-model extension, from what "
        "the bundle says. Fill in what is null (sensor, pixel size, names of the bands, licence, training "
        "data), store it beside the bundle and name it as `model.card` in the pipeline file.",
    )
    for action in (show, add, describe):
        action.add_argument("bundle", metavar="BUNDLE", help="URI of the model bundle, a zip file")
        action.add_argument("--sha256", type=sha256, metavar="HEX", help="digest that the bundle must have")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=run_show)
    describe.set_defaults(run=run_describe)
    add.add_argument("--image", required=True, metavar="URI", help="an image to compare the engines on")
    add.add_argument("--output", required=True, metavar="URI", help="where the new bundle goes")
    add.add_argument("--fill", type=float, metavar="VALUE", help="as for `orthostat predict`")
    add.add_argument(
        "--limit",
        type=float,
        default=0.001,
        metavar="SHARE",
        help="share of pixels, cells or boxes that may differ, and the most by which a score may "
        "(default: 0.001; scores of pixels are compared in steps of 1/254, of which one is always allowed)",
    )
    add.set_defaults(run=run_add)


def run_show(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """What the bundle says of itself."""
    from orthostat.pipelines.options import PredictOptions
    from orthostat.prediction.description import describe_bundle
    from orthostat.prediction.engines.choice import ENGINES, choose_engine
    from orthostat.prediction.fetch import fetch_bundle
    from orthostat.prediction.options import resolve_options

    with scratch_folder() as folder:
        bundle = fetch_bundle(arguments.bundle, arguments.sha256, folder)
        model = describe_bundle(bundle)
        options = resolve_options(model, PredictOptions(), bundle.uri)
    reasons = {name: kind.why_not(model, options) for name, kind in ENGINES.items()}
    usable = [name for name, reason in reasons.items() if reason is None]
    shown = {
        "bundle": bundle.uri,
        "sha256": bundle.sha256,
        "task": model.task,
        "network": model.network,
        "classes": {c.class_id: c.name for c in model.classes},
        "bands": "all but alpha" if options.channel_order is None else [i + 1 for i in options.channel_order],
        "channels": model.channels,
        "transforms": [t.get("type_hint") for t in model.transformers],
        "image_size": model.image_size,
        "options": options.told(model.task),
        "engines": {
            name: {"can": reason is None, "why_not": reason, "installed": ENGINES[name].is_installed}
            for name, reason in reasons.items()
        },
        "auto": choose_engine("auto", model, options, bundle.uri) if usable else None,
    }
    return shown if arguments.json else _told(shown)


def run_describe(arguments: argparse.Namespace) -> str:
    """The draft of the model card."""
    from orthostat import storage
    from orthostat.pipelines.options import PredictOptions
    from orthostat.prediction.card import draft_card
    from orthostat.prediction.description import describe_bundle
    from orthostat.prediction.fetch import fetch_bundle
    from orthostat.prediction.options import resolve_options

    with scratch_folder() as folder:
        bundle = fetch_bundle(arguments.bundle, arguments.sha256, folder)
        model = describe_bundle(bundle)
        card = draft_card(bundle, model, resolve_options(model, PredictOptions(), bundle.uri))
    return storage.dump_json(card).decode().rstrip()


def run_add(arguments: argparse.Namespace) -> str:
    """Add the ONNX model."""
    from orthostat.prediction.add_onnx import add_onnx

    added = add_onnx(
        *(arguments.bundle, arguments.sha256, arguments.image, arguments.output, arguments.limit),
        fill=arguments.fill,
    )
    return f"{arguments.output}\n  sha256 {added.sha256}\n  {added.difference.told}"


def _told(shown: dict[str, Any]) -> str:
    lines = []
    for name, value in shown.items():
        if name == "engines":
            value = "; ".join(
                f"{engine}: {'can run it' if found['can'] else found['why_not']}"
                f"{'' if found['installed'] else ' (not installed here)'}"
                for engine, found in value.items()
            )
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {entry}" for key, entry in value.items())
        elif isinstance(value, list):
            value = ", ".join(str(entry) for entry in value) or "none"
        lines.append(f"{name:<11} {value}")
    return "\n".join(lines)
