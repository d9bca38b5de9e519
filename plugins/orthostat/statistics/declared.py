"""The tables of the statistics database, as they are declared.

`release` says which releases there are, `release_period` which periods each of them holds and what decided
these; `observation`, `accuracy` and `lineage` hold the rows, `revision` what was another figure before, and
`confirmation` other inputs that gave the same figures. Nothing is ever changed or deleted, and nothing added
to a release after its transaction; triggers see to that. The latest release that holds a period is the one
whose rows are current.
"""

from typing import Any

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
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS

METADATA = MetaData()
STATUSES = ("draft", "reviewed", "published")
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
