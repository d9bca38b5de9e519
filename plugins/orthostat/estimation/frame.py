"""The population of an estimate: which strata make up a zone, whether they are it, and where units lie."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import shapely
from pyproj import Geod, Transformer

from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import SampleError
from orthostat.estimation.sample import SampleStratum, SampleUnit
from orthostat.pipelines.config import Sample
from orthostat.projection import parse_crs

_GEOD = Geod(ellps="WGS84")
_SHOWN = 3


def check_parts(strata: Sequence[SampleStratum], zones: ZoneSet) -> None:
    """Each part of the population is sampled once: `strata` are those of one period.

    Raises SampleError for strata of a zone that does not exist, and where a zone and one that it is part of
    both have strata, as both would be added into the zones above and into the accuracies.
    """
    parent_of = dict(zip(zones.ids, zones.parents, strict=True))
    sampled = {stratum.zone_id for stratum in strata}
    unknown = sorted(sampled - set(zones.ids))
    if unknown:
        raise SampleError(
            f"the strata have the zone(s) {unknown[:_SHOWN]}, which the boundary file does not have; "
            f"correct zone_id, or give the boundaries that the sample was drawn in"
        )
    for zone_id in sorted(sampled):
        above = parent_of[zone_id]
        while above is not None:
            if above in sampled:
                raise SampleError(
                    f"zone '{zone_id}' and zone '{above}', which it is part of, both have strata in "
                    f"{strata[0].period}: its area would count twice; keep the strata of one level"
                )
            above = parent_of[above]


def find_parts(zone_id: str, zones: ZoneSet, sampled: Collection[str], *, is_whole: bool) -> set[str]:
    """The sampled zones that make up a zone: itself where it has strata, else those of its parts.

    With `is_whole`, every part must be sampled. Raises SampleError where one is not, or none is.
    """
    if zone_id in sampled:
        return {zone_id}
    children = [child for child, parent in zip(zones.ids, zones.parents, strict=True) if parent == zone_id]
    missing = f"zone '{zone_id}' has no strata, and no parts that could have some"
    parts: set[str] = set()
    for child in children:
        try:
            parts |= find_parts(child, zones, sampled, is_whole=is_whole)
        except SampleError as error:
            missing = f"zone '{zone_id}' needs all of its parts: {error}"
            if is_whole:
                raise SampleError(missing) from error
    if not parts:
        raise SampleError(f"{missing}; add its strata to the strata file")
    return parts


def check_frame(zone_id: str, frame_m2: float, zone_m2: float, sample: Sample) -> None:
    """Raises SampleError, which refuses this zone, when its strata are not the zone, or not even in it."""
    difference = frame_m2 / zone_m2 - 1
    if difference > sample.frame_tolerance or (
        sample.population == "zone" and difference < -sample.frame_tolerance
    ):
        raise SampleError(
            f"the strata of zone '{zone_id}' add up to {frame_m2:.10g} m2, the zone has {zone_m2:.10g} m2: "
            f"{difference:+.2%}, allowed are {sample.frame_tolerance:.2%} (sample.frame_tolerance); correct "
            "area_m2, which is in square metres, or declare sample.population: frame for a part of the zone"
        )


def find_misfits(
    strata: Sequence[SampleStratum], zone_m2: Mapping[str, float], sample: Sample
) -> dict[str, SampleError]:
    """The sampled zones whose strata `check_frame` refuses: no figure and no accuracy may be made of them."""
    frames: dict[str, float] = {}
    for stratum in strata:
        frames[stratum.zone_id] = frames.get(stratum.zone_id, 0.0) + stratum.area_m2
    misfits = {}
    for zone_id, frame_m2 in frames.items():
        try:
            check_frame(zone_id, frame_m2, zone_m2[zone_id], sample)
        except SampleError as error:
            misfits[zone_id] = error
    return misfits


def check_places(units: Sequence[SampleUnit], zones: ZoneSet, crs: str, tolerance_m: float) -> None:
    """Raises SampleError when units, whose x and y are in `crs`, lie outside their zones.

    A unit on the border may lie `tolerance_m` outside, as the centre of a pixel does.
    """
    geometry_of = dict(zip(zones.ids, zones.geometries, strict=True))
    places = _points(units, crs, zones)
    strays = []
    for zone_id in sorted({unit.zone_id for unit in units}):
        mine = np.array([unit.zone_id == zone_id for unit in units])
        distances = _distances_m(places[mine], geometry_of[zone_id], zones)
        pairs = zip((unit for unit in units if unit.zone_id == zone_id), distances, strict=True)
        strays += [(unit, distance) for unit, distance in pairs if not distance <= tolerance_m]
    if strays:
        unit, distance = strays[0]
        raise SampleError(
            f"{len(strays)} of {len(units)} units of {unit.period} lie outside their zones, 0 may: e.g. unit "
            f"'{unit.unit_id}' (x {unit.x:.10g}, y {unit.y:.10g}) is {distance:.0f} m from zone "
            f"'{unit.zone_id}', allowed are {tolerance_m:.0f} m; correct x and y, zone_id, or sample.crs, "
            f"which is {crs}"
        )


def _points(units: Sequence[SampleUnit], crs: str, zones: ZoneSet) -> np.ndarray:
    """In the zones' coordinate system, shape (units,)."""
    transformer = Transformer.from_crs(parse_crs(crs), zones.crs, always_xy=True)
    x, y = transformer.transform([unit.x for unit in units], [unit.y for unit in units])
    points: np.ndarray = shapely.points(np.asarray(x, np.float64), np.asarray(y, np.float64))
    return points


def _distances_m(points: np.ndarray, zone: shapely.Geometry, zones: ZoneSet) -> list[float]:
    """Of points from a zone, 0 inside; inf for a point that has no place."""
    shapely.prepare(zone)
    is_inside = shapely.covers(zone, points)
    to_degrees = Transformer.from_crs(zones.crs, "EPSG:4326", always_xy=True)
    distances = []
    for point, inside in zip(points, is_inside, strict=True):
        if inside:
            distances.append(0.0)
        elif not np.isfinite([point.x, point.y]).all():
            distances.append(np.inf)
        else:
            (x, y), (other_x, other_y) = shapely.shortest_line(point, zone).coords
            longitudes, latitudes = to_degrees.transform([x, other_x], [y, other_y])
            distances.append(float(_GEOD.line_length(longitudes, latitudes)))
    return distances
