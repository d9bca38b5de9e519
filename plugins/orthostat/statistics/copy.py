"""Whole tables into and out of PostgreSQL, by COPY."""

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
from pandera.pandas import DataFrameSchema
from sqlalchemy.engine import Connection

from orthostat.statistics.schema import OBSERVATIONS
from orthostat.statistics.tables import arrow_schema, dump_csv, sort_table
from orthostat.statistics.vintages import find_vintage

_ROWS_AT_ONCE = 50_000
_EXTRA = {"release_id": pa.string(), "is_break": pa.bool_(), "break_note": pa.string()}
"""Types of the columns that views and tables have beside those of a schema."""


def copy_in(connection: Connection, schema: DataFrameSchema, release_id: str, table: pa.Table) -> None:
    """Append a table's rows, which are in the columns of `schema`, to a release."""
    names = ", ".join(["release_id", *schema.columns])
    with (
        _cursor(connection) as cursor,
        cursor.copy(f"COPY {schema.name} ({names}) FROM STDIN (FORMAT csv)") as copy,
    ):
        for start in range(0, table.num_rows, _ROWS_AT_ONCE):
            some = table.slice(start, _ROWS_AT_ONCE)
            owners = pa.array([release_id] * some.num_rows)
            copy.write(dump_csv(some.add_column(0, "release_id", owners), header=False))


def copy_out(
    connection: Connection,
    source: str,
    schema: DataFrameSchema,
    where: dict[str, Any],
    extra: tuple[str, ...] = ("release_id",),
) -> pa.Table:
    """Rows of a table or view whose columns equal `where`, sorted by the schema's key.

    They have the columns of `schema`, then those of `extra`.
    """
    fields = [*arrow_schema(schema), *(pa.field(name, _EXTRA[name]) for name in extra)]
    names = [field.name for field in fields]
    conditions = " AND ".join(f"{name} = %s" for name in where)
    query = f"COPY (SELECT {', '.join(names)} FROM {source} WHERE {conditions}) TO STDOUT (FORMAT csv)"
    with _cursor(connection) as cursor, cursor.copy(query, list(where.values())) as copy:
        data = b"".join(_bytes(copy))
    found = _parse(data, fields) if data else pa.schema(fields).empty_table()
    return sort_table(found.cast(pa.schema(fields)), schema)


def _parse(data: bytes, fields: list[pa.Field]) -> pa.Table:
    return pyarrow.csv.read_csv(
        io.BytesIO(data),
        pyarrow.csv.ReadOptions(column_names=[field.name for field in fields]),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            column_types={field.name: field.type for field in fields},
            true_values=["t"],
            false_values=["f"],
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _bytes(copy: Any) -> Iterator[bytes]:
    yield from (bytes(part) for part in copy)


def _cursor(connection: Connection) -> Any:
    """A cursor of psycopg itself, in the connection's transaction."""
    driver: Any = connection.connection.driver_connection
    return driver.cursor()


def read_vintage(connection: Connection, pipeline: str, vintage: int | None = None) -> pa.Table:
    """The whole table of statistics as of a vintage (the latest without one), sorted by its key.

    Columns are those of OBSERVATIONS, then `release_id` (whose figures these are), `is_break` (whether what
    makes figures comparable differs from the series' period before) and `break_note` (what does). Raises
    ReleaseError for an unknown vintage.
    """
    release = find_vintage(connection, pipeline, vintage)
    where = {"pipeline": pipeline, "as_of": release.vintage}
    return copy_out(
        connection, "vintage_observation", OBSERVATIONS, where, ("release_id", "is_break", "break_note")
    )
