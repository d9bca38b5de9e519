"""How zones lie to one another: siblings side by side, parents made of their children."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import shapely

from orthostat.aggregation.zones import ZoneSet, read_zones
from orthostat.errors import ZonesError
from orthostat.pipelines.config import Zones

_TOLERANCE = 1e-6
"""Share of the smaller zone that two siblings may have in common, where borders do not share vertices."""
_SHOWN = 3


def read_pipeline_zones(zones: Zones) -> ZoneSet:
    """The zones that a pipeline names. Raises ZonesError as `read_zones` and `check_overlaps` do."""
    found = read_zones(zones.uri, zones.id_column, zones.name_column, zones.parent_column)
    if not zones.may_overlap:
        check_overlaps(found)
    return dissolve_parents(found) if zones.dissolve_parents else found


def check_overlaps(zones: ZoneSet) -> None:
    """Raises ZonesError when zones of one parent, or without one, lie on one another.

    Areas in both would count twice in whatever is summed over the zones.
    """
    pairs = []
    for members in _siblings(zones):
        geometries = zones.geometries[members]
        left, right = shapely.STRtree(geometries).query(geometries, predicate="intersects")
        left, right = left[left < right], right[left < right]
        is_shared = ~shapely.touches(geometries[left], geometries[right])
        left, right = left[is_shared], right[is_shared]
        common = shapely.area(shapely.intersection(geometries[left], geometries[right]))
        smaller = np.minimum(shapely.area(geometries[left]), shapely.area(geometries[right]))
        for share, one, other in zip(common / smaller, left, right, strict=True):
            if share > _TOLERANCE:
                pairs.append((share, zones.ids[members[one]], zones.ids[members[other]]))
    if pairs:
        shown = ", ".join(
            f"'{one}' and '{other}' ({share:.2%})" for share, one, other in sorted(pairs)[::-1][:_SHOWN]
        )
        raise ZonesError(
            f"{len(pairs)} pair(s) of zones overlap, 0 may: {shown} of the smaller one; correct the "
            "boundaries, name zones.parent_column when one is part of the other, or say zones.may_overlap: "
            "true when nobody will add these zones up"
        )


def dissolve_parents(zones: ZoneSet) -> ZoneSet:
    """The zones, each parent with the union of its children in place of its own polygon."""
    geometries = zones.geometries.copy()
    index_of = {zone_id: index for index, zone_id in enumerate(zones.ids)}
    children: dict[int, list[int]] = {}
    for child, parent in enumerate(zones.parents):
        if parent is not None:
            children.setdefault(index_of[parent], []).append(child)

    def whole(index: int) -> shapely.Geometry:
        if index in children:
            geometries[index] = shapely.union_all([whole(child) for child in children[index]])
        return geometries[index]

    for index, parent in enumerate(zones.parents):
        if parent is None:
            whole(index)
    return replace(zones, geometries=geometries)


def _siblings(zones: ZoneSet) -> Iterator[Sequence[int]]:
    """Indices of the zones of each parent, and of those without one."""
    families: dict[str | None, list[int]] = {}
    for index, parent in enumerate(zones.parents):
        families.setdefault(parent, []).append(index)
    yield from families.values()
