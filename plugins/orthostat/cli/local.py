"""`orthostat local`: PostgreSQL, an S3 server and Airflow on this machine."""

import argparse
import logging
import os
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from orthostat import settings

logger = logging.getLogger(__name__)


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "local",
        help="start and stop the services of one machine",
        description="PostgreSQL, an S3 server and Airflow, on loopback only. State, logs, ports, keys and "
        "the password lie in one folder.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up = _add_action(actions, "up", "start what does not run, and wait until all is ready")
    up.add_argument(
        "--s3",
        choices=["embedded", "environment"],
        help="the S3 server to use: the embedded one, or the one that this shell's AWS_* variables lead to",
    )
    up.add_argument(
        "--postgres",
        metavar="URL",
        help="a PostgreSQL server to use, as postgresql://USER:PASSWORD@HOST:PORT; its user makes the "
        "databases `airflow` and `orthostat` in it and their users, so it needs CREATEDB and CREATEROLE; "
        "or: embedded",
    )
    up.add_argument("--kubeconfig", metavar="FILE", help="the cluster of `runner: kubernetes`; or: none")
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

    _choose(arguments)
    chosen = services.start(arguments.dir)
    return (
        f"Airflow  {chosen.address}  user {configuration.USER}  password {chosen.password}\n"
        f"S3       {chosen.s3_endpoint}{'' if chosen.s3 else '  (its keys: `orthostat local env`)'}"
    )


def down_services(arguments: argparse.Namespace) -> str:
    """Stop the services; tells which ran."""
    from orthostat.local import services

    stopped = services.stop(arguments.dir)
    return f"stopped: {', '.join(stopped)}" if stopped else "nothing runs"


def show_status(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """What runs, as JSON or as a table."""
    from orthostat.local import configuration, postgres, services
    from orthostat.statistics import READER

    chosen = configuration.read(arguments.dir)
    report = {
        "services": [
            {"name": one.name, "pid": one.pid, "ready": one.ready, "log": str(one.log_path)}
            for one in services.status(arguments.dir)
        ],
        "airflow": {"address": chosen.address, "user": configuration.USER, "password": chosen.password},
        "s3": chosen.s3_endpoint,
        "database": postgres.url(arguments.dir, "orthostat", user=READER),
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
        f"S3        {report['s3']}",
        f"Figures   {report['database']}  (to read)",
    ]
    return "\n".join(lines)


def _choose(arguments: argparse.Namespace) -> None:
    """Keep what this start says of servers that are there already; what it does not name stays as it was."""
    from orthostat.errors import ConfigurationError
    from orthostat.local import configuration

    changes: dict[str, Any] = {}
    if arguments.s3 is not None:
        given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        changes["s3"] = given if arguments.s3 == "environment" else None
    if arguments.postgres is not None:
        if arguments.postgres != "embedded" and not _is_server(arguments.postgres):
            raise ConfigurationError(
                "--postgres is no URL of a server; write postgresql://USER:PASSWORD@HOST:PORT without a "
                "database, and of the password @ as %40, / as %2F, ? as %3F, # as %23"
            )
        changes["postgres"] = None if arguments.postgres == "embedded" else arguments.postgres
    if arguments.kubeconfig is not None:
        path = Path(arguments.kubeconfig).absolute()
        if arguments.kubeconfig != "none" and not path.is_file():
            raise ConfigurationError(f"there is no file {path}; name the cluster's kubeconfig, or none")
        changes["kubeconfig"] = None if arguments.kubeconfig == "none" else str(path)
    if changes:
        chosen = configuration.read(arguments.dir)
        configuration.write(arguments.dir, chosen.model_copy(update=changes))


def _is_server(url: str) -> bool:
    """Whether a URL names a server and its user, before the @, where other users can be put in."""
    try:
        address = urlsplit(url)
        has_port = address.port is None or address.port > 0
    except ValueError:
        return False
    options = parse_qs(address.query)
    has_host = bool(address.hostname or options.get("host"))
    is_whole = address.scheme == "postgresql" and address.username and address.path in ("", "/")
    return bool(is_whole and has_host and has_port and not options.keys() & {"user", "password", "dbname"})
