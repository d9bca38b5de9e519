"""`orthostat pipelines`: check pipeline files before Airflow sees them."""

import argparse
from pathlib import Path
from typing import Any

from orthostat.errors import ConfigurationError


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "pipelines", help="check pipeline files", description="Work on pipeline files."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="say what is wrong in a pipeline file",
        description="Check one pipeline file, or all of the configured folder; lists every field to correct.",
    )
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a YAML file (default: all of them)"
    )
    check.add_argument(
        "--json", action="store_true", help='print {"valid": [...], "invalid": {FILE: REASON}}'
    )
    check.set_defaults(run=check_files)


def check_files(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """Check the files; raises ConfigurationError with all that is wrong, after the JSON if asked for."""
    from orthostat.pipelines.load import load_pipeline, pipeline_files

    paths = [arguments.file] if arguments.file else pipeline_files()
    valid, invalid = [], {}
    for path in paths:
        try:
            valid.append(load_pipeline(path).name)
        except ConfigurationError as error:
            invalid[str(path)] = str(error)
    if not paths:
        raise ConfigurationError("there is no pipeline file to check; add one, or name it")
    result = {"valid": valid, "invalid": invalid}
    if invalid:
        refusal = ConfigurationError("\n".join(invalid.values()))
        refusal.result = result if arguments.json else None
        raise refusal
    return result if arguments.json else "\n".join(f"{name}: valid" for name in valid)
