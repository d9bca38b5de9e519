"""Borders carried from one coordinate system to another without moving on the ground."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer

from orthostat.aggregation.zones import ZoneSet, check_geometries
from orthostat.errors import GridError, ZonesError

_MAX_HALVINGS = 24
_TORN = 0.25
"""A piece that is cut small and still strays by this share of its length is torn apart by the system."""
_SMALL = 2**-8
"""Such pieces, as a share of the polygon's extent."""


def project_zones(zones: ZoneSet, crs: CRS, pixel_size: float) -> ZoneSet:
    """The zones in `crs`, with borders right to 1e-5 of a pixel.

    A straight edge in one system is a curve in another. Each zone's edges are halved until every piece lies
    within 1e-5 * `pixel_size` (in units of `crs`) of its true place; zones and their parents then agree to
    about 1e-6 of their area. Raises ZonesError where a zone cannot be shown in `crs`.
    """
    if zones.crs.equals(crs, ignore_axis_order=True):
        return replace(zones, crs=crs)
    transformer = Transformer.from_crs(zones.crs, crs, always_xy=True)
    pairs = zip(zones.ids, zones.geometries, strict=True)
    projected = [_project(zone_id, zone, transformer, 1e-5 * pixel_size) for zone_id, zone in pairs]
    geometries = np.array(projected, dtype=object)
    check_geometries(f"zones projected to {crs.name}", zones.ids, geometries)
    return replace(zones, geometries=geometries, crs=crs)


def densify(polygon: Any, transformer: Transformer, tolerance: float) -> Any:
    """`polygon` transformed, its edges first cut so finely that they stray less than `tolerance`.

    Raises GridError where the polygon lies outside the area that the target system is defined for.
    """
    west, south, east, north = shapely.bounds(polygon)
    step = 2 * max(east - west, north - south)
    for _ in range(_MAX_HALVINGS):
        pieces = cut_edges(polygon, step)
        deviation, bend = _deviation(pieces, transformer)
        if step < _SMALL * max(east - west, north - south) and bend > _TORN:
            raise GridError(f"its border is torn apart there, within {west, south, east, north}")
        if deviation <= tolerance:
            return shapely.transform(pieces, transformer.transform, interleaved=False)
        if not np.isfinite(deviation):
            break
        step /= 2
    raise GridError(f"not defined within {west, south, east, north}")


def cut_edges(polygon: Any, step: float) -> Any:
    """The same polygon, or multipolygon, with its edges cut into equal pieces of at most `step`.

    shapely's segmentize mends what rounding makes invalid, and of a zone with a spike it may leave nothing.
    """
    parts = []
    for part in shapely.get_parts(polygon):
        rings = [_cut_ring(shapely.get_coordinates(ring), step) for ring in shapely.get_rings(part)]
        parts.append(shapely.Polygon(rings[0], rings[1:]))
    return shapely.MultiPolygon(parts) if polygon.geom_type == "MultiPolygon" else parts[0]


def _cut_ring(points: npt.NDArray[np.float64], step: float) -> npt.NDArray[np.float64]:
    """Points (n, 2) of a ring, and others between them; those that were there stay to the last bit."""
    start, end = points[:-1], points[1:]
    pieces = np.maximum(1, np.ceil(np.hypot(*(end - start).T) / step)).astype(np.int64)
    first = np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = ((np.arange(pieces.sum()) - first) / np.repeat(pieces, pieces))[:, None]
    cut = np.repeat(start, pieces, axis=0) + share * np.repeat(end - start, pieces, axis=0)
    return np.concatenate([cut, points[-1:]])


def _deviation(polygon: Any, transformer: Transformer) -> tuple[float, float]:
    """Largest distance of a point on an edge from its place on the transformed edge: in target units, and as
    a share of that edge's length.

    Three points per edge: the middle alone would miss an edge that bends both ways.
    """
    rings = shapely.get_rings(shapely.get_parts(polygon))
    points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    is_edge = ring_of_point[1:] == ring_of_point[:-1]
    start, end = points[:-1][is_edge], points[1:][is_edge]
    start_there, end_there = _transform(start, transformer), _transform(end, transformer)
    if not (np.isfinite(start_there).all() and np.isfinite(end_there).all()):
        return np.inf, 0.0
    lengths = np.hypot(*(end_there - start_there).T)
    worst, bend = 0.0, 0.0
    for share in (0.25, 0.5, 0.75):
        true = _transform(start + share * (end - start), transformer)
        drawn = start_there + share * (end_there - start_there)
        distances = np.hypot(*(true - drawn).T)
        worst = max(worst, float(distances.max()))
        bend = max(bend, float((distances[lengths > 0] / lengths[lengths > 0]).max(initial=0.0)))
    return worst, bend


def _transform(points: npt.NDArray[np.float64], transformer: Transformer) -> npt.NDArray[np.float64]:
    return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))


def _project(zone_id: str, zone: Any, transformer: Transformer, tolerance: float) -> Any:
    try:
        projected = densify(zone, transformer, tolerance)
    except GridError as error:
        target = "the target system" if transformer.target_crs is None else transformer.target_crs.name
        raise ZonesError(
            f"zone '{zone_id}' cannot be shown in {target} ({error}); "
            "leave it out, or use a system that holds all zones"
        ) from error
    return projected if projected.is_valid else _close(projected)


def _close(polygon: Any) -> Any:
    """Mend a zone that touches itself: rounding may carry a vertex a hair over the edge that it lies on.

    What has changed its area by more than 1e-9 comes back as it was, to be refused.
    """
    mended = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
    return mended if abs(mended.area - polygon.area) <= 1e-9 * polygon.area else polygon
