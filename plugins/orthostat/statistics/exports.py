"""The files of a release: the periods that it changed, each in a folder, in forms that others read."""

import hashlib
from typing import Any

import geopandas as gpd
import pyarrow as pa
import shapely
from sqlalchemy import text

from orthostat import settings, storage
from orthostat.aggregation.boundaries import read_boundaries
from orthostat.aggregation.zones import ZoneSet
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.prediction.card import read_card
from orthostat.statistics.composite import draw_composite
from orthostat.statistics.copy import copy_out
from orthostat.statistics.database import open_database
from orthostat.statistics.maps import draw_map
from orthostat.statistics.result import read_result
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS
from orthostat.statistics.tables import dump_csv, dump_parquet
from orthostat.statistics.vintages import HeldPeriod, Release, read_periods

_CONTENT_TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "png": "image/png",
    "json": "application/json",
}
_REVISIONS = (
    "SELECT period, indicator, zone_id, class_id, method, old_value, new_value, difference, old_coverage, "
    "new_coverage, old_status, new_status, cause FROM revision "
    "WHERE release_id = :release_id AND period = :period ORDER BY indicator, zone_id, class_id, method"
)


_REVISION_FIELDS = pa.schema(
    [
        *((name, pa.string()) for name in ("period", "indicator", "zone_id")),
        ("class_id", pa.int64()),
        ("method", pa.string()),
        *((name, pa.float64()) for name in ("old_value", "new_value", "difference")),
        *((name, pa.float64()) for name in ("old_coverage", "new_coverage")),
        *((name, pa.string()) for name in ("old_status", "new_status", "cause")),
    ]
)


def write_release(pipeline: Pipeline, release: Release) -> None:
    """Write the files of a release in the database; `release.json`, which says that all are there, last.

    A folder for each period that the release holds: statistics (Parquet and CSV), accuracy, lineage, where
    figures were revised also revisions, a map, and the composite. Equal releases are equal bytes. Raises
    StorageError when a file cannot be written.
    """
    with open_database(settings.database_url()) as connection:
        periods = [
            held for held in read_periods(connection, release) if held.release_id == release.release_id
        ]
    layout, card = Layout(pipeline.output), pipeline.model.card
    if card:
        content = read_card(card, pipeline.model.sha256).content
        storage.write_json(layout.release(release.release_id, "model-card.json"), content)
    described = {}
    for held in periods:
        statistics, files = _tables(release, held)
        files |= _maps(pipeline, release, held, statistics)
        for name, data in files.items():
            uri = layout.release(release.release_id, held.period, name)
            storage.write_bytes(uri, data, _CONTENT_TYPES[name.rpartition(".")[2]])
        described[held.period] = _describe(held, files)
    content = {
        "release_id": release.release_id,
        "pipeline": release.pipeline,
        "vintage": release.vintage,
        "supersedes": release.supersedes,
        "reason": release.reason,
        "model_card": "model-card.json" if card else None,
        "periods": described,
    }
    storage.write_json(layout.release(release.release_id, "release.json"), content)


def _tables(release: Release, held: HeldPeriod) -> tuple[pa.Table, dict[str, bytes]]:
    """The period's statistics, and its tables as files."""
    where = {"release_id": release.release_id, "period": held.period}
    with open_database(settings.database_url()) as connection:
        statistics = copy_out(connection, OBSERVATIONS.name, OBSERVATIONS, where)
        accuracy = copy_out(connection, ACCURACY.name, ACCURACY, where)
        lineage = copy_out(connection, LINEAGE.name, LINEAGE, where)
        revisions = connection.execute(text(_REVISIONS), where).mappings().all()
    files = {
        "statistics.parquet": dump_parquet(statistics),
        "statistics.csv": dump_csv(statistics),
        "accuracy.csv": dump_csv(accuracy),
        "lineage.csv": dump_csv(lineage),
    }
    if held.cause is not None:
        files["revisions.csv"] = dump_csv(_to_table([dict(row) for row in revisions]))
    return statistics, files


def _to_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, _REVISION_FIELDS)


def _maps(pipeline: Pipeline, release: Release, held: HeldPeriod, statistics: pa.Table) -> dict[str, bytes]:
    """The pictures of a period; none where its result is not known, as of older releases."""
    if held.result_uri is None:
        return {}
    result = read_result(held.result_uri)
    zones = draw_zones(read_boundaries(result.boundaries_uri).drawn, pipeline.grid.crs)
    maps = {
        "map.png": draw_map(
            statistics.to_pylist(), zones, pipeline.title, pipeline.publication.normal_coverage
        )
    }
    if result.tile_uris:
        title = (
            f"{pipeline.title}, {held.period}\nrelease {release.release_id}, model {result.inputs.model[:12]}"
        )
        maps["composite.png"] = draw_composite(
            result.tile_uris, result.classes, zones, title, result.objects_uris
        )
    return maps


def draw_zones(zones: ZoneSet, crs: str) -> gpd.GeoDataFrame:
    """Zones good enough for a picture: their vertices carried over, and mended where that crossed borders."""
    frame = zones.to_frame().to_crs(crs)
    mended = shapely.make_valid(frame.geometry.to_numpy(), method="structure", keep_collapsed=False)
    return frame.set_geometry(gpd.GeoSeries(mended, index=frame.index, crs=frame.crs))


def _describe(held: HeldPeriod, files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "inputs_sha256": held.inputs_sha256,
        "inputs": None if held.inputs is None else held.inputs.model_dump(mode="json"),
        "cause": held.cause,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            for name, data in sorted(files.items())
        },
    }
