"""Rules of publication: whether a figure is published, and with which status.

Status codes are SDMX CL_OBS_STATUS. A row has one status; everything that speaks against the figure stands in
its note.
"""

from typing import NamedTuple

from orthostat.estimation.period import AreaEstimate
from orthostat.pipelines.config import Publication


class Published(NamedTuple):
    """What the table shows of a figure."""

    value: float | None
    """Area in m2 or number of objects; None when the figure is not published."""
    obs_status: str
    obs_note: str | None
    """Reasons of the status, in words."""


def publish_map_count(
    mapped: float, coverage: float, rules: Publication, counted: str = "pixel"
) -> Published:
    """A pixel or object count: experimental (G), as its error is unknown; missing (O) where little was seen.

    `mapped` is an area in m2 or a number of objects, `coverage` the observed share of the zone's area.
    """
    if coverage < rules.min_coverage:
        return Published(None, "O", _too_little_seen(coverage, rules))
    notes = [
        f"{counted} count: no reference sample behind it, no interval",
        *_doubts_of_coverage(coverage, rules),
    ]
    return Published(mapped, "G", "; ".join(notes))


def publish_estimate(
    area: AreaEstimate, coverage: float, is_simulated: bool, rules: Publication
) -> Published:
    """An estimate from a reference sample: provisional (P) until it is signed off.

    Missing (O) where too little of the zone was seen, suppressed (Q) where the coefficient of variation
    passes its limit, experimental (G) from a simulated sample, of low reliability (U) with any other doubt.
    """
    if coverage < rules.min_coverage:
        return Published(None, "O", _too_little_seen(coverage, rules))
    simulated = ["simulated sample"] if is_simulated else []
    if area.cv_pct is not None and area.cv_pct > rules.suppress_cv_pct:
        reason = f"CV {area.cv_pct:.4g} % is above {rules.suppress_cv_pct:g} %"
        return Published(None, "Q", "; ".join([reason, *simulated]))
    doubts = [*_doubts_of_estimate(area, rules), *_doubts_of_coverage(coverage, rules)]
    status = "G" if is_simulated else "U" if doubts else "P"
    return Published(area.estimate_m2, status, "; ".join([*simulated, *doubts]) or None)


def _too_little_seen(coverage: float, rules: Publication) -> str:
    return f"coverage {coverage:.4g} is below {rules.min_coverage:g}"


def _doubts_of_coverage(coverage: float, rules: Publication) -> list[str]:
    if coverage < rules.normal_coverage:
        return [f"coverage {coverage:.4g} is below the normal {rules.normal_coverage:g}"]
    return []


def _doubts_of_estimate(area: AreaEstimate, rules: Publication) -> list[str]:
    if area.is_degenerate:
        return ["standard error 0 because the sample shows no variation; the true one is larger"]
    if area.cv_pct is not None and area.cv_pct > rules.max_cv_pct:
        return [f"CV {area.cv_pct:.4g} % is above {rules.max_cv_pct:g} %"]
    return []
