"""The process in which model and image meet: local files in, local files out, told over one pipe.

It has no credential, no address of S3 or a database, and nothing of the scheduler in its environment. What
the bundle's code prints goes to stderr; the pipe carries JSON alone.
"""

import json
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from orthostat.errors import BundleError, SceneError
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.engines.engine import Engine, open_engine
from orthostat.prediction.facts import BUNDLE, IMAGE
from orthostat.prediction.local import predict_local


def main() -> None:
    """Open the bundle that the first message names, then predict an image per message."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe = Connection(int(sys.argv[1]))
    engine = _open(pipe, json.loads(pipe.recv_bytes()))
    while engine is not None:
        try:
            order = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        _predict(pipe, engine, order)


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
    except BundleError as error:
        _send(pipe, {"bundle_error": str(error)})
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


def _predict(pipe: Connection, engine: Engine, order: dict[str, Any]) -> None:
    def report(share: float) -> None:
        _send(pipe, {"share": share})

    try:
        facts = predict_local(
            engine,
            Path(order["image"]),
            IMAGE,
            order["fill"],
            Path(order["folder"]),
            PredictOptions.model_validate(order["options"]),
            report,
        )
    except (SceneError, BundleError) as error:
        _send(pipe, {"scene_error": str(error)})
    except Exception as error:  # a bundle's code can raise anything, and the parent is to know
        _send(pipe, {"model_error": f"{type(error).__name__}: {error}"})
        raise
    else:
        _send(pipe, {"facts": facts.model_dump(mode="json")})


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


if __name__ == "__main__":
    main()
