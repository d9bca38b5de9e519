"""`orthostat serve`: predictions over HTTP."""

import argparse
import logging
import os
from pathlib import Path
from typing import Any

from orthostat.cli.predict_options import sha256
from orthostat.errors import ConfigurationError

log = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EPILOG = """\
POST /predict {"image": "s3://..", "model": "s3://..", "output": "s3://..", "sha256": "..", "fill": 0}
  predicts one image and answers with the STAC Item when it and its files lie under "output". "sha256" may
  be left out where the allow-list knows the model's address; "bundle" is another name of "model".
Prefer: respond-async gives 201 and a job's address (with --jobs). GET /docs describes the API, which is
also OGC API - Processes. GET /health, /ready and /metrics are for probes. Errors are
application/problem+json.

Jobs are worked on in order of arrival, and small images never wait behind a large one (larger than
ORTHOSTAT_LARGE_MB, 100): at most one large image is predicted at a time, beside small ones. At most
ORTHOSTAT_WARM_MODELS (2) models stay loaded, together with no more than ORTHOSTAT_WARM_MB (half of the
memory). A job whose server has not been heard of for ORTHOSTAT_LEASE_SECONDS (60) is taken up by another.

Without --tokens the service knows no users: whoever reaches it reads and writes S3 with its credentials
and, with the engine raster-vision, runs the code in the bundles that it opens. TLS is the business of
what stands before it."""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "serve",
        help="predict over HTTP with warm models",
        description="An HTTP API that predicts images in S3 with Raster Vision model bundles in S3.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options: list[tuple[str, Any, str, dict[str, Any]]] = [
        ("host", "127.0.0.1", "address to listen on (default: 127.0.0.1)", {"metavar": "ADDRESS"}),
        ("port", 5000, "port (default: 5000)", {"type": _port, "metavar": "N"}),
        (
            "tokens",
            None,
            "bearer tokens, a line each: the token or its SHA-256, then optionally its s3:// prefixes and "
            "the digests of its bundles (default: no tokens, everybody may ask)",
            {"metavar": "FILE"},
        ),
        (
            "sha256",
            [],
            "open only the bundle with this digest; once per bundle (default: those of ORTHOSTAT_ALLOW, else "
            "any)",
            {"action": "append", "type": sha256, "metavar": "HEX"},
        ),
        (
            "allow-prefix",
            [],
            "images and outputs must lie below this prefix; once per prefix (default: those of "
            "ORTHOSTAT_ALLOW, else any)",
            {"action": "append", "type": _prefix, "metavar": "s3://BUCKET/PREFIX/"},
        ),
        (
            "jobs",
            None,
            "where jobs are kept (default: none, no asynchronous ones)",
            {"type": _prefix, "metavar": "s3://BUCKET/PREFIX"},
        ),
        (
            "queue",
            16,
            "jobs that may wait, before others get 429 (default: 16)",
            {"type": _positive, "metavar": "N"},
        ),
        (
            "trusted-host",
            [],
            "name that requests may be sent to; once per name (default: this machine's on loopback, else "
            "any)",
            {"action": "append", "metavar": "HOST"},
        ),
        (
            "engine",
            "auto",
            "what runs the models (default: auto; ORTHOSTAT_ONLY_ENGINE forbids others)",
            {"choices": ["auto", "onnx", "raster-vision"]},
        ),
    ]
    for name, default, text, more in options:
        variable = _variable(name)
        parser.add_argument(
            f"--{name}", default=None, help=f"{text}; environment: {variable}".replace("%", "%%"), **more
        )
        parser.set_defaults(**{f"default_{name.replace('-', '_')}": default})
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    from orthostat import settings
    from orthostat.pipelines.allow import AllowList, read_allow_list
    from orthostat.service.access import Access
    from orthostat.service.api import make_app
    from orthostat.service.jobs import JobStore
    from orthostat.service.models import WarmModels
    from orthostat.service.predictor import Predictor
    from orthostat.service.server import Server
    from orthostat.service.service import Service

    chosen = _read(arguments)
    listed = read_allow_list()
    allowed = AllowList(
        bundles=listed.bundles,
        digests=tuple(chosen["sha256"]) or listed.digests,
        images=tuple(chosen["allow_prefix"]) or listed.images,
        outputs=tuple(chosen["allow_prefix"]) or listed.outputs,
    )
    if chosen["sha256"]:
        allowed = allowed.model_copy(update={"bundles": None})
    if not chosen["tokens"] and chosen["host"] not in _LOOPBACK:
        log.warning(
            "no --tokens: whoever reaches %s:%d may ask for everything", chosen["host"], chosen["port"]
        )
    store = JobStore(chosen["jobs"]) if chosen["jobs"] else None
    if store is not None:
        store.check()
    access = Access(allowed, Path(chosen["tokens"]) if chosen["tokens"] else None)
    models = WarmModels(settings.warm_models(), settings.warm_mb())
    service = Service(
        access,
        Predictor(models, chosen["engine"]),
        models,
        queue=chosen["queue"],
        large_mb=settings.positive("ORTHOSTAT_LARGE_MB", 100),
        store=store,
        lease_seconds=settings.positive("ORTHOSTAT_LEASE_SECONDS", 60),
    )
    hosts = chosen["trusted_host"] or (_LOOPBACK if chosen["host"] in _LOOPBACK else ())
    Server(service, make_app(service, hosts), chosen["host"], chosen["port"]).wait()


def _read(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each option: as given, else of the environment, else its default."""
    parse = {
        "port": _port,
        "queue": _positive,
        "sha256": sha256,
        "allow_prefix": _prefix,
        "jobs": _prefix,
        "engine": _engine,
    }
    chosen = {}
    for option in _OPTIONS:
        name = option.replace("-", "_")
        default, value = getattr(arguments, f"default_{name}"), getattr(arguments, name)
        written = os.environ.get(_variable(option))
        if value is None and written is not None and not written.strip():
            raise ConfigurationError(f"{_variable(option)} is set and empty; give it a value, or unset it")
        if value is None and written:
            read = parse.get(name, str)
            try:
                value = (
                    [read(part) for part in written.split()] if isinstance(default, list) else read(written)
                )
            except argparse.ArgumentTypeError as error:
                raise ConfigurationError(f"{_variable(option)}: {error}") from error
        chosen[name] = default if value is None else value
    return chosen


_OPTIONS = ("host", "port", "tokens", "sha256", "allow-prefix", "jobs", "queue", "trusted-host", "engine")


def _variable(option: str) -> str:
    return f"ORTHOSTAT_SERVE_{option.replace('-', '_').upper()}"


def _port(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port; give a number from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 on")
    return int(text)


def _prefix(text: str) -> str:
    if not text.startswith("s3://") or len(text) <= len("s3://"):
        raise argparse.ArgumentTypeError(f"'{text}' is no prefix in S3; write s3://BUCKET/PREFIX/")
    return text.rstrip("/")


def _engine(text: str) -> str:
    if text not in {"auto", "onnx", "raster-vision"}:
        raise argparse.ArgumentTypeError(f"'{text}' is no engine; give auto, onnx or raster-vision")
    return text
