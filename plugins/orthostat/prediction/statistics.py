"""Statistics of an image's own pixels, for models whose pixels are scaled by them."""

from collections.abc import Sequence

import numpy as np

from orthostat.errors import SceneError
from orthostat.prediction.blocks import Area
from orthostat.prediction.read import Image

_SIDE = 2048
"""Side in pixels of the blocks that are read at a time."""


def image_statistics(image: Image, channels: Sequence[int]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all its values but 0, which means no data.

    What Raster Vision's StatsAnalyzer computes with a sample probability of 1 (core/raster_stats.py); its
    default samples a tenth of the chips at random. Raises SceneError when a channel has no value.
    """
    count, total, squares = np.zeros((3, len(channels)))
    shift = None
    rows, columns = image.shape
    for top in range(0, rows, _SIDE):
        for left in range(0, columns, _SIDE):
            area = Area(top, left, top + _SIDE, left + _SIDE).clip(rows, columns)
            values = (
                image.block(area, is_counted=False)
                .chip(area, channels)
                .reshape(-1, len(channels))
                .astype(np.float64)
            )
            values[values == 0] = np.nan
            if (
                shift is None
            ):  # near the mean, so that squares of large values do not swallow their differences
                shift = np.nan_to_num(np.nanmean(np.vstack([values, np.zeros((1, len(channels)))]), axis=0))
            values -= shift
            count += (~np.isnan(values)).sum(axis=0)
            total += np.nansum(values, axis=0)
            squares += np.nansum(values**2, axis=0)
    if shift is None or (count == 0).any():
        raise SceneError(
            f"{image.name} has no value other than 0 in band(s) "
            f"{[c + 1 for c, n in zip(channels, count, strict=True) if n == 0]}, so it has no statistics; "
            "predict it with the bundle's (without update_stats)"
        )
    mean = total / count
    return (shift + mean).tolist(), np.sqrt(np.maximum(squares / count - mean**2, 0)).tolist()
