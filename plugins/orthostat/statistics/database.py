"""The statistics database: how it is opened and brought up to date."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from orthostat import __version__
from orthostat.errors import ConfigurationError, ReleaseError

VERSION_TABLE = "orthostat_migration"
_MIGRATION_LOCK = 7_368_001
_LOCK_NOT_AVAILABLE = "55P03"
_LOCK_TIMEOUT = "10min"
"""Releases take seconds; whoever may read can also take a lock, and forget it."""
_MIGRATIONS = Path(__file__).parent / "migrations"


@contextmanager
def open_database(database_url: str) -> Iterator[Connection]:
    """A connection in one transaction, committed at the end and rolled back by any error.

    Raises ConfigurationError for a URL that is none, ReleaseError when the database does not answer, or when
    somebody else holds a lock that is waited for too long.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise ConfigurationError(
            "ORTHOSTAT_DATABASE_URL is no database URL; "
            "write postgresql+psycopg://user:password@host:5432/orthostat"
        ) from error
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"ORTHOSTAT_DATABASE_URL names a {url.get_backend_name()} database, releases are kept in "
            "PostgreSQL; write postgresql+psycopg://user:password@host:5432/orthostat"
        )
    engine = create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise ReleaseError(
            f"the statistics database {url.render_as_string(hide_password=True)} does not answer "
            f"({str(error.orig).strip()}); start it or correct ORTHOSTAT_DATABASE_URL"
        ) from error
    with connection, connection.begin():
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        try:
            yield connection
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise ReleaseError(
                f"another session of the statistics database has held a lock for {_LOCK_TIMEOUT}; find it by "
                "SELECT pid, locktype FROM pg_locks WHERE granted, and end it by pg_terminate_backend(pid)"
            ) from error


def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the database's tables up to date; processes that do so at the same time wait for one another.

    Raises ReleaseError when the database is newer than this Orthostat, or when it is older and its user may
    not change its tables.
    """
    wanted = newest_revision() if revision == "head" else revision
    with open_database(database_url) as connection:
        try:
            if _read_revision(connection) != wanted:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                _upgrade(connection, wanted)
        except ProgrammingError as error:
            raise ReleaseError(
                f"the statistics database needs other tables, and its user may not make them "
                f"({str(error.orig).strip()}); run `orthostat statistics migrate` once with the "
                "ORTHOSTAT_DATABASE_URL of its owner, who may create roles"
            ) from error


def newest_revision() -> str:
    """The revision of this Orthostat's tables: names of migrations begin with theirs."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _read_revision(connection: Connection) -> str | None:
    """The revision of the database; None where it has none, or none that is clear."""
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": VERSION_TABLE}) is None:
        return None
    found = list(connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")))
    return str(found[0]) if len(found) == 1 else None


def _upgrade(connection: Connection, revision: str) -> None:
    # Most steps meet a database that is up to date, and do not wait a second for these imports.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise ReleaseError(
            f"the statistics database was made by a newer Orthostat ({error}); this is {__version__}: "
            "install the newer one here, too"
        ) from error
