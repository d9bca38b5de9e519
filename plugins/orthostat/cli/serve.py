"""`orthostat serve`: predictions over HTTP."""

import argparse
import logging
from typing import Any

from orthostat.cli.predict_options import sha256

logger = logging.getLogger(__name__)

_EPILOG = """\
POST /predict {"image": "s3://..", "bundle": "s3://..", "sha256": "..", "output": "s3://..", "fill": 0}
  predicts one image ("fill" may be left out) and answers 200 with the STAC Item when labels.tif and item.json
  lie under "output"; else {"error": message} with 403 (bundle not allowed), 404 (no such object), 422
  (request, image or bundle cannot be used), 502 (S3 refused) or 500.
GET /health answers at any time. GET /docs describes the API.

One image is predicted at a time, others wait; the model stays loaded until another bundle is asked for. The
service knows no users: whoever reaches it reads and writes S3 with its credentials and runs the code in the
bundles that it opens. Name these with --sha256 before you let it listen beyond this machine."""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "serve",
        help="predict over HTTP with a warm model",
        description="An HTTP API that predicts images in S3 with Raster Vision model bundles in S3.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="port (default: 8000)")
    parser.add_argument(
        "--sha256",
        action="append",
        default=[],
        type=sha256,
        metavar="HEX",
        help="open only the bundle with this digest; give it once per bundle (default: any bundle)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; a prediction that runs is finished first."""
    import uvicorn

    from orthostat.service.api import make_app

    app = make_app(arguments.sha256)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_config=None)
