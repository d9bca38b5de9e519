"""The `orthostat` command: one parser, one function per command, errors as exit codes."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from orthostat import __version__
from orthostat.cli import (
    bundle,
    estimate,
    local,
    pipelines,
    predict,
    scenes,
    serve,
    statistics,
    step,
    tabulate,
)
from orthostat.errors import OrthostatError, OutputError

_COMMANDS = (predict, bundle, serve, tabulate, estimate, statistics, pipelines, scenes, step, local)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. Each module of this package adds its own subcommand."""
    parser = argparse.ArgumentParser(
        prog="orthostat",
        description="Official statistics from satellite and aerial images.",
        epilog="Exit code: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"orthostat {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("orthostat").setLevel(logging.INFO)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    try:
        _show(arguments.run(arguments))
    except OrthostatError as error:
        _show(error.result)
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _show(result: Any) -> None:
    """Print a result. Raises OutputError where stdout takes none."""
    if result is None:
        return
    try:
        print(result if isinstance(result, str) else json.dumps(result, allow_nan=False), flush=True)
    except OSError as error:
        # What is left in the buffer would fail once more at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"the result cannot be written ({error.strerror}); nothing reads it") from error


def _end(number: int, frame: FrameType | None) -> None:
    """Leave by way of every `finally`, so that no scratch folder stays behind."""
    sys.exit(128 + number)
