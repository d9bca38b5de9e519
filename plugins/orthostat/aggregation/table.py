"""The result of a period: class areas and objects per zone, summed over all tiles."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import shapely
from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.aggregation.areas import measure_polygons
from orthostat.aggregation.boundaries import Boundaries
from orthostat.aggregation.counts import ObjectCounts, sum_counts
from orthostat.aggregation.grid import tile_box
from orthostat.aggregation.keys import TileTask
from orthostat.aggregation.values import UNOBSERVED, Tile
from orthostat.errors import IdentityError
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import NODATA
from orthostat.projection import parse_projected

_READERS = 16


class ZoneAreas(BaseModel):
    """One zone's figures, in m2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone_id: str
    name: str
    parent_id: str | None
    zone_area_m2: float
    """Of the zone's polygon, in the measure of the grid."""
    classes: dict[int, float]
    """Mapped area in m2 per class id, ids rising; a class that does not occur is left out."""
    nodata_m2: float
    """Covered by scenes, but never with valid data."""
    unobserved_m2: float
    """Covered by no scene."""
    objects: dict[int, int] | None = None
    """Objects per class id, ids rising; None where the model detects none, and `classes` are its classes. For
    objects, `classes` has one entry: what was observed."""

    @property
    def valid_area_m2(self) -> float:
        """Area with a class."""
        return math.fsum(self.classes.values())

    @property
    def coverage(self) -> float:
        """Share of the zone with a class; rounding is cut off at 1, a true excess breaks an identity."""
        return min(1.0, self.valid_area_m2 / self.zone_area_m2)


class PeriodTable(BaseModel):
    """The class areas of all zones in one period."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zones: tuple[ZoneAreas, ...]
    """In the order of zone ids."""
    objects: ObjectCounts | None = None
    """The objects of all composed tiles; None where the model detects none."""

    def zone(self, zone_id: str) -> ZoneAreas:
        """The figures of one zone. Raises KeyError when there is none."""
        return {zone.zone_id: zone for zone in self.zones}[zone_id]


def read_table(
    tasks: Sequence[TileTask], boundaries: Boundaries, grid: Grid, *, counts_objects: bool = False
) -> PeriodTable:
    """Combine what the pods have tabulated of a period's tiles. Raises StorageError when one is missing."""
    with ThreadPoolExecutor(_READERS) as readers:
        tabulations = list(readers.map(lambda task: storage.read_json(task.tabulation_uri), tasks))
    of_tile = {task.tile: found for task, found in zip(tasks, tabulations, strict=True)}
    return combine(of_tile, boundaries, grid, counts_objects=counts_objects)


def combine(
    tabulations: Mapping[Tile, Mapping[str, Any]],
    boundaries: Boundaries,
    grid: Grid,
    *,
    counts_objects: bool = False,
) -> PeriodTable:
    """Sum the tabulations of all tiles (see `tabulate.tabulate`).

    What a zone has outside all tiles is unobserved; it is measured by geometry, not by subtraction, so that
    the identities can fail. Raises IdentityError when only some tiles count objects, or
    some do that should not.
    """
    parts = [found["objects"] for found in tabulations.values() if "objects" in found]
    if len(parts) != (len(tabulations) if counts_objects else 0):
        raise IdentityError(
            f"objects are counted in {len(parts)} of {len(tabulations)} tiles, which must be "
            f"{'all' if counts_objects else 'none'}; tabulate the others again"
        )
    objects = sum_counts([ObjectCounts.model_validate(part) for part in parts]) if counts_objects else None
    areas: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for tabulation in tabulations.values():
        for zone_id, entry in tabulation["zones"].items():
            for value, area_m2 in entry["values"].items():
                areas[zone_id][int(value)].append(area_m2)
    zones, crs = boundaries.projected, parse_projected(grid.crs)
    covered = shapely.union_all([tile_box(grid, tile) for tile in tabulations])
    zone_areas = measure_polygons(crs, zones.geometries).tolist()
    outside = measure_polygons(crs, shapely.difference(zones.geometries, covered)).tolist()
    rows = zip(zones.ids, zones.names, zones.parents, zone_areas, outside, strict=True)
    return PeriodTable(zones=tuple(_sum_zone(*row, areas[row[0]], objects) for row in rows), objects=objects)


def _sum_zone(
    zone_id: str,
    name: str,
    parent_id: str | None,
    zone_area_m2: float,
    outside_m2: float,
    areas: Mapping[int, list[float]],
    objects: ObjectCounts | None,
) -> ZoneAreas:
    """Sums by `math.fsum`: correctly rounded, hence the same in every order."""
    return ZoneAreas(
        zone_id=zone_id,
        name=name,
        parent_id=parent_id,
        zone_area_m2=zone_area_m2,
        classes={value: math.fsum(areas[value]) for value in sorted(areas) if value < UNOBSERVED},
        nodata_m2=math.fsum(areas.get(NODATA, [])),
        unobserved_m2=math.fsum([outside_m2, *areas.get(UNOBSERVED, [])]),
        objects=None if objects is None else objects.zones.get(zone_id, {}),
    )
