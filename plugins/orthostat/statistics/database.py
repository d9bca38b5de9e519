"""The statistics database: its tables, and how it is opened and brought up to date.

`release` says which releases there are, `release_period` which periods each of them holds; the other tables
hold the rows. Nothing is ever changed or deleted; triggers see to that. The latest release that holds a
period is the one whose rows are current.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from pandera.pandas import DataFrameSchema
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    func,
    text,
)
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import NullPool

from orthostat.errors import ConfigurationError, ReleaseError
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS

METADATA = MetaData()
VERSION_TABLE = "orthostat_migration"
STATUSES = ("draft", "reviewed", "published")
_MIGRATION_LOCK = 7_368_001
_TYPES: dict[str, type[Any]] = {"object": Text, "float64": Double, "Int64": BigInteger, "bool": Boolean}


def _rows_table(schema: DataFrameSchema) -> Table:
    """The table of a schema, with the release that each row belongs to."""
    return Table(
        schema.name,
        METADATA,
        Column("release_id", Text, ForeignKey("release.release_id"), nullable=False),
        *(
            Column(name, _TYPES[str(column.dtype)], nullable=bool(column.nullable))
            for name, column in schema.columns.items()
        ),
        PrimaryKeyConstraint("release_id", *(schema.unique or [])),
        Index(f"{schema.name}_period", "release_id", "period"),
    )


RELEASE = Table(
    "release",
    METADATA,
    Column("release_id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("vintage", Integer, nullable=False),
    Column("supersedes", Text, ForeignKey("release.release_id")),
    Column("reason", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="draft"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("run_id", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    UniqueConstraint("pipeline", "vintage"),
    CheckConstraint(f"status IN {STATUSES}", name="release_status"),
)
RELEASE_PERIOD = Table(
    "release_period",
    METADATA,
    Column("release_id", Text, ForeignKey("release.release_id"), nullable=False),
    Column("period", Text, nullable=False),
    Column("inputs_sha256", Text, nullable=False),
    PrimaryKeyConstraint("release_id", "period"),
)
OBSERVATION_TABLE = _rows_table(OBSERVATIONS)
ACCURACY_TABLE = _rows_table(ACCURACY)
LINEAGE_TABLE = _rows_table(LINEAGE)


@contextmanager
def open_database(database_url: str) -> Iterator[Connection]:
    """A connection in one transaction, committed at the end and rolled back by any error.

    Raises ConfigurationError for a URL that is none, ReleaseError when the database does not answer.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise ConfigurationError(
            "ORTHOSTAT_DATABASE_URL is no database URL; "
            "write postgresql+psycopg://user:password@host:5432/orthostat"
        ) from error
    engine = create_engine(url, poolclass=NullPool)
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise ReleaseError(
            f"the statistics database {url.render_as_string(hide_password=True)} does not answer "
            f"({str(error.orig).strip()}); start it or correct ORTHOSTAT_DATABASE_URL"
        ) from error
    with connection, connection.begin():
        yield connection


def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the database's tables up to date; processes that do so at the same time wait for one another."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with open_database(database_url) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
