"""The result of a period: class areas and objects per zone, summed over all tiles."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import shapely
from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.aggregation.areas import measure_polygons
from orthostat.aggregation.borders import project_zones
from orthostat.aggregation.counts import ObjectCounts, sum_counts
from orthostat.aggregation.grid import Tile, tile_box
from orthostat.aggregation.work import OBJECTS, UNOBSERVED, TileWork, tabulation_uri
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import IdentityError
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import NODATA
from orthostat.prediction.description import Task
from orthostat.projection import parse_projected


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
    works: Sequence[TileWork], zones: ZoneSet, grid: Grid, task: Task = "semantic_segmentation"
) -> PeriodTable:
    """Combine the partial tabulations that the pods of a period have written."""
    partials = [storage.read_json(tabulation_uri(work)) for work in works]
    tiles = [tile for work in works for tile in work.tiles]
    return combine(partials, zones, grid, tiles, counts_objects=task == OBJECTS)


def combine(
    partials: Sequence[Mapping[str, Any]],
    zones: ZoneSet,
    grid: Grid,
    tiles: Sequence[Tile],
    counts_objects: bool = False,
) -> PeriodTable:
    """Sum partial tabulations (see `tabulate.tabulate`) of the planned `tiles`.

    What a zone has outside all tiles is unobserved; it is measured by geometry, not by subtraction, so that
    the identities can fail. The result does not depend on how the tiles were shared among pods. Raises
    IdentityError when a tile is missing or counted twice.
    """
    _check_tiles(partials, tiles, "tiles")
    objects = None
    if counts_objects:
        _check_tiles(partials, tiles, "objects")
        parts = [part for partial in partials for part in partial["objects"].values()]
        objects = sum_counts([ObjectCounts.model_validate(part) for part in parts])
    areas: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for partial in partials:
        for counted in partial["tiles"].values():
            for zone_id, entry in counted.items():
                for value, area_m2 in entry["values"].items():
                    areas[zone_id][int(value)].append(area_m2)
    crs = parse_projected(grid.crs)
    projected = project_zones(zones, crs, grid.resolution_m)
    covered = shapely.union_all([tile_box(grid, tile) for tile in tiles])
    zone_areas = measure_polygons(crs, projected.geometries).tolist()
    outside = measure_polygons(crs, shapely.difference(projected.geometries, covered)).tolist()
    rows = zip(zones.ids, zones.names, zones.parents, zone_areas, outside, strict=True)
    return PeriodTable(zones=tuple(_sum_zone(*row, areas[row[0]], objects) for row in rows), objects=objects)


def _check_tiles(partials: Sequence[Mapping[str, Any]], tiles: Sequence[Tile], part: str) -> None:
    found = sorted(key for partial in partials for key in partial.get(part, {}))
    planned = sorted(f"{column}_{row}" for column, row in tiles)
    if found != planned:
        raise IdentityError(
            f"{len(found)} tiles are tabulated, {len(planned)} are planned; missing: "
            f"{sorted(set(planned) - set(found))}, unplanned or doubled: "
            f"{sorted({key for key in found if found.count(key) > planned.count(key)})}; tabulate them again"
        )


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
