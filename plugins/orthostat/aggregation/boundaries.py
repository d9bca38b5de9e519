"""The zones of a pipeline, projected to its grid once for all who measure in them."""

import io
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from orthostat import storage
from orthostat.aggregation.borders import project_zones
from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import MissingError
from orthostat.layout import Layout
from orthostat.pipelines.config import Grid, Pipeline
from orthostat.projection import parse_projected

VERSION = 2
"""Rises when the same zones give another file."""
_DRAWN = "geometry"
_PROJECTED = "projected"


@dataclass(frozen=True)
class Boundaries:
    """Zones as they were drawn and as they lie in a grid's system; zones are in one order in both."""

    drawn: ZoneSet
    projected: ZoneSet

    @cached_property
    def digests(self) -> dict[str, str]:
        """By zone id, SHA-256 of its border."""
        crs = self.drawn.crs.to_string()
        pairs = zip(self.drawn.ids, self.drawn.geometries, strict=True)
        return {zone_id: storage.digest([zone_id, _to_hex(border), crs]) for zone_id, border in pairs}

    def digest(self) -> str:
        """SHA-256 of ids, borders and hierarchy; names play no part."""
        return storage.digest([self.digests, self.drawn.parents])

    def degrees(self) -> tuple[float, float, float, float]:
        """West, south, east and north of all zones in EPSG:4326; west is east of east at the antimeridian."""
        from rasterio.warp import transform_bounds

        west, south, east, north = transform_bounds(
            self.drawn.crs, "EPSG:4326", *shapely.total_bounds(self.drawn.geometries)
        )
        return west, south, east, north


def store_boundaries(pipeline: Pipeline) -> tuple[str, Boundaries]:
    """The pipeline's zones, checked and projected, and the URI of the file that holds them.

    What was made of the same zones before is read back; of the same bytes, without reading them. Raises
    ZonesError as `read_pipeline_zones` and `project_zones` do, StorageError when the zones are missing.
    """
    layout, zones = Layout(pipeline.output), pipeline.zones
    place = pipeline.grid.model_dump(mode="json", include={"crs", "resolution_m"})
    source = [VERSION, zones.model_dump(mode="json"), storage.describe(zones.uri).etag, place]
    note = layout.zones(storage.digest(source))
    found = _find_stored(note)
    if found is not None:
        return found
    drawn = read_pipeline_zones(zones)
    uri = layout.boundaries(storage.digest([VERSION, drawn.digest(), place]))
    if not storage.exists(uri):
        storage.write_bytes(uri, _dump(project(drawn, pipeline.grid)), "application/vnd.apache.parquet")
    storage.write_json(note, {"uri": uri})
    return uri, read_boundaries(uri)


def _find_stored(note: str) -> tuple[str, Boundaries] | None:
    """What `store_boundaries` noted of these bytes; None when it never did, or its file is gone."""
    try:
        uri = str(storage.read_json(note)["uri"])
        return uri, read_boundaries(uri)
    except MissingError:
        return None


def project(drawn: ZoneSet, grid: Grid) -> Boundaries:
    """The zones in a grid's system. Raises ZonesError where one cannot be shown there."""
    return Boundaries(drawn, project_zones(drawn, parse_projected(grid.crs), grid.resolution_m))


def read_boundaries(uri: str) -> Boundaries:
    """What `store_boundaries` wrote. Raises StorageError when it is missing."""
    table = pq.ParquetFile(io.BytesIO(storage.read_bytes(uri))).read()  # read_table loads pandas
    columns = json.loads(table.schema.metadata[b"geo"])["columns"]
    drawn = ZoneSet(
        ids=tuple(table["zone_id"].to_pylist()),
        names=tuple(table["name"].to_pylist()),
        parents=tuple(table["parent_id"].to_pylist()),
        geometries=_read_geometries(table[_DRAWN]),
        crs=CRS.from_user_input(columns[_DRAWN]["crs"]),
    )
    crs = CRS.from_user_input(columns[_PROJECTED]["crs"])
    return Boundaries(drawn, replace(drawn, geometries=_read_geometries(table[_PROJECTED]), crs=crs))


def _read_geometries(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.asarray(shapely.from_wkb(column.to_pylist()), dtype=object)


def _dump(boundaries: Boundaries) -> bytes:
    import geopandas as gpd  # and pandas with it, where zones are new

    frame = boundaries.drawn.to_frame()
    frame[_PROJECTED] = gpd.GeoSeries(boundaries.projected.geometries, crs=boundaries.projected.crs)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _to_hex(geometry: shapely.Geometry) -> str:
    return str(shapely.to_wkb(geometry, hex=True, byte_order=1))
