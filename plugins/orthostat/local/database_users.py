"""The databases of one machine and their users, on the embedded PostgreSQL or on one that was given."""

from pathlib import Path

import psycopg

from orthostat.errors import ServiceError
from orthostat.local import configuration, postgres
from orthostat.statistics import AIRFLOW, READER, WORKER
from orthostat.statistics.users import AIRFLOW_DATABASE, make_users


def make(local_dir: Path) -> None:
    """Make or upgrade the tables of the statistics, both databases and their users; may be run again.

    Raises ServiceError when a server that was given is another Airflow's, or its user may not make databases,
    ReleaseError when it may not make users.
    """
    chosen = configuration.read(local_dir)
    users = (AIRFLOW, WORKER, READER)
    if chosen.postgres is not None and postgres.has_foreign(local_dir, AIRFLOW_DATABASE, users):
        raise ServiceError(
            f"the server of --postgres has a database or user called {AIRFLOW_DATABASE} (or one of the users "
            f"{WORKER}, {READER}) that is not of this folder: another Airflow may work with it; give a "
            f"server of its own. If it is of this folder: COMMENT ON DATABASE {AIRFLOW_DATABASE} IS "
            f"'{postgres.mark(local_dir)}', or drop those users where no database is left"
        )
    for name in (AIRFLOW_DATABASE, "orthostat"):
        try:
            postgres.ensure_database(local_dir, name)
        except psycopg.errors.InsufficientPrivilege as error:
            raise ServiceError(
                f"the user of --postgres may not make the database {name} ({str(error).strip()}); give it "
                "CREATEDB and CREATEROLE, or another user"
            ) from error
    owner = postgres.url(local_dir, "orthostat", "psycopg")
    make_users(owner, chosen.database_passwords)
