"""Zones: the areas that statistics are about, read and checked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow
import shapely
from pyproj import CRS

from orthostat import storage
from orthostat.errors import ZonesError
from orthostat.scratch import scratch_folder

if TYPE_CHECKING:
    import geopandas as gpd

_SHOWN = 5
_FORMATS = "give a GeoPackage, GeoJSON, GeoParquet or zipped shapefile with polygons"
_FARTHEST_NORTH = 90.000001
_ROUND_THE_EARTH = 360.000001
_WHOLE_TURN = 359.999
"""Degrees; such an edge is that of a map of the whole Earth."""


@dataclass(frozen=True)
class ZoneSet:
    """Checked zones in the order of their ids; the fields are of one length."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    """The ids again where the file has no names."""
    parents: tuple[str | None, ...]
    """Id of the zone that each one is part of."""
    geometries: npt.NDArray[np.object_]
    """Valid polygons and multipolygons."""
    crs: CRS

    def digest(self) -> str:
        """SHA-256 of what the zones say, however their file is written."""
        borders = [shapely.to_wkb(geometry, hex=True, byte_order=1) for geometry in self.geometries]
        return storage.digest([self.ids, self.names, self.parents, borders, self.crs.to_wkt()])

    def to_frame(self) -> "gpd.GeoDataFrame":
        """Columns zone_id, name, parent_id and geometry."""
        import geopandas as gpd  # and pandas with it: a second that most steps need not wait

        columns = {"zone_id": self.ids, "name": self.names, "parent_id": self.parents}
        return gpd.GeoDataFrame(columns, geometry=self.geometries, crs=self.crs)


def read_zones(
    uri: str, id_column: str, name_column: str | None = None, parent_column: str | None = None
) -> ZoneSet:
    """Read a GeoPackage, GeoJSON, Parquet or zipped shapefile, local or in S3.

    Raises ZonesError, with the ids and the cure, for a file that cannot be read or has no zones, no
    coordinate system, a missing column, null or duplicate ids, an unknown parent, or a
    geometry that is missing, invalid or no polygon; StorageError when the file is missing.
    """
    frame = _read_frame(uri)
    if frame.crs is None:
        raise ZonesError(f"{uri} has no coordinate system; write it with one, e.g. EPSG:4326")
    if len(frame) == 0:
        raise ZonesError(f"{uri} has no zones, at least 1 is needed; give a file with polygons")
    wanted = [column for column in (id_column, name_column, parent_column) if column is not None]
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        has = [str(column) for column in frame.columns if column != frame.geometry.name]
        raise ZonesError(f"{uri} has no column {missing}, it has {has}; correct the pipeline or the file")
    ids = _texts(frame[id_column])
    _check_ids(uri, id_column, ids)
    order = sorted(range(len(ids)), key=lambda index: ids[index] or "")
    names = ids if name_column is None else _texts(frame[name_column])
    parents: list[str | None] = [None] * len(ids) if parent_column is None else _texts(frame[parent_column])
    geometries = shapely.force_2d(frame.geometry.to_numpy())
    sorted_ids = [str(ids[index]) for index in order]
    check_geometries(uri, sorted_ids, geometries[order])
    _check_parents(uri, ids, parents)
    crs = CRS.from_user_input(frame.crs).to_2d()
    if crs.is_geographic:
        _check_degrees(uri, sorted_ids, geometries[order], crs)
    return ZoneSet(
        ids=tuple(sorted_ids),
        names=tuple(names[index] or str(ids[index]) for index in order),
        parents=tuple(parents[index] for index in order),
        geometries=geometries[order],
        crs=crs,
    )


def _read_frame(uri: str) -> "gpd.GeoDataFrame":
    import geopandas as gpd
    from pyogrio.errors import DataSourceError  # type: ignore[import-untyped]

    with scratch_folder() as folder:
        path = storage.local_copy(uri, folder)
        try:
            if path.suffix.lower() in {".parquet", ".geoparquet", ".pq"}:
                return gpd.read_parquet(path)
            layers = gpd.list_layers(path)
            if len(layers) != 1:
                names = list(layers["name"])
                raise ZonesError(
                    f"{uri} has the layers {names}, exactly 1 is allowed; write one of them alone"
                )
            frame = gpd.read_file(path)
        except (DataSourceError, pyarrow.ArrowException, ValueError) as error:
            raise ZonesError(f"{uri} cannot be read as zones ({error}); {_FORMATS}") from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise ZonesError(f"{uri} is a table without geometries; {_FORMATS}")
    return frame


def _texts(column: Any) -> list[str | None]:
    """Values as text, null as None; a whole number read as float (a column with nulls) loses its `.0`."""
    texts: list[str | None] = []
    for value, is_null in zip(column, column.isna(), strict=True):
        is_whole = isinstance(value, float) and value.is_integer()
        texts.append(None if is_null else str(int(value) if is_whole else value))
    return texts


def _check_ids(uri: str, id_column: str, ids: list[str | None]) -> None:
    nulls = [row for row, zone_id in enumerate(ids) if zone_id is None or not zone_id.strip()]
    if nulls:
        raise ZonesError(
            f"{uri}: {len(nulls)} zone(s) have no {id_column}, 0 are allowed; give rows {_some(nulls)} an id"
        )
    duplicates = sorted({str(zone_id) for zone_id, count in Counter(ids).items() if count > 1})
    if duplicates:
        raise ZonesError(
            f"{uri}: {len(duplicates)} {id_column} value(s) stand more than once: {_some(duplicates)}; "
            "dissolve the polygons of a zone, or give each its own id"
        )


def _check_parents(uri: str, ids: list[str | None], parents: list[str | None]) -> None:
    known = dict(zip(ids, parents, strict=True))
    unknown = sorted({parent for parent in parents if parent is not None and parent not in known})
    if unknown:
        raise ZonesError(
            f"{uri}: no zone has the parent id(s) {_some(unknown)}; add them or correct the column"
        )
    for zone_id in ids:
        seen, above = {zone_id}, known[zone_id]
        while above is not None and above not in seen:
            seen.add(above)
            above = known[above]
        if above is not None:
            raise ZonesError(
                f"{uri}: zone '{zone_id}' is part of itself through its parents; correct the column"
            )


def _check_degrees(uri: str, ids: list[str], geometries: npt.NDArray[np.object_], crs: CRS) -> None:
    """Latitudes are latitudes, and no edge goes around the Earth the wrong way."""
    to_degrees = np.degrees(float(crs.axis_info[0].unit_conversion_factor))
    for zone_id, geometry in zip(ids, geometries, strict=True):
        rings = shapely.get_rings(shapely.get_parts(geometry))
        points, ring = shapely.get_coordinates(rings, return_index=True)
        points = points * to_degrees
        farthest = float(np.abs(points[:, 1]).max())
        if farthest > _FARTHEST_NORTH:
            raise ZonesError(
                f"{uri}: zone '{zone_id}' reaches latitude {farthest:.6g}, the limit is 90; its axes are "
                "swapped: write longitude first"
            )
        width = float(np.ptp(points[:, 0]))
        if width > _ROUND_THE_EARTH:
            raise ZonesError(
                f"{uri}: zone '{zone_id}' spans {width:.6g} degrees of longitude, the limit is 360: it would "
                "count its own ground twice; cut it"
            )
        steps = np.abs(np.diff(points[:, 0]))[np.diff(ring) == 0]
        if ((steps > 180) & (steps < _WHOLE_TURN)).any():
            raise ZonesError(
                f"{uri}: zone '{zone_id}' has an edge from one side of the antimeridian to the other, "
                f"{steps.max():.6g} degrees around the Earth; split it at 180 degrees, e.g. with ogr2ogr "
                "-wrapdateline"
            )


def check_geometries(source: str, ids: Iterable[str], geometries: npt.NDArray[np.object_]) -> None:
    """Raises ZonesError unless every geometry is a valid, non-empty polygon or multipolygon."""
    problems = []
    for zone_id, geometry in zip(ids, geometries, strict=True):
        problem = _problem(geometry)
        if problem:
            problems.append(f"'{zone_id}': {problem}")
    if problems:
        raise ZonesError(
            f"{source}: {len(problems)} zone(s) have an unusable geometry, 0 are allowed: {_some(problems)}; "
            "repair them, e.g. with QGIS 'Fix geometries'"
        )


def _problem(geometry: Any) -> str | None:
    if geometry is None or geometry.is_empty:
        return "no geometry"
    if geometry.geom_type not in {"Polygon", "MultiPolygon"}:
        return f"a {geometry.geom_type}, no polygon"
    return None if geometry.is_valid else str(shapely.is_valid_reason(geometry))


def _some(values: list[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"
