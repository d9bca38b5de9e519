"""`orthostat local`: PostgreSQL, an S3 server and Airflow on this machine."""

import argparse
import logging
import os
import shlex
from pathlib import Path
from typing import Any

from orthostat import settings

logger = logging.getLogger(__name__)


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "local",
        help="start and stop the services of one machine",
        description="PostgreSQL, an S3 server and Airflow, on loopback only. State, logs, ports and the "
        "password lie in one folder. The S3 server keeps its objects in memory: they are gone after `down`.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = _add_action(actions, "up", "start what does not run, and wait until all is ready")
    up.set_defaults(run=up_services)
    down = _add_action(actions, "down", "stop everything that `up` started")
    down.set_defaults(run=down_services)
    status = _add_action(actions, "status", "say what runs, and where")
    status.add_argument("--json", action="store_true", help="print JSON instead of a table")
    status.set_defaults(run=show_status)
    env = _add_action(actions, "env", 'print export lines, for eval "$(orthostat local env)"')
    env.set_defaults(run=print_environment)


def up_services(arguments: argparse.Namespace) -> str:
    """Start the services; tells where Airflow is."""
    from orthostat.local import configuration, services

    chosen = services.start(arguments.dir)
    return (
        f"Airflow  {chosen.address}  user {configuration.USER}  password {chosen.password}\n"
        f"S3       {chosen.s3_endpoint}  (in memory: its objects are gone after `orthostat local down`)"
    )


def down_services(arguments: argparse.Namespace) -> str:
    """Stop the services; tells which ran."""
    from orthostat.local import services

    stopped = services.stop(arguments.dir)
    return f"stopped: {', '.join(stopped)}" if stopped else "nothing runs"


def show_status(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """What runs, as JSON or as a table."""
    from orthostat.local import configuration, environment, services

    chosen = configuration.read(arguments.dir)
    report = {
        "services": [
            {"name": one.name, "pid": one.pid, "ready": one.ready, "log": str(one.log_path)}
            for one in services.status(arguments.dir)
        ],
        "airflow": {"address": chosen.address, "user": configuration.USER, "password": chosen.password},
        "s3": chosen.s3_endpoint,
        "database": environment.service_settings(arguments.dir)["ORTHOSTAT_DATABASE_URL"],
    }
    return report if arguments.json else _status_table(report)


def print_environment(arguments: argparse.Namespace) -> str:
    """Export lines that lead a shell's programs to the services."""
    from orthostat.local import environment

    variables = environment.environment(arguments.dir)
    exports = {name: value for name, value in sorted(variables.items()) if os.environ.get(name) != value}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    return "\n".join([f"unset {' '.join(environment.UNWANTED)}", *lines])


def _add_action(actions: "argparse._SubParsersAction[Any]", name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="DIR",
        default=settings.local_dir(),
        help="folder of the services' state (default: %(default)s)",
    )
    return parser


def _status_table(report: dict[str, Any]) -> str:
    rows = [("service", "pid", "state", "log")]
    for service in report["services"]:
        state = "ready" if service["ready"] else "starting" if service["pid"] else "stopped"
        rows.append((service["name"], str(service["pid"] or "-"), state, service["log"]))
    lines = [f"{name:<14}{pid:<9}{state:<10}{log}" for name, pid, state, log in rows]
    airflow = report["airflow"]
    lines += [
        "",
        f"Airflow   {airflow['address']}  user {airflow['user']}  password {airflow['password']}",
        f"S3        {report['s3']}  (in memory: its objects are gone after `orthostat local down`)",
        f"Database  {report['database']}",
    ]
    return "\n".join(lines)
