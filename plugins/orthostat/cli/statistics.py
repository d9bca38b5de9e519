"""`orthostat statistics`: show released figures."""

import argparse
from typing import Any


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "statistics", help="show released figures", description="Read the statistics database."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser(
        "show",
        help="print the table of a pipeline",
        description="Print the current figures of a pipeline, or those of an earlier release, from the "
        "database in ORTHOSTAT_DATABASE_URL.",
    )
    _add_table(show)
    show.add_argument(
        "--json", action="store_true", help='print {"release": {...}, "rows": [...]} with every column'
    )
    show.set_defaults(run=show_statistics)
    export = actions.add_parser(
        "export",
        help="write the whole table of a pipeline as one file",
        description="Write the current figures of a pipeline, or those of an earlier release, as one CSV or "
        "Parquet file.",
    )
    _add_table(export)
    export.add_argument(
        "--output", required=True, metavar="URI", help="file to write, .csv or .parquet, local or s3://..."
    )
    export.set_defaults(run=export_statistics)
    migrate = actions.add_parser(
        "migrate",
        help="bring the statistics database up to date",
        description="Make the tables and the roles orthostat_writer and orthostat_reader. Whoever runs this "
        "owns them; runs then need a user with the role orthostat_writer, readers one with orthostat_reader.",
    )
    migrate.set_defaults(run=migrate_statistics)
    users = actions.add_parser(
        "users",
        help="make the users of the databases, and their rights",
        description="Do what migrate does, then make the users airflow (Airflow's own database), "
        "airflow_worker (releases figures, changes none) and statisticians (read figures), with the "
        "passwords in AIRFLOW_PASSWORD, WORKER_PASSWORD and STATISTICIANS_PASSWORD. "
        "ORTHOSTAT_DATABASE_URL is that of the owner of both databases, who may create roles. Run it again "
        "to change passwords.",
    )
    users.set_defaults(run=make_database_users)
    clean = actions.add_parser(
        "clean",
        help="find files of releases that the database does not have",
        description="List the files under the pipeline's releases/ that belong to no release in the "
        "database, such as those that a database had before it was restored from a backup. After a "
        "restore this fails until the next run has written the catalog anew.",
    )
    clean.add_argument("--pipeline", required=True, metavar="NAME", help="name of the pipeline file")
    clean.add_argument("--delete", action="store_true", help="also delete them")
    clean.set_defaults(run=clean_releases)


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pipeline", required=True, metavar="NAME", help="name of the pipeline")
    parser.add_argument(
        "--vintage", type=int, metavar="N", help="the table as of the N-th release (default: the latest)"
    )


def show_statistics(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """The whole table as of a vintage; raises ReleaseError when there is none."""
    from orthostat.statistics.display import format_table

    release, table = _read(arguments)
    rows = table.to_pylist()
    if arguments.json:
        return {"release": vars(release), "rows": rows}
    title = f"{release.pipeline}, release {release.release_id} ({release.status}): {release.reason}"
    return f"{title}\n\n{format_table(rows)}"


def export_statistics(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the whole table as of a vintage; raises ReleaseError when there is none."""
    from orthostat import storage
    from orthostat.errors import ReleaseError
    from orthostat.statistics.tables import dump_csv, dump_parquet

    suffix = arguments.output.rpartition(".")[2].lower()
    if "://" in arguments.output and not storage.is_s3(arguments.output):
        raise ReleaseError(
            f"{arguments.output} is neither a local file nor s3://BUCKET/KEY; give one of them"
        )
    if suffix not in ("csv", "parquet"):
        raise ReleaseError(f"{arguments.output} is neither .csv nor .parquet; give a file with such a name")
    release, table = _read(arguments)
    storage.write_bytes(arguments.output, dump_csv(table) if suffix == "csv" else dump_parquet(table))
    return {"release_id": release.release_id, "rows": table.num_rows, "output": arguments.output}


def migrate_statistics(arguments: argparse.Namespace) -> str:
    """Bring the tables up to date; raises ReleaseError where that is not possible."""
    from orthostat import settings
    from orthostat.statistics.database import migrate

    migrate(settings.database_url())
    return "the statistics database is up to date"


def make_database_users(arguments: argparse.Namespace) -> str:
    """Make users and rights; raises ConfigurationError for a password that is not set."""
    import os

    from orthostat import settings
    from orthostat.errors import ConfigurationError
    from orthostat.statistics import AIRFLOW, READER, WORKER
    from orthostat.statistics.users import make_users

    variables = {
        AIRFLOW: "AIRFLOW_PASSWORD",
        WORKER: "WORKER_PASSWORD",
        READER: "STATISTICIANS_PASSWORD",
    }
    missing = [name for name in variables.values() if not os.environ.get(name)]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)} not set; give the users' passwords")
    make_users(settings.database_url(), {user: os.environ[name] for user, name in variables.items()})
    return f"the statistics database is up to date; its users are {', '.join(variables)}"


def clean_releases(arguments: argparse.Namespace) -> dict[str, Any]:
    """List, and delete when asked to, what belongs to no release."""
    from orthostat import settings, storage
    from orthostat.pipelines.load import find_pipeline
    from orthostat.statistics.database import migrate
    from orthostat.statistics.publish import find_leftovers

    migrate(settings.database_url())
    leftovers = find_leftovers(find_pipeline(arguments.pipeline))
    if arguments.delete:
        for uri in leftovers:
            storage.delete(uri)
    return {"leftovers": leftovers, "deleted": arguments.delete}


def _read(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """A release and its table."""
    from orthostat import settings
    from orthostat.statistics.copy import read_vintage
    from orthostat.statistics.database import migrate, open_database
    from orthostat.statistics.vintages import find_vintage

    database_url = settings.database_url()
    migrate(database_url)
    with open_database(database_url) as connection:
        release = find_vintage(connection, arguments.pipeline, arguments.vintage)
        return release, read_vintage(connection, release.pipeline, release.vintage)
