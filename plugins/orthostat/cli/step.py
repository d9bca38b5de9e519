"""Placeholder of `orthostat step` until its owner writes it."""

import argparse
from typing import Any


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    commands.add_parser("step")
