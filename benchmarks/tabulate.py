"""`python -m benchmarks.tabulate [--side N] [--zones N]`: class areas per zone against exactextract alone.

A raster of noisy patches and the Voronoi cells of random points. The peer is exactextract with `unique` and
`frac` on the same array, in the same process; this is what `orthostat tabulate` and a tile's pod do with it:
every pixel weighed by its true area. In a projection whose scale varies, and in an equal-area one.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from pyproj import CRS

from orthostat.aggregation.areas import measure_polygons
from orthostat.aggregation.tabulate import measure_values

_REPEATS = 3
_WEST, _NORTH, _PIXEL = 400_000.0, 5_600_000.0, 10.0


def make(side: int, zones: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of shape (side, side), and polygons that fill it."""
    random = np.random.default_rng(side)
    labels = random.integers(0, 6, (side // 50 + 1, side // 50 + 1)).repeat(50, 0).repeat(50, 1)[:side, :side]
    labels = np.where(random.random(labels.shape) < 0.05, random.integers(0, 6, labels.shape), labels)
    extent = shapely.box(_WEST, _NORTH - side * _PIXEL, _WEST + side * _PIXEL, _NORTH)
    points = shapely.MultiPoint(
        np.column_stack(
            [_WEST + random.random(zones) * side * _PIXEL, _NORTH - random.random(zones) * side * _PIXEL]
        )
    )
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=extent))
    return labels.astype(np.uint8), shapely.intersection(cells, extent)


def exactextract(labels: np.ndarray, polygons: np.ndarray, crs: CRS) -> Any:
    """The peer."""
    rows, columns = labels.shape
    source = NumPyRasterSource(
        labels,
        xmin=_WEST,
        ymin=_NORTH - rows * _PIXEL,
        xmax=_WEST + columns * _PIXEL,
        ymax=_NORTH,
        srs_wkt=crs.to_wkt(),
    )
    frame = gpd.GeoDataFrame(geometry=polygons, crs=crs)
    return exact_extract(source, frame, ["unique", "frac", "count"], output="pandas")


def this(labels: np.ndarray, polygons: np.ndarray, crs: CRS) -> Any:
    """The product's own."""
    transform = Affine(_PIXEL, 0, _WEST, 0, -_PIXEL, _NORTH)
    return measure_values(labels, transform, crs, polygons, crs), measure_polygons(crs, polygons)


def best(run: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Least wall and CPU seconds of a few runs."""
    times = []
    for _ in range(_REPEATS):
        wall, cpu = time.monotonic(), time.process_time()
        run(*arguments)
        times.append((time.monotonic() - wall, time.process_time() - cpu))
    return min(t[0] for t in times), min(t[1] for t in times)


def main() -> None:
    """Both, in turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabulate", description=__doc__)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--zones", type=int, default=500)
    arguments = parser.parse_args()
    labels, polygons = make(arguments.side, arguments.zones)
    for name in ("EPSG:32633", "EPSG:6933"):
        theirs = best(exactextract, labels, polygons, CRS(name))
        ours = best(this, labels, polygons, CRS(name))
        print(
            f"{name}: this {ours[0]:.2f} s wall, {ours[1]:.2f} s CPU; peer {theirs[0]:.2f}, {theirs[1]:.2f}"
        )
        print(f"  ratio wall {ours[0] / theirs[0]:.2f}, CPU {ours[1] / theirs[1]:.2f} (to reach: 1.3)")


if __name__ == "__main__":
    main()
