"""Estimates of a pipeline's zones and period from its reference sample."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from orthostat.errors import IdentityError, SampleError
from orthostat.estimation.estimates import Estimate, PopulationEstimates
from orthostat.estimation.sample import SampleStratum, SampleUnit
from orthostat.estimation.stratified import UNINTERPRETED, Stratum, Unit, estimate_population

_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ZoneEstimate:
    """The estimated areas of one zone and period."""

    period: str
    zone_id: str
    sample_size: int
    """Interpreted units."""
    uninterpreted_size: int
    effective_size: float
    """Units of a simple random sample that would tell as much; inf in a census."""
    area_m2: float
    """Area of the zone's strata, to which the estimates of all classes add up."""
    classes: dict[str, Estimate]
    """Areas in m2 by class name, in the order asked for."""


def estimate_zone(
    units: Sequence[SampleUnit],
    map_classes: Mapping[str, str],
    strata: Sequence[SampleStratum],
    period: str,
    zone_id: str,
    min_sample_size: int,
    classes: Sequence[str],
    parts: Collection[str] | None = None,
) -> ZoneEstimate:
    """Area of each class in one zone, with standard error and 95 % interval.

    `map_classes` gives the map class of each unit of the period by unit_id. `parts` are the zones whose
    strata make up a zone that has none itself, such as a parent. A class that no unit has is estimated as 0,
    with an interval that says how much there may be.

    Raises IdentityError when the estimates do not add up to the strata, and SampleError, which refuses this
    zone, when it has fewer interpreted units than `min_sample_size` or a stratum
    can't be estimated (see estimate_population).
    """
    zone_ids = {zone_id} if parts is None else set(parts)
    size = sum(
        unit.period == period and unit.zone_id in zone_ids and unit.reference_class != UNINTERPRETED
        for unit in units
    )
    if size < min_sample_size:
        raise SampleError(
            f"zone '{zone_id}' has {size} interpreted sample unit(s) in {period}, {min_sample_size} are "
            f"needed; draw {min_sample_size - size} more or lower publication.min_sample_size"
        )
    estimates = estimate_accuracy(units, map_classes, strata, period, classes, zone_ids)
    found = {name: estimates.classes[name].area for name in classes}
    total = math.fsum(area.estimate for area in found.values())
    if not math.isclose(total, estimates.area, rel_tol=_SUM_TOLERANCE):
        raise IdentityError(
            f"the estimates of zone '{zone_id}' add up to {total:.10g} m2, its frame has "
            f"{estimates.area:.10g} m2; every reference class of the sample must be one of {list(classes)}"
        )
    return ZoneEstimate(
        period,
        zone_id,
        estimates.sample_size,
        estimates.uninterpreted_size,
        estimates.effective_size,
        estimates.area,
        found,
    )


def estimate_accuracy(
    units: Sequence[SampleUnit],
    map_classes: Mapping[str, str],
    strata: Sequence[SampleStratum],
    period: str,
    classes: Collection[str] = (),
    zone_ids: Collection[str] | None = None,
) -> PopulationEstimates:
    """Accuracies and areas, in m2, of a period: over the strata of all zones together, or of some.

    A stratum of one zone is another than the stratum of that name in the next. `classes` are estimated even
    where no unit is of them; see estimate_population for units that the map leaves out.

    Raises SampleError when there are no strata, a unit belongs to none or has no map class, or a stratum
    can't be estimated (see estimate_population).
    """
    of_period = [stratum for stratum in strata if stratum.period == period]
    _check_units(units, of_period, period)
    chosen = [s for s in of_period if zone_ids is None or s.zone_id in zone_ids]
    if not chosen:
        asked = "any zone" if zone_ids is None else f"the zone(s) {sorted(zone_ids)}"
        raise SampleError(
            f"no stratum of {asked} in {period}; the strata file needs a row for each stratum of the design"
        )
    names = {(s.zone_id, s.stratum): f"{s.zone_id}/{s.stratum}" for s in chosen}
    return estimate_population(
        [
            Unit(names[unit.zone_id, unit.stratum], _find_map_class(unit, map_classes), unit.reference_class)
            for unit in units
            if unit.period == period and (unit.zone_id, unit.stratum) in names
        ],
        [Stratum(names[s.zone_id, s.stratum], s.size, s.area_m2) for s in chosen],
        classes=classes,
    )


def _check_units(units: Sequence[SampleUnit], strata: Sequence[SampleStratum], period: str) -> None:
    """A unit whose zone or stratum is misspelt would else be left out in silence."""
    known = {(stratum.zone_id, stratum.stratum) for stratum in strata}
    for unit in units:
        if unit.period == period and (unit.zone_id, unit.stratum) not in known:
            raise SampleError(
                f"unit '{unit.unit_id}' of {period} is in zone '{unit.zone_id}', stratum '{unit.stratum}', "
                "which the strata file does not have; add it or correct the unit"
            )


def _find_map_class(unit: SampleUnit, map_classes: Mapping[str, str]) -> str:
    if unit.unit_id not in map_classes:
        raise SampleError(
            f"unit '{unit.unit_id}' of {unit.period} has no map class, {len(map_classes)} units have one; "
            "read the composite of that period at the unit's place"
        )
    return map_classes[unit.unit_id]
