"""The rules of judging: pure functions of an Item's facts, each giving a reason or nothing."""

from functools import lru_cache

from rasterio.warp import transform_bounds

from orthostat.judgement.applicability import reasons_drifted
from orthostat.judgement.facts import is_detector, observed_m2, shares
from orthostat.judgement.history import History
from orthostat.pipelines.config import Judgement
from orthostat.prediction.item import Prediction

_FEWEST = 10
"""Fewer objects than this, found or expected, differ by chance."""
Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees (EPSG:4326)."""


def reasons_to_refuse(prediction: Prediction, rules: Judgement, zone_bounds: Bounds) -> list[str]:
    """Why a prediction cannot be used at all; empty when it can."""
    reasons = []
    if (prediction.crs, prediction.shape) != (prediction.source_crs, prediction.source_shape):
        reasons.append(
            f"labels are {prediction.shape} in {prediction.crs}, the image is {prediction.source_shape} in "
            f"{prediction.source_crs}; predict again"
        )
    known = {label_class.class_id for label_class in prediction.classes}
    unknown = sorted(set(_found(prediction)) - known)
    if unknown:
        reasons.append(f"class ids {unknown} are not among the model's {sorted(known)}; check the bundle")
    if prediction.valid_fraction == 0:
        reasons.append("the image holds no valid pixel; check its nodata value and 'scenes.fill'")
    elif prediction.valid_fraction < rules.min_valid_fraction:
        reasons.append(
            f"valid fraction {prediction.valid_fraction:.3f} is below min_valid_fraction "
            f"{rules.min_valid_fraction}"
        )
    bounds = _to_degrees(prediction.crs, prediction.bounds)
    if not _overlap(bounds, zone_bounds):
        place = ", ".join(f"{degrees:.3f}" for degrees in bounds)
        west, south, east, north = zone_bounds
        cure = "check the image's coordinate system"
        if _overlap(bounds, (south, west, north, east)):
            cure = "the axes of the zones are swapped: write longitude first"
        reasons.append(f"its footprint ({place} degrees) touches no zone; {cure}")
    return reasons


def reasons_to_flag(prediction: Prediction, history: History, rules: Judgement) -> list[str]:
    """What is unusual about a prediction beside earlier ones of the pipeline; empty when nothing is."""
    if len(history) < rules.min_history:
        return []
    reasons = list(reasons_drifted(prediction, history, rules))
    if is_detector(prediction):
        return [*reasons, *_flag_densities(prediction, history, rules.max_density_factor)]
    found = shares(prediction)
    for label_class in prediction.classes:
        share = found.get(label_class.class_id, 0.0)
        usual = history.median(label_class.class_id)
        if abs(share - usual) > rules.max_share_change:
            reasons.append(
                f"share of {label_class.name} is {share:.2f}, the median of {len(history)} earlier scenes is "
                f"{usual:.2f}; they differ by more than max_share_change {rules.max_share_change}"
            )
    return reasons


def _flag_densities(prediction: Prediction, history: History, factor: float) -> list[str]:
    area_km2 = observed_m2(prediction) / 1e6
    reasons = []
    for label_class in prediction.classes:
        found = (prediction.counts or {}).get(label_class.class_id, 0)
        expected = history.median(label_class.class_id) * area_km2
        is_unusual = found > factor * expected or found < expected / factor
        if is_unusual and max(found, expected) >= _FEWEST:
            reasons.append(
                f"{found} {label_class.name} on {area_km2:.3g} km2, {expected:.1f} would be the median of "
                f"{len(history)} earlier scenes; they differ by more than max_density_factor {factor}"
            )
    return reasons


def _found(prediction: Prediction) -> dict[int, int]:
    """Objects, or else pixels, per class id."""
    return (prediction.counts or {}) if is_detector(prediction) else prediction.histogram


@lru_cache(100_000)
def _to_degrees(crs: str | None, bounds: Bounds) -> Bounds:
    """Scenes of an archive often lie on the same places again."""
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
    return west, south, east, north


def _overlap(one: Bounds, other: Bounds) -> bool:
    return any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        for a in _split(one)
        for b in _split(other)
    )


def _split(bounds: Bounds) -> list[Bounds]:
    """In two at the antimeridian, where the west is east of the east."""
    west, south, east, north = bounds
    return [bounds] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]
