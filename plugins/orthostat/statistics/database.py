"""The statistics database: its tables, and how it is opened and brought up to date.

`release` says which releases there are, `release_period` which periods each of them holds and what decided
these; `observation`, `accuracy` and `lineage` hold the rows, `revision` what was another figure before, and
`confirmation` other inputs that gave the same figures. Nothing is ever changed or deleted, and nothing added
to a release after its transaction; triggers see to that. The latest release that holds a period is the one
whose rows are current.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
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
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from orthostat import __version__
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
    Column("open_in", BigInteger),
    UniqueConstraint("pipeline", "vintage"),
    CheckConstraint(f"status IN {STATUSES}", name="release_status"),
)
RELEASE_PERIOD = Table(
    "release_period",
    METADATA,
    Column("release_id", Text, ForeignKey("release.release_id"), nullable=False),
    Column("period", Text, nullable=False),
    Column("inputs_sha256", Text, nullable=False),
    Column("inputs", JSONB),
    Column("cause", Text),
    Column("figures_sha256", Text),
    Column("result_uri", Text),
    PrimaryKeyConstraint("release_id", "period"),
)
CONFIRMATION = Table(
    "confirmation",
    METADATA,
    Column("release_id", Text, ForeignKey("release.release_id"), nullable=False),
    Column("period", Text, nullable=False),
    Column("inputs_sha256", Text, nullable=False),
    Column("inputs", JSONB, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("release_id", "period", "inputs_sha256"),
)
REVISION = Table(
    "revision",
    METADATA,
    Column("release_id", Text, ForeignKey("release.release_id"), nullable=False),
    *(Column(name, Text, nullable=False) for name in ("period", "indicator", "zone_id")),
    Column("class_id", BigInteger, nullable=False),
    Column("method", Text, nullable=False),
    *(Column(name, Double) for name in ("old_value", "new_value", "difference")),
    *(Column(name, Double) for name in ("old_coverage", "new_coverage")),
    *(Column(name, Text) for name in ("old_status", "new_status", "cause")),
    PrimaryKeyConstraint("release_id", "period", "indicator", "zone_id", "class_id", "method"),
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
        yield connection


def migrate(database_url: str, revision: str = "head") -> None:
    """Bring the database's tables up to date; processes that do so at the same time wait for one another.

    Raises ReleaseError when the database is newer than this Orthostat, or when it is older and its user may
    not change its tables.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with open_database(database_url) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise ReleaseError(
                f"the statistics database was made by a newer Orthostat ({error}); this is {__version__}: "
                "install the newer one here, too"
            ) from error
        except ProgrammingError as error:
            raise ReleaseError(
                f"the statistics database needs other tables, and its user may not make them "
                f"({str(error.orig).strip()}); run `orthostat statistics migrate` once with the "
                "ORTHOSTAT_DATABASE_URL of its owner, who may create roles"
            ) from error
