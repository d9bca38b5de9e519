"""Which zone an object lies in: each point in exactly one of the zones that share a border."""

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import BaseModel, ConfigDict
from pyproj import CRS, Transformer

from orthostat.aggregation.areas import Floats
from orthostat.aggregation.grid import Integers
from orthostat.aggregation.zones import ZoneSet


class ObjectCounts(BaseModel):
    """Objects of a tile or a period, by class id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kept: dict[int, int]
    """All of them, each once."""
    outside: dict[int, int]
    """Those in no zone."""
    zones: dict[str, dict[int, int]]
    """Those in each zone, by zone id; a zone without objects is left out."""


def count_objects(points: Floats, class_ids: Integers, crs: CRS, zones: ZoneSet) -> ObjectCounts:
    """Count objects at `points` (n, 2), in `crs`, in each zone by itself.

    Points are taken to the zones' own system, where borders are straight and as they were drawn.
    """
    if not crs.equals(zones.crs, ignore_axis_order=True):
        transformer = Transformer.from_crs(crs, zones.crs, always_xy=True)
        points = np.stack(transformer.transform(*points.T), axis=1)
    zone, point = find_zones(points, zones.geometries)
    is_outside = np.ones(len(points), dtype=bool)
    is_outside[point] = False
    counted: dict[str, Counter[int]] = {}
    for index, class_id in zip(zone.tolist(), class_ids[point].tolist(), strict=True):
        counted.setdefault(zones.ids[index], Counter())[class_id] += 1
    return ObjectCounts(
        kept=_count(class_ids),
        outside=_count(class_ids[is_outside]),
        zones={zone_id: dict(sorted(counted[zone_id].items())) for zone_id in sorted(counted)},
    )


def sum_counts(parts: list[ObjectCounts]) -> ObjectCounts:
    """The counts of several tiles together; none make an empty one."""
    zone_ids = sorted({zone_id for part in parts for zone_id in part.zones})
    return ObjectCounts(
        kept=_add([part.kept for part in parts]),
        outside=_add([part.outside for part in parts]),
        zones={zone_id: _add([part.zones.get(zone_id, {}) for part in parts]) for zone_id in zone_ids},
    )


def find_zones(points: Floats, polygons: npt.NDArray[np.object_]) -> tuple[Integers, Integers]:
    """Pairs (polygon, point), as numbers, of polygons and the points (n, 2) that belong to them.

    A point inside belongs to the polygon. A point on its border does where one a hair to the east, and a hair
    of that hair to the north, would lie inside: of polygons that tile the plane, to exactly one.
    """
    tree = shapely.STRtree(shapely.points(points))
    inside = tree.query(polygons, predicate="contains_properly")
    touching = tree.query(polygons, predicate="intersects")
    is_border = ~np.isin(_key(touching, len(points)), _key(inside, len(points)))
    border = touching[:, is_border]
    belongs = [_belongs(points[point], polygons[polygon]) for polygon, point in border.T]
    pairs = np.concatenate([inside, border[:, np.array(belongs, dtype=bool)]], axis=1)
    return pairs[0], pairs[1]


def _belongs(point: Floats, polygon: Any) -> bool:
    """Whether a point on the border belongs to a polygon, by counting the edges to the east of it, exactly.

    An edge counts where its ends lie on either side of the point's latitude, an end at that latitude being
    below, and it crosses it strictly to the east. Each edge gives both its neighbours the same answer.
    """
    rings = shapely.get_rings(shapely.get_parts(polygon))
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    start, end = corners[:-1], corners[1:]
    is_crossing = (ring[1:] == ring[:-1]) & ((start[:, 1] > point[1]) != (end[:, 1] > point[1]))
    x, y = Fraction(point[0]), Fraction(point[1])
    crossings = 0
    for (x1, y1), (x2, y2) in zip(start[is_crossing].tolist(), end[is_crossing].tolist(), strict=True):
        run = (y - Fraction(y1)) * (Fraction(x2) - Fraction(x1)) / (Fraction(y2) - Fraction(y1))
        crossings += Fraction(x1) + run > x
    return crossings % 2 == 1


def _key(pairs: Integers, count: int) -> Integers:
    keys: Integers = pairs[0] * count + pairs[1]
    return keys


def _count(class_ids: Integers) -> dict[int, int]:
    values, numbers = np.unique(class_ids, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def _add(parts: list[dict[int, int]]) -> dict[int, int]:
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))
