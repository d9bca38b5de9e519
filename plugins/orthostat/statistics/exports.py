"""The files of a release: the whole table as of its vintage, in forms that others read."""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pandera.pandas import DataFrameSchema
from sqlalchemy.engine import Connection

from orthostat import __version__, storage
from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.statistics.composite import draw_composite
from orthostat.statistics.maps import draw_map
from orthostat.statistics.result import PeriodResult
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS, Row
from orthostat.statistics.vintages import Release, read_companion, read_periods, read_vintage

_ARROW_TYPES = {"object": pa.string(), "float64": pa.float64(), "Int64": pa.int64(), "bool": pa.bool_()}
_CONTENT_TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "png": "image/png",
    "json": "application/json",
}


def write_exports(
    connection: Connection, pipeline: Pipeline, release: Release, results: Sequence[PeriodResult]
) -> None:
    """Write a release's files to S3; `release.json`, with the digests of the others, last.

    The tables hold every period of the vintage, as `connection` shows it; maps are drawn of `results`, the
    periods that changed. Maps of the others lie with the release that is named for them in `release.json`.
    Equal releases are equal bytes.
    """
    rows = read_vintage(connection, pipeline.name, release.vintage)
    files = {
        "statistics.parquet": dump_parquet(rows),
        "statistics.csv": dump_csv(rows, [*OBSERVATIONS.columns, "release_id", "is_break"]),
        "accuracy.csv": _dump_companion(connection, ACCURACY, release),
        "lineage.csv": _dump_companion(connection, LINEAGE, release),
        **_draw_maps(pipeline, release, rows, results),
    }
    files["release.json"] = storage.dump_json(_describe(connection, release, rows, files))
    for name, data in files.items():
        uri = Layout(pipeline.output).release(release.release_id, name)
        storage.write_bytes(uri, data, _CONTENT_TYPES[name.rpartition(".")[2]])


def dump_parquet(rows: Iterable[Row]) -> bytes:
    """The statistics as Parquet: the columns of OBSERVATIONS, described, then release_id and is_break."""
    fields = [
        pa.field(
            name,
            _ARROW_TYPES[str(column.dtype)],
            nullable=bool(column.nullable),
            metadata={"description": column.description},
        )
        for name, column in OBSERVATIONS.columns.items()
    ]
    fields.append(pa.field("release_id", pa.string(), nullable=False))
    fields.append(pa.field("is_break", pa.bool_(), nullable=False))
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), pa.schema(fields)), buffer, compression="zstd")
    return buffer.getvalue()


def dump_csv(rows: Iterable[Row], columns: Sequence[str]) -> bytes:
    r"""Rows as CSV: UTF-8, `\n`, empty for null, true and false, numbers with all their digits."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_to_text(row[name]) for name in columns] for row in rows)
    return buffer.getvalue().encode()


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dump_companion(connection: Connection, schema: DataFrameSchema, release: Release) -> bytes:
    return dump_csv(read_companion(connection, schema, release), [*schema.columns, "release_id"])


def _draw_maps(
    pipeline: Pipeline, release: Release, rows: Sequence[Row], results: Sequence[PeriodResult]
) -> dict[str, bytes]:
    zones = read_pipeline_zones(pipeline.zones).to_frame().to_crs(pipeline.grid.crs)
    maps = {}
    for result in results:
        shown = [row for row in rows if row["period"] == result.period]
        maps[f"map-{result.period}.png"] = draw_map(shown, zones, pipeline.title)
        if result.tile_uris:
            maps[f"composite-{result.period}.png"] = draw_composite(
                result.tile_uris,
                result.classes,
                zones,
                f"{pipeline.title}, {result.period}",
                result.objects_uris,
            )
    return maps


def _describe(
    connection: Connection, release: Release, rows: Sequence[Row], files: dict[str, bytes]
) -> dict[str, Any]:
    provenance = ("model_sha256", "boundary_version", "code_version", "sample_id")
    return {
        "release_id": release.release_id,
        "pipeline": release.pipeline,
        "vintage": release.vintage,
        "supersedes": release.supersedes,
        "reason": release.reason,
        "code_version": __version__,
        "row_count": len(rows),
        "periods": {
            held.period: {
                "release_id": held.release_id,
                "is_changed": held.release_id == release.release_id,
                "inputs_sha256": held.inputs_sha256,
                **{
                    name: sorted({row[name] for row in rows if row["period"] == held.period and row[name]})
                    for name in provenance
                },
            }
            for held in read_periods(connection, release)
        },
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            for name, data in sorted(files.items())
        },
    }
