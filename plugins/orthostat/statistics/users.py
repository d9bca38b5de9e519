"""The users of both databases, and who may enter which.

Airflow keeps its own tables; its workers release figures and change none; statisticians read figures.
"""

from collections.abc import Mapping

from psycopg.errors import InsufficientPrivilege
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ProgrammingError

from orthostat.errors import ReleaseError
from orthostat.statistics import AIRFLOW, READER, WORKER
from orthostat.statistics.database import migrate, open_database

AIRFLOW_DATABASE = "airflow"

_RIGHTS = f"""
REVOKE CONNECT ON DATABASE {AIRFLOW_DATABASE} FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE {AIRFLOW_DATABASE} TO {AIRFLOW};
GRANT orthostat_writer TO {WORKER};
GRANT orthostat_reader TO {READER};
GRANT USAGE ON SCHEMA public TO orthostat_writer, orthostat_reader;
"""
_OTHERS_TABLES = f"""
SELECT format('ALTER TABLE %%I.%%I OWNER TO {AIRFLOW}', schemaname, tablename) FROM pg_tables
WHERE schemaname = 'public' AND tableowner <> '{AIRFLOW}'
"""


def make_users(database_url: str, passwords: Mapping[str, str]) -> None:
    """Make or upgrade the tables of the statistics, then the users and their rights; may be run again.

    `database_url` is that of the statistics database as its owner; the database `airflow` lies beside it.
    Each of the three users gets its password of `passwords`. Raises ReleaseError when the owner may not.
    """
    url = make_url(database_url)
    if url.username in (AIRFLOW, WORKER, READER):
        raise ReleaseError(
            f"the owner of the databases is called {url.username}, as one of the users who may do less; "
            "give the URL of another user, who may create roles and owns both databases"
        )
    migrate(database_url)
    try:
        with open_database(database_url) as connection:
            for name in (AIRFLOW, WORKER, READER):
                _make_user(connection, name, passwords[name])
            connection.exec_driver_sql(_RIGHTS)
            connection.exec_driver_sql(f'REVOKE CONNECT ON DATABASE "{url.database}" FROM PUBLIC')
            # To the roles: an office's own users have them, too.
            roles = "orthostat_writer, orthostat_reader"
            connection.exec_driver_sql(f'GRANT CONNECT ON DATABASE "{url.database}" TO {roles}')
        airflows = url.set(database=AIRFLOW_DATABASE).render_as_string(hide_password=False)
        with open_database(airflows) as connection:
            connection.exec_driver_sql(f"GRANT ALL ON SCHEMA public TO {AIRFLOW}")
            _hand_over(connection)
            _require_apart(connection, str(url.database), str(url.username))
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise ReleaseError(
            f"the user {url.username} may not make the users of the databases ({str(error.orig).strip()}); "
            f"give a user who has CREATEROLE and owns the databases {AIRFLOW_DATABASE} and {url.database}"
        ) from error


def _make_user(connection: Connection, name: str, password: str) -> None:
    if not connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).first():
        connection.exec_driver_sql(f"CREATE ROLE {name}")
    # What is sent, and perhaps logged there, is what the server keeps of a password, not the password.
    pgconn = connection.connection.driver_connection.pgconn  # type: ignore[union-attr]
    kept = pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    connection.exec_driver_sql(f"ALTER ROLE {name} LOGIN PASSWORD '{kept}'")


def _hand_over(connection: Connection) -> None:
    """Give Airflow its tables where the owner of the databases made them, as versions before did."""
    statements = connection.exec_driver_sql(_OTHERS_TABLES).scalars().all()
    if not statements:
        return
    # Who gives a table to a user must be able to be that user; a superuser is.
    connection.exec_driver_sql(f"GRANT {AIRFLOW} TO CURRENT_USER")
    for statement in statements:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"REVOKE {AIRFLOW} FROM CURRENT_USER")


def _require_apart(connection: Connection, statistics: str, owner: str) -> None:
    """Raises ReleaseError where a user may do more: PostgreSQL only warns of a right that stays."""
    for user, database in ((AIRFLOW, statistics), (WORKER, AIRFLOW_DATABASE), (READER, AIRFLOW_DATABASE)):
        powers = "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = %s"
        if connection.exec_driver_sql(powers, (user,)).scalar_one():
            raise ReleaseError(
                f"the user {user} was there before and may make users or databases; take that away with "
                f"ALTER ROLE {user} NOSUPERUSER NOCREATEROLE NOCREATEDB, and start again"
            )
        may_enter = "SELECT has_database_privilege(%s, %s, 'CONNECT')"
        if connection.exec_driver_sql(may_enter, (user, database)).scalar_one():
            raise ReleaseError(
                f"the user {user} may still enter the database {database}, as one of its roles may, or all "
                f"whom another owner than {owner} let in; take that away, and start again"
            )
