"""The gate that every table passes before it leaves."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors
from pandera.pandas import DataFrameSchema

from orthostat.errors import ReleaseError
from orthostat.pipelines.config import Pipeline
from orthostat.statistics.codes import Row
from orthostat.statistics.result import PeriodResult
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS
from orthostat.statistics.tables import arrow_schema, digest_tables, sort_table

SCHEMAS: tuple[DataFrameSchema, ...] = (OBSERVATIONS, ACCURACY, LINEAGE)
"""The tables of a result."""
KINDS = {"object": str, "float64": float, "Int64": int, "bool": bool}
"""Python type of a column's values, by the dtype in its declaration."""
_SHOWN_ROWS = 3


def check_result(pipeline: Pipeline, result: PeriodResult) -> list[tuple[DataFrameSchema, pa.Table]]:
    """The tables of a result. Raises ReleaseError when one breaks its schema or is not what was estimated."""
    tables = []
    for schema in SCHEMAS:
        table = check_table(result.read(schema), schema)
        _check_identity(pipeline, result, table, schema)
        tables.append((schema, table))
    found = digest_tables({schema.name: table for schema, table in tables})
    if found != result.figures_sha256:
        raise ReleaseError(
            f"the tables of {result.period} under {result.uri} are not those that were estimated "
            f"({found[:12]}, estimated were {result.figures_sha256[:12]}); estimate the period again"
        )
    return tables


def _check_identity(
    pipeline: Pipeline, result: PeriodResult, table: pa.Table, schema: DataFrameSchema
) -> None:
    expected = {"pipeline": pipeline.name, "period": result.period, "inputs_sha256": result.inputs.sha256}
    if schema is OBSERVATIONS and table.num_rows == 0:
        raise ReleaseError(f"period {result.period} has no rows in the results; estimate it again")
    for name, value in expected.items():
        found = table[name].unique().to_pylist() if name in table.column_names else []
        if set(found) - {value}:
            raise ReleaseError(
                f"rows of {name} {sorted(set(found) - {value})} stand in the result of {expected}; write "
                "them to their own result"
            )


def check_rows(rows: Sequence[Row], schema: DataFrameSchema) -> pa.Table:
    """The rows as a table, columns in the schema's order, sorted by the schema's key.

    NaN becomes null. Raises ReleaseError with the offending rows when one breaks the schema.
    """
    columns = list(schema.columns)
    for row in rows:
        if set(row) != set(columns):
            raise ReleaseError(
                f"a row of table '{schema.name}' lacks the columns {sorted(set(columns) - set(row))} and has "
                f"the unknown columns {sorted(set(row) - set(columns))}; write exactly those of the schema"
            )
    plain = [{name: _to_plain(row[name], schema, name) for name in columns} for row in rows]
    return check_table(pa.Table.from_pylist(plain, arrow_schema(schema)), schema)


def check_table(table: pa.Table, schema: DataFrameSchema) -> pa.Table:
    """The table, sorted by the schema's key. Raises ReleaseError with the rows that break the schema."""
    if table.schema.names != list(schema.columns):
        raise ReleaseError(
            f"table '{schema.name}' has the columns {table.schema.names}, its schema {list(schema.columns)}; "
            "estimate the period again"
        )
    table = sort_table(table, schema)
    frame = pd.DataFrame({name: _to_series(table[name]) for name in table.column_names})
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        raise ReleaseError(_describe(error.failure_cases, table, schema)) from error
    return table


def _to_series(column: pa.ChunkedArray) -> Any:
    """A column as pandas holds it in the schema's dtypes."""
    if pa.types.is_int64(column.type):
        return pd.arrays.IntegerArray(np.array(column.fill_null(0)), np.array(pc.is_null(column), dtype=bool))
    is_text = pa.types.is_string(column.type)
    return pd.Series(column.to_numpy(), dtype=object if is_text else None)


def _to_plain(value: Any, schema: DataFrameSchema, name: str) -> Any:
    column = schema.columns[name]
    kind = KINDS[str(column.dtype)]
    if isinstance(value, np.generic):
        value = value.item()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, float) and math.isnan(value):
        value = None
    if value is None and column.nullable:
        return None
    if type(value) is not kind:
        raise ReleaseError(
            f"table '{schema.name}' has {value!r} in column {name}, which must hold {kind.__name__}"
            f"{' or nothing' if column.nullable else ''}; nothing was released"
        )
    return value


def _describe(failures: pd.DataFrame, table: pa.Table, schema: DataFrameSchema) -> str:
    about_column = failures["schema_context"] == "Column"
    subjects = failures["column"].where(about_column, "row")
    problems = []
    for (subject, rule), group in failures.groupby([subjects, failures["check"]], sort=True):
        indices = sorted(set(group["index"]))
        rows = table.take(pa.array(indices[:_SHOWN_ROWS], pa.int64())).to_pylist()
        shown = "; ".join(_show(row, schema, subject) for row in rows)
        rule = rule.replace("multiple_fields_uniqueness", f"the key {schema.unique} is unique")
        problems.append(f"{subject}: '{rule}' is not true of {len(indices)} row(s), e.g. {shown}")
    return f"table '{schema.name}' breaks its schema: {' | '.join(problems)}; nothing was released"


def _show(row: Row, schema: DataFrameSchema, subject: str) -> str:
    """The key of a row and what is wrong in it; all that it holds where the rule is about the whole row."""
    if subject == "row":
        return str({name: value for name, value in row.items() if value is not None})
    return str({**{name: row[name] for name in schema.unique or []}, subject: row[subject]})
