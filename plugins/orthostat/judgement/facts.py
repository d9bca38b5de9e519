"""What an Item says of its scene, put so that scenes can be compared."""

import math

from orthostat.prediction.item import Prediction
from orthostat.projection import metres_per_unit, parse_crs


def is_detector(prediction: Prediction) -> bool:
    """Whether the model finds objects."""
    return prediction.task == "object_detection"


def shares(prediction: Prediction) -> dict[int, float]:
    """Share of each class in the valid pixels."""
    total = sum(prediction.histogram.values())
    return {class_id: pixels / total for class_id, pixels in prediction.histogram.items()} if total else {}


def densities(prediction: Prediction) -> dict[int, float]:
    """Objects of each class per km2 of observed area; empty where nothing was observed."""
    area_km2 = observed_m2(prediction) / 1e6
    return {class_id: n / area_km2 for class_id, n in (prediction.counts or {}).items()} if area_km2 else {}


def pixel_m(prediction: Prediction) -> float | None:
    """Side in metres of a square as large as a pixel; None for an image without a place on Earth."""
    if prediction.crs is None:
        return None
    rows, columns = prediction.shape
    return math.sqrt(_whole_m2(prediction) / (rows * columns))


def observed_m2(prediction: Prediction) -> float:
    """Area of the valid pixels: the plane's in a projected system, the ellipsoid's in a geographic one."""
    rows, columns = prediction.shape
    return _whole_m2(prediction) * sum(prediction.histogram.values()) / (rows * columns)


def _whole_m2(prediction: Prediction) -> float:
    rows, columns = prediction.shape
    a, b, c, d, e, f = prediction.transform
    crs = parse_crs(prediction.crs)
    geod = crs.get_geod()
    if crs.is_projected or geod is None:
        whole_m2 = rows * columns * abs(a * e - b * d) * metres_per_unit(crs) ** 2
    else:
        corners = [(0, 0), (columns, 0), (columns, rows), (0, rows)]
        x, y = zip(*[(a * i + b * j + c, d * i + e * j + f) for i, j in corners], strict=True)
        whole_m2 = abs(float(geod.polygon_area_perimeter(x, y)[0]))
    return float(whole_m2)
