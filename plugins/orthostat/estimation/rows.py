"""Rows of a sample or strata file, CSV or Parquet, with errors that name file, row and column."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow
import pyarrow.parquet

from orthostat import storage
from orthostat.errors import SampleError

_MISSING = frozenset({"nan", "na"})
"""How pandas and R write a missing value."""
_WHOLE_NUMBER = re.compile(r"[+-]?\d+\.0+")


@dataclass(frozen=True)
class Row:
    """One row; every cell that was asked for holds text."""

    uri: str
    number: int
    """Counts from 1, the first row below the header."""
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def read_count(self, column: str) -> int:
        """The cell as a whole number above 0. Raises SampleError."""
        try:
            value = Decimal(self[column])
        except InvalidOperation as error:
            raise self.refuse(column, "is no number; write a whole number above 0") from error
        if not value.is_finite() or value != value.to_integral_value() or value <= 0:
            raise self.refuse(column, "must be a whole number above 0")
        return int(value)

    def read_number(self, column: str) -> float:
        """The cell as a finite number. Raises SampleError."""
        try:
            value = float(self[column])
        except ValueError as error:
            raise self.refuse(column, "is no number; write digits with a decimal point") from error
        if not math.isfinite(value):
            raise self.refuse(column, "must be finite")
        return value

    def read_positive(self, column: str) -> float:
        """The cell as a finite number above 0. Raises SampleError."""
        value = self.read_number(column)
        if value <= 0:
            raise self.refuse(column, "must be above 0")
        return value

    def refuse(self, column: str, reason: str) -> SampleError:
        """The error that says what is wrong with a cell."""
        return SampleError(
            f"{self.uri}, row {self.number} below the header: {column} '{self[column]}' {reason}"
        )


def read_rows(uri: str, required: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """The rows of a CSV (UTF-8, comma) or Parquet file, told apart by the suffix, local or in S3.

    Cells are text: 1 and 1.0 both become "1", so that a class has one name whatever wrote the file. Other
    columns are left out; an optional column is there in all rows or in none.

    Raises SampleError for an unknown suffix, a file that can't be parsed or has no rows, a missing column
    and an empty cell; StorageError for a missing file.
    """
    header, records = _read_file(uri)
    missing = [column for column in required if column not in header]
    if missing:
        raise SampleError(
            f"{uri} lacks the column(s) {missing}, it has {header}; needed are {list(required)}"
        )
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise SampleError(f"{uri} has the column(s) {repeated} more than once; keep one of each")
    columns = [*required, *(column for column in optional if column in header)]
    rows = [_read_row(uri, number, record, columns) for number, record in enumerate(records, start=1)]
    if not rows:
        raise SampleError(f"{uri} has a header but no rows; write one row for each unit or stratum")
    return rows


def _read_row(uri: str, number: int, record: Mapping[str, Any], columns: Iterable[str]) -> Row:
    cells = {column: _to_text(record[column]) for column in columns}
    empty = [column for column, text in cells.items() if text == "" or text.lower() in _MISSING]
    if empty:
        raise SampleError(
            f"{uri}, row {number} below the header: no value in {empty} (empty, NaN or NA); every unit and "
            "stratum needs one"
        )
    return Row(uri, number, cells)


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return text.partition(".")[0] if _WHOLE_NUMBER.fullmatch(text) else text


def _read_file(uri: str) -> tuple[list[str], list[dict[str, Any]]]:
    suffix = uri.rpartition(".")[2].lower()
    if suffix not in ("csv", "parquet"):
        raise SampleError(f"{uri} is neither .csv nor .parquet; write it as one of them")
    data = storage.read_bytes(uri)
    try:
        return _parse_csv(data) if suffix == "csv" else _parse_parquet(data)
    except (UnicodeDecodeError, csv.Error, pyarrow.ArrowException, OSError, ValueError) as error:
        raise SampleError(f"{uri} is no valid {suffix} file ({error}); write it again") from error


def _parse_csv(data: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    header = [name.strip() for name in next(lines, [])]
    if not header:
        raise ValueError("it is empty")
    records = []
    for number, cells in enumerate((cells for cells in lines if cells), start=1):
        if len(cells) != len(header):
            raise ValueError(
                f"row {number} below the header has {len(cells)} cells, the header {len(header)}"
            )
        records.append(dict(zip(header, cells, strict=True)))
    return header, records


def _parse_parquet(data: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    return list(table.column_names), table.to_pylist()
