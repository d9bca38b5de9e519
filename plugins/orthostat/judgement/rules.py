"""The rules of judging: pure functions of an Item's facts, each giving a reason or nothing."""

from collections.abc import Sequence
from statistics import median

from rasterio.warp import transform_bounds

from orthostat.pipelines.config import Judgement
from orthostat.prediction.item import Prediction

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
    unknown = sorted(set(prediction.histogram) - known)
    if unknown:
        reasons.append(f"class ids {unknown} are not among the model's {sorted(known)}; check the bundle")
    if prediction.valid_fraction == 0:
        reasons.append("the image holds no valid pixel; check its nodata value and 'scenes.fill'")
    elif prediction.valid_fraction < rules.min_valid_fraction:
        reasons.append(
            f"valid fraction {prediction.valid_fraction:.3f} is below min_valid_fraction "
            f"{rules.min_valid_fraction}"
        )
    bounds = transform_bounds(prediction.crs, "EPSG:4326", *prediction.bounds)
    if not _overlap(bounds, zone_bounds):
        place = ", ".join(f"{degrees:.3f}" for degrees in bounds)
        reasons.append(
            f"its footprint ({place} degrees) touches no zone; check the image's coordinate system"
        )
    return reasons


def reasons_to_flag(prediction: Prediction, history: Sequence[Prediction], rules: Judgement) -> list[str]:
    """What is unusual about a prediction beside earlier ones of the pipeline; empty when nothing is."""
    if len(history) < rules.min_history:
        return []
    earlier = [shares(past) for past in history]
    reasons = []
    for label_class in prediction.classes:
        share = shares(prediction).get(label_class.class_id, 0.0)
        usual = median(past.get(label_class.class_id, 0.0) for past in earlier)
        if abs(share - usual) > rules.max_share_change:
            reasons.append(
                f"share of {label_class.name} is {share:.2f}, the median of {len(history)} earlier scenes is "
                f"{usual:.2f}; they differ by more than max_share_change {rules.max_share_change}"
            )
    return reasons


def shares(prediction: Prediction) -> dict[int, float]:
    """Share of each class in the valid pixels."""
    total = sum(prediction.histogram.values())
    return {class_id: pixels / total for class_id, pixels in prediction.histogram.items()} if total else {}


def _overlap(one: Bounds, other: Bounds) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
