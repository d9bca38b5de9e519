"""The `orthostat` command: one parser, one function per command, errors as exit codes."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from orthostat import __version__, scratch, settings
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
from orthostat.errors import ConfigurationError, OrthostatError, OutputError
from orthostat.scratch import remove_leftovers

_COMMANDS = (predict, bundle, serve, tabulate, estimate, statistics, pipelines, scenes, step, local)
_USAGE = 2
_GRACE_SECONDS = 10
"""How long an end by a signal may take; Kubernetes kills after 30."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. Each module of this package adds its own subcommand."""
    parser = argparse.ArgumentParser(
        prog="orthostat",
        description="Official statistics from satellite and aerial images.",
        epilog="Exit code: 0 done, 1 failed (the reason is on stderr), 2 wrong usage or configuration; "
        "of `step` also 65: another try would fail alike.",
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
        signal.signal(signal.SIGTERM, end)
    remove_leftovers()
    try:
        _show(arguments.run(arguments))
    except OrthostatError as error:
        _show(error.result)
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, ConfigurationError):
            return _USAGE
        # Airflow asks a step's exit code whether to try it again.
        return os.EX_DATAERR if error.is_final and arguments.command == "step" else 1
    except Exception as error:
        print(f"error: {describe_defect(error)}", file=sys.stderr)
        if settings.is_debugged():
            traceback.print_exc()
        return os.EX_SOFTWARE
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


def describe_defect(error: Exception) -> str:
    """What no part of Orthostat foresaw, and where, in words for the user."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno}); this is a "
        "defect of Orthostat: please report it with the command, and with ORTHOSTAT_DEBUG=1 its traceback"
    )


def end(number: int, frame: FrameType | None) -> None:
    """Leave by way of every `finally`; at once where a thread, such as a download, would be waited for."""
    timer = threading.Timer(_GRACE_SECONDS, scratch.leave, (128 + number,))
    timer.daemon = True
    timer.start()
    sys.exit(128 + number)
