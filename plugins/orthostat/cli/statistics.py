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
    show.add_argument("--pipeline", required=True, metavar="NAME", help="name of the pipeline")
    show.add_argument(
        "--vintage", type=int, metavar="N", help="the table as of the N-th release (default: the latest)"
    )
    show.add_argument(
        "--json", action="store_true", help='print {"release": {...}, "rows": [...]} with every column'
    )
    show.set_defaults(run=show_statistics)


def show_statistics(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """The whole table as of a vintage; raises ReleaseError when there is none."""
    from orthostat import settings
    from orthostat.statistics.database import migrate, open_database
    from orthostat.statistics.display import format_table
    from orthostat.statistics.vintages import find_vintage, read_vintage

    database_url = settings.database_url()
    migrate(database_url)
    with open_database(database_url) as connection:
        release = find_vintage(connection, arguments.pipeline, arguments.vintage)
        rows = read_vintage(connection, release.pipeline, release.vintage)
    if arguments.json:
        return {"release": vars(release), "rows": rows}
    title = f"{release.pipeline}, release {release.release_id} ({release.status}): {release.reason}"
    return f"{title}\n\n{format_table(rows)}"
