"""Tables in the columns of their schema: from rows, to files, and what makes two of them say the same."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from pandera.pandas import DataFrameSchema

from orthostat import storage
from orthostat.statistics.codes import PROVENANCE
from orthostat.statistics.schema import ACCURACY, OBSERVATIONS

_TYPES = {"object": pa.string(), "float64": pa.float64(), "Int64": pa.int64(), "bool": pa.bool_()}
"""Arrow type of a column, by the dtype in its declaration."""


def arrow_schema(schema: DataFrameSchema) -> pa.Schema:
    """The columns of a schema with their types and descriptions."""
    return pa.schema(
        [
            pa.field(
                name,
                _TYPES[str(column.dtype)],
                nullable=bool(column.nullable),
                metadata={"description": column.description},
            )
            for name, column in schema.columns.items()
        ]
    )


def sort_table(table: pa.Table, schema: DataFrameSchema) -> pa.Table:
    """The rows by the schema's key."""
    return table.sort_by([(name, "ascending") for name in schema.unique or []])


def digest_figures(table: pa.Table, schema: DataFrameSchema) -> str:
    """SHA-256 of what a table says, besides where it comes from (PROVENANCE), to the last bit of a number.

    `table` has the schema's columns and is sorted by its key; its numbers are no NaN.
    """
    sha256 = hashlib.sha256(str(table.num_rows).encode())
    for name in schema.columns:
        if name not in PROVENANCE:
            sha256.update(name.encode())
            for part in _bytes_of(table[name].combine_chunks()):
                sha256.update(part)
    return sha256.hexdigest()


def digest_tables(tables: Mapping[str, pa.Table]) -> str:
    """SHA-256 of the figures of a period, by the names of their schemas: statistics and accuracies."""
    schemas = (OBSERVATIONS, ACCURACY)
    return storage.digest([digest_figures(sort_table(tables[s.name], s), s) for s in schemas])


def _bytes_of(column: pa.Array) -> list[bytes]:
    """A column's values and which of them are there, however Arrow lays them out."""
    is_there = np.asarray(pc.is_valid(column)).tobytes()
    if pa.types.is_string(column.type):
        texts = column.fill_null("").cast(pa.large_string()).take(pa.array(np.arange(len(column))))
        lengths, data = np.asarray(pc.binary_length(texts)), texts.buffers()[2]
        return [is_there, lengths.tobytes(), data.to_pybytes()[: lengths.sum()] if data else b""]
    values = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    return [is_there, np.asarray(values.to_numpy(zero_copy_only=False)).tobytes()]


def dump_parquet(table: pa.Table) -> bytes:
    """A table as Parquet; equal tables are equal bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_parquet(data: bytes) -> pa.Table:
    """What `dump_parquet` wrote."""
    return pq.read_table(io.BytesIO(data))


def dump_csv(table: pa.Table, *, header: bool = True) -> bytes:
    r"""A table as CSV: UTF-8, `\n`, empty for null, true and false, numbers with all their digits."""
    buffer = io.BytesIO()
    if header:
        buffer.write((",".join(table.column_names) + "\n").encode())
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    pyarrow.csv.write_csv(table, buffer, options)
    return buffer.getvalue()
