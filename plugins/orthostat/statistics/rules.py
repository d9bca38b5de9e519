"""Rules of publication: whether a figure is published, and with which status.

Status codes are SDMX CL_OBS_STATUS. A row has one status; everything that speaks against the figure stands in
its note.
"""

import math
from typing import NamedTuple

from orthostat.estimation.estimates import Estimate
from orthostat.estimation.period import ZoneEstimate
from orthostat.pipelines.config import Publication, Sample


class Published(NamedTuple):
    """What the table shows of a figure."""

    value: float | None
    """Area in m2 or number of objects; None when the figure is not published."""
    obs_status: str
    obs_note: str | None
    """Reasons of the status, in words."""


def publish_map_count(
    mapped: float | None, coverage: float, rules: Publication, counted: str = "pixel"
) -> Published:
    """A pixel or object count: experimental (G), as its error is unknown; missing (O) where little was seen.

    `mapped` is an area in m2 or a number of objects, `coverage` the observed share of the zone's area.
    """
    if coverage == 0:
        return Published(None, "O", "nothing was observed")
    if coverage < rules.min_coverage or mapped is None:
        return Published(None, "O", _too_little_seen(coverage, rules))
    notes = [
        f"{counted} count: no reference sample behind it, no interval",
        *_doubts_of_coverage(coverage, rules),
    ]
    return Published(mapped, "G", "; ".join(notes))


def publish_estimate(area: Estimate, zone: ZoneEstimate, sample: Sample, rules: Publication) -> Published:
    """An estimate from a reference sample: provisional (P) until it is signed off.

    Suppressed (Q) where the coefficient of variation passes its limit, missing (O) where too many units could
    not be interpreted, experimental (G) from a simulated sample, of low reliability (U) with any other doubt,
    of another definition (D) when it is about the frame. The map plays no part in it, nor does its coverage.
    """
    said = ["simulated sample"] if sample.is_simulated else []
    if sample.population == "frame":
        said.append(f"about the frame: {sample.frame}")
    missed = zone.uninterpreted_size / (zone.sample_size + zone.uninterpreted_size)
    if missed > rules.refuse_uninterpreted:
        return Published(None, "O", "; ".join([_uninterpreted(missed, rules.refuse_uninterpreted), *said]))
    cv_pct, of_what = _precision(area, zone, rules)
    if cv_pct > rules.suppress_cv_pct:
        reason = f"{of_what} {cv_pct:.4g} % is above {rules.suppress_cv_pct:g} %"
        return Published(None, "Q", "; ".join([reason, *said]))
    doubts = []
    if area.is_degenerate:
        doubts.append("no standard error, as the sample shows no variation; see the interval")
    if cv_pct > rules.max_cv_pct:
        doubts.append(f"{of_what} {cv_pct:.4g} % is above {rules.max_cv_pct:g} %")
    if missed > rules.max_uninterpreted:
        doubts.append(_uninterpreted(missed, rules.max_uninterpreted))
    regular = "D" if sample.population == "frame" else "P"
    status = "G" if sample.is_simulated else "U" if doubts else regular
    return Published(area.estimate, status, "; ".join([*said, *doubts]) or None)


def _precision(area: Estimate, zone: ZoneEstimate, rules: Publication) -> tuple[float, str]:
    """The coefficient of variation that an estimate is judged by, in per cent, and what it is of.

    A small share has the one of the design: sqrt((1 - s) / (s n)) at the share s = small_share, n being the
    effective size. It does not depend on what came out, so that no estimate is chosen for being large.
    """
    if area.estimate < rules.small_share * zone.area_m2:
        share = rules.small_share
        cv_pct = 100 * math.sqrt((1 - share) / share / zone.effective_size)
        return cv_pct, f"below {share:.0%} of the population the design's CV counts, which"
    return area.cv_pct or 0.0, "CV"


def _uninterpreted(share: float, limit: float) -> str:
    return f"{share:.1%} of the units could not be interpreted, above {limit:.1%}"


def _too_little_seen(coverage: float, rules: Publication) -> str:
    return f"coverage {coverage:.4g} is below {rules.min_coverage:g}"


def _doubts_of_coverage(coverage: float, rules: Publication) -> list[str]:
    if coverage < rules.normal_coverage:
        return [f"coverage {coverage:.4g} is below the normal {rules.normal_coverage:g}"]
    return []
