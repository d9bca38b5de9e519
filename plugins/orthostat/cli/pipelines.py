"""`orthostat pipelines`: check pipeline files before Airflow sees them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthostat.errors import ClusterError, ConfigurationError

if TYPE_CHECKING:
    from orthostat.pipelines.config import Pipeline


_NOT_ASKED = "; the cluster was not asked, as 'runner: process' starts no pods"


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
        "--cluster",
        action="store_true",
        help="also ask the cluster of KUBECONFIG, or of this pod, whether it would take the pipelines' pods",
    )
    check.add_argument(
        "--json", action="store_true", help='print {"valid": [...], "invalid": {FILE: REASON}}'
    )
    check.set_defaults(run=check_files)


def check_files(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """Check the files; raises ConfigurationError with all that is wrong, after the JSON if asked for."""
    from orthostat.pipelines.load import load_all, load_pipeline, pipeline_files
    from orthostat.pipelines.outputs import require_separate_output

    paths = [arguments.file] if arguments.file else pipeline_files()
    others = list(load_all(None, *(path.parent for path in paths[:1])))
    valid, invalid, told = [], {}, []
    for path in paths:
        try:
            pipeline = load_pipeline(path)
            require_separate_output(pipeline, others)
            has_pods = pipeline.runner == "kubernetes"
            if arguments.cluster and has_pods:
                _ask_cluster(pipeline)
            valid.append(pipeline.name)
            told.append(f"{pipeline.name}: valid{_NOT_ASKED if arguments.cluster and not has_pods else ''}")
        except ConfigurationError as error:
            invalid[str(path)] = str(error)
    if not paths:
        raise ConfigurationError("there is no pipeline file to check; add one, or name it")
    result = {"valid": valid, "invalid": invalid}
    if invalid:
        refusal = ConfigurationError("\n".join(invalid.values()))
        refusal.result = result if arguments.json else None
        raise refusal
    return result if arguments.json else "\n".join(told)


def _ask_cluster(pipeline: "Pipeline") -> None:
    """Raises ConfigurationError when pods would be refused, ClusterError when nobody answers."""
    from kubernetes import config
    from kubernetes.client import ApiClient

    from orthostat.cluster.preflight import check_cluster

    try:
        config.load_config()
    except (config.ConfigException, OSError) as error:
        raise ClusterError(f"no cluster is known here ({error}); set KUBECONFIG to its file") from error
    with ApiClient() as api:
        problems = check_cluster(api, pipeline.resources)
    if problems:
        raise ConfigurationError("\n".join([f"{pipeline.name}: {problem}" for problem in problems]))
