"""The process in which model and image meet: local files in, local files out, told over one pipe.

It has no credential, no address of S3 or a database, and nothing of the scheduler in its environment. What
the bundle's code prints goes to stderr; the pipe carries JSON alone. A failure is told by its cause.
"""

import contextlib
import json
import os
import re
import resource
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orthostat.prediction.rasterio_alone  # noqa: F401
from orthostat.errors import BundleError, Cause, LimitError, OrthostatError
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.engines.choice import ENGINES, import_engine, open_engine
from orthostat.prediction.engines.engine import Engine
from orthostat.prediction.facts import BUNDLE, IMAGE
from orthostat.prediction.local import predict_local
from orthostat.scratch import FULL

_BROKEN = re.compile(r"CUDA|cuDNN|cuBLAS|NCCL|HIP error|No space left|Input/output error", re.IGNORECASE)
"""What libraries say of a machine that will not do better with the next image: CUDA's errors are sticky."""
_REPORT_SECONDS = 1.0


def main() -> None:
    """Open the bundle that the first message names, then predict an image per message."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file as large as the memory
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe = Connection(int(sys.argv[1]))
    if not pipe.poll():  # started before it is known which model: what `auto` takes first is loaded meanwhile
        with contextlib.suppress(Exception):  # it fails again, and is told, where this engine is asked for
            import_engine(next(iter(ENGINES)))
    engine = _open(pipe, json.loads(pipe.recv_bytes()))
    report = _Report(pipe)
    while engine is not None:
        try:
            order = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        _predict(pipe, engine, order, report)


def _end_with_parent() -> None:
    """Leave nothing behind when the parent is killed: its end of stdin closes, whatever the model does."""
    os.read(sys.stdin.fileno(), 1)  # a buffered read would hold a lock that the end of the interpreter needs
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _open(pipe: Connection, order: dict[str, Any]) -> Engine | None:
    bundle = Bundle(BUNDLE, order["sha256"], Path(order["folder"]), Path(order["model_folder"]))
    try:
        engine = open_engine(
            order["engine"], bundle, PredictOptions.model_validate(order["options"]), order["threads"]
        )
    except Exception as error:
        cause, reason = _explain(error)
        _send(pipe, {"failed": "bundle" if isinstance(error, BundleError) else cause, "reason": reason})
        return None
    _send(
        pipe,
        {
            "model": engine.description.model_dump(mode="json"),
            "software": engine.software,
            "device": engine.device,
        },
    )
    return engine


class _Report:
    """Tells now and then how much of an image is done; for the first image of all at once."""

    def __init__(self, pipe: Connection):
        self._pipe = pipe
        self._told = float("-inf")

    def __call__(self, share: float) -> None:
        if time.monotonic() - self._told >= _REPORT_SECONDS:
            self._told = time.monotonic()
            _send(self._pipe, {"share": share})


def _predict(pipe: Connection, engine: Engine, order: dict[str, Any], report: _Report) -> None:
    try:
        facts = predict_local(
            engine,
            Path(order["image"]),
            IMAGE,
            order["fill"],
            Path(order["folder"]),
            PredictOptions.model_validate(order["options"]),
            report,
            Limits.model_validate(order["limits"]),
        )
    except Exception as error:  # a bundle's code can raise anything, and the parent is to know
        cause, reason = _explain(error)
        limit = {"limit": error.limit, "allowed": error.allowed} if isinstance(error, LimitError) else {}
        _send(pipe, {"failed": cause, "reason": reason, **limit})
    else:
        _send(pipe, {"facts": facts.model_dump(mode="json")})


def _explain(error: Exception) -> tuple[Cause, str]:
    """What failed, and why: by what it is, and of the libraries' errors by what they say."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, OrthostatError):
        # The bundle was opened; what it cannot do now, it cannot do with this image.
        return ("image" if isinstance(error, BundleError) else error.cause), str(error)
    if isinstance(error, MemoryError):
        return "limit", f"the memory does not suffice ({reason})"
    is_full = isinstance(error, OSError) and error.errno in FULL
    return ("machine" if is_full or _BROKEN.search(reason) else "bundle"), reason


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


if __name__ == "__main__":
    main()
