"""The simulated reference sample: stratified by zone and by an outdated map, simple random within strata."""

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from demo.synthetic.truth import (
    CLASSES,
    PERIODS,
    PIXEL_M2,
    SEED,
    TRANSFORM,
    World,
    zone_of_pixels,
)

MIN_UNITS = 30
"""Units of a small stratum. With fewer, intervals around rare classes are too short."""
PIXELS_PER_UNIT = 300
"""A large stratum gets a unit for every so many pixels."""
_SMALLEST = 100
"""Pixels; a class that is rarer in a zone joins the stratum of the zone's commonest class."""


def draw_sample(world: World, zones: gpd.GeoDataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sample and strata of all periods, with the columns that a pipeline's `sample` asks for.

    The strata are the same in every period: they know nothing of the month's map. A pixel belongs to the zone
    that holds its centre, and the reference class is the truth at that pixel in that month.
    """
    zone_of_pixel = zone_of_pixels(zones)
    outdated = outdated_map(world)
    names = list(CLASSES)
    units, strata = [], []
    for month, period in enumerate(PERIODS):
        rng = np.random.default_rng([SEED, month, 7])
        drawn = 0
        for position, zone_id in enumerate(zones["zone_id"]):
            for class_id, pixels in _strata(outdated, zone_of_pixel == position).items():
                stratum = f"was_{names[class_id]}"
                size = len(pixels)
                strata.append((period, zone_id, stratum, size, size * PIXEL_M2))
                for row, column in rng.choice(pixels, sample_size(size), replace=False):
                    drawn += 1
                    x, y = TRANSFORM * (column + 0.5, row + 0.5)
                    reference = names[world.months[month][row, column]]
                    units.append((f"{period}-{drawn:04d}", period, zone_id, stratum, x, y, reference))
    columns = ["unit_id", "period", "zone_id", "stratum", "x", "y", "reference_class"]
    return (
        pd.DataFrame(units, columns=columns),
        pd.DataFrame(strata, columns=["period", "zone_id", "stratum", "size", "area_m2"]),
    )


def sample_size(stratum_size: int) -> int:
    """Number of units of a stratum of so many pixels."""
    return min(stratum_size, max(MIN_UNITS, stratum_size // PIXELS_PER_UNIT))


def outdated_map(world: World) -> NDArray[np.uint8]:
    """The first month's land cover with 150 wrong blocks, as an old map has them, (600, 900)."""
    rng = np.random.default_rng([SEED, 8])
    old = world.months[0].copy()
    rows, columns = old.shape
    for _ in range(150):
        row, column = rng.integers(rows - 24), rng.integers(columns - 24)
        old[row : row + 24, column : column + 24] = rng.integers(len(CLASSES))
    return old


def _strata(outdated: NDArray[np.uint8], in_zone: NDArray[np.bool_]) -> dict[int, NDArray[np.int64]]:
    """Row and column of the pixels of each stratum of a zone, by class id."""
    counts = np.bincount(outdated[in_zone], minlength=len(CLASSES))
    common = int(counts.argmax())
    stratum_of_class = np.where(counts < _SMALLEST, common, np.arange(len(CLASSES)))
    stratum = stratum_of_class[outdated]
    return {
        int(class_id): np.argwhere(in_zone & (stratum == class_id))
        for class_id in np.unique(stratum_of_class)
    }
