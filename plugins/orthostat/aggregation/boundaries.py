"""The zones of a pipeline, projected to its grid once for all who measure in them."""

import io
from dataclasses import dataclass, replace
from functools import cached_property

import geopandas as gpd
import shapely

from orthostat import storage
from orthostat.aggregation.borders import project_zones
from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.aggregation.zones import ZoneSet
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

    What was made of the same zones before is read back. Raises ZonesError as `read_pipeline_zones` and
    `project_zones` do, StorageError when the zones are missing.
    """
    drawn = read_pipeline_zones(pipeline.zones)
    place = pipeline.grid.model_dump(mode="json", include={"crs", "resolution_m"})
    uri = Layout(pipeline.output).boundaries(storage.digest([VERSION, drawn.digest(), place]))
    if not storage.exists(uri):
        storage.write_bytes(uri, _dump(project(drawn, pipeline.grid)), "application/vnd.apache.parquet")
    return uri, read_boundaries(uri)


def project(drawn: ZoneSet, grid: Grid) -> Boundaries:
    """The zones in a grid's system. Raises ZonesError where one cannot be shown there."""
    return Boundaries(drawn, project_zones(drawn, parse_projected(grid.crs), grid.resolution_m))


def read_boundaries(uri: str) -> Boundaries:
    """What `store_boundaries` wrote. Raises StorageError when it is missing."""
    frame = gpd.read_parquet(io.BytesIO(storage.read_bytes(uri)))
    drawn = ZoneSet(
        ids=tuple(frame["zone_id"]),
        names=tuple(frame["name"]),
        parents=tuple(parent if isinstance(parent, str) else None for parent in frame["parent_id"]),
        geometries=frame[_DRAWN].to_numpy(),
        crs=frame[_DRAWN].crs,
    )
    projected = replace(drawn, geometries=frame[_PROJECTED].to_numpy(), crs=frame[_PROJECTED].crs)
    return Boundaries(drawn, projected)


def _dump(boundaries: Boundaries) -> bytes:
    frame = boundaries.drawn.to_frame()
    frame[_PROJECTED] = gpd.GeoSeries(boundaries.projected.geometries, crs=boundaries.projected.crs)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _to_hex(geometry: shapely.Geometry) -> str:
    return str(shapely.to_wkb(geometry, hex=True, byte_order=1))
