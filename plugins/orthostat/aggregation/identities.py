"""Accounting identities: what must add up before anything is published."""

import math
from collections.abc import Iterator

from orthostat.aggregation.table import PeriodTable, ZoneAreas
from orthostat.errors import IdentityError

TOLERANCE = 1e-6
"""Figures may disagree by this share of the zone's area."""
_SHOWN = 10


def check_identities(table: PeriodTable, tolerance: float = TOLERANCE) -> None:
    """Check that each zone's parts make up its area, that children sum to their parent, and objects to all.

    Classes + nodata + unobserved = zone area; and each figure of a parent = the sum of its children's. Both
    within `tolerance` times the area of the zone (of the parent); objects exactly. Every object lies in a
    zone without a parent or in none: those add up to all, or to more where such zones overlap. Raises
    IdentityError with the figures that disagree.
    """
    broken = [
        *_check_zones(table, tolerance),
        *_check_parents(table, tolerance),
        *_check_parents_objects(table),
        *_check_all_objects(table),
    ]
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
    broken = []
    for parent, members in _families(table):
        parent_id = parent.zone_id
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


def _check_parents_objects(table: PeriodTable) -> list[str]:
    broken = []
    for parent, members in _families(table) if table.objects else []:
        own = parent.objects or {}
        parts = [member.objects or {} for member in members]
        for class_id in sorted(set(own).union(*parts)):
            total = sum(part.get(class_id, 0) for part in parts)
            if total != own.get(class_id, 0):
                broken.append(
                    f"zone '{parent.zone_id}': {own.get(class_id, 0)} objects of class {class_id}, its "
                    f"{len(members)} child zones have {total}, allowed is no difference; correct the "
                    "boundaries so that children fill their parent and share its vertices"
                )
    return broken


def _check_all_objects(table: PeriodTable) -> list[str]:
    if table.objects is None:
        return []
    tops = [zone.objects or {} for zone in table.zones if zone.parent_id is None]
    broken = []
    for class_id, kept in table.objects.kept.items():
        found = sum(top.get(class_id, 0) for top in tops) + table.objects.outside.get(class_id, 0)
        if found < kept:
            broken.append(
                f"class {class_id}: {kept} objects were composed, {found} lie in a zone without a parent or "
                f"in no zone, so {kept - found} are lost; correct the boundaries so that no zone reaches "
                "beyond its parent"
            )
    return broken


def _families(table: PeriodTable) -> Iterator[tuple[ZoneAreas, list[ZoneAreas]]]:
    """Each zone that is divided into others, with these."""
    children: dict[str, list[ZoneAreas]] = {}
    for zone in table.zones:
        if zone.parent_id is not None:
            children.setdefault(zone.parent_id, []).append(zone)
    for parent_id, members in children.items():
        yield table.zone(parent_id), members


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
