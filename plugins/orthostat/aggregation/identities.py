"""Accounting identities: what must add up before anything is published."""

import math

from orthostat.aggregation.table import PeriodTable, ZoneAreas
from orthostat.errors import IdentityError

TOLERANCE = 1e-6
"""Figures may disagree by this share of the zone's area."""
_SHOWN = 10


def check_identities(table: PeriodTable, tolerance: float = TOLERANCE) -> None:
    """Check that each zone's parts make up its area, and that child zones sum to their parent.

    Classes + nodata + unobserved = zone area; and each figure of a parent = the sum of its children's. Both
    within `tolerance` times the area of the zone (of the parent). Raises IdentityError with the figures that
    disagree.
    """
    broken = [*_check_zones(table, tolerance), *_check_parents(table, tolerance)]
    if broken:
        shown = "\n  ".join(broken[:_SHOWN])
        more = f"\n  and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise IdentityError(f"{len(broken)} figure(s) do not add up, 0 are allowed:\n  {shown}{more}")


def _check_zones(table: PeriodTable, tolerance: float) -> list[str]:
    broken = []
    for zone in table.zones:
        parts = math.fsum([*zone.classes.values(), zone.nodata_m2, zone.unobserved_m2])
        if not _agree(parts, zone.zone_area_m2, tolerance * zone.zone_area_m2):
            broken.append(
                f"zone '{zone.zone_id}': classes + nodata + unobserved = {parts:.3f} m2, its area is "
                f"{zone.zone_area_m2:.3f} m2, difference {parts - zone.zone_area_m2:+.3f} m2, allowed "
                f"{tolerance * zone.zone_area_m2:.3f} m2; compose and tabulate the period again"
            )
    return broken


def _check_parents(table: PeriodTable, tolerance: float) -> list[str]:
    children: dict[str, list[ZoneAreas]] = {}
    for zone in table.zones:
        if zone.parent_id is not None:
            children.setdefault(zone.parent_id, []).append(zone)
    zones = {zone.zone_id: zone for zone in table.zones}
    broken = []
    for parent_id, members in children.items():
        parent = zones[parent_id]
        allowed = tolerance * parent.zone_area_m2
        parts = [_figures(member) for member in members]
        whole = _figures(parent)
        for name in sorted(set(whole).union(*parts)):
            total = math.fsum(part.get(name, 0.0) for part in parts)
            own = whole.get(name, 0.0)
            if not _agree(total, own, allowed):
                broken.append(
                    f"zone '{parent_id}': {name} is {own:.3f} m2, its {len(members)} child "
                    f"zones sum to {total:.3f} m2, difference {total - own:+.3f} m2, allowed "
                    f"{allowed:.3f} m2; correct the boundaries so that children fill their parent"
                )
    return broken


def _figures(zone: ZoneAreas) -> dict[str, float]:
    return {
        "zone area": zone.zone_area_m2,
        "nodata": zone.nodata_m2,
        "unobserved": zone.unobserved_m2,
        **{f"class {class_id}": area_m2 for class_id, area_m2 in zone.classes.items()},
    }


def _agree(left: float, right: float, allowed: float) -> bool:
    """Whether two figures agree; a figure that is no number agrees with none."""
    return abs(left - right) <= allowed
