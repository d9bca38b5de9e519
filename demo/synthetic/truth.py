"""What is on the ground: land cover of every pixel in every month, and the zones."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pyproj
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import rasterize
from shapely.geometry import Polygon

from orthostat.aggregation.areas import measure_pixels

CRS = "EPSG:32633"
RESOLUTION_M = 10.0
SHAPE = (600, 900)
WEST, NORTH = 450_000.0, 5_606_000.0
TRANSFORM = Affine(RESOLUTION_M, 0, WEST, 0, -RESOLUTION_M, NORTH)
PIXEL_M2 = float(measure_pixels(pyproj.CRS(CRS), TRANSFORM, *SHAPE).mean())
"""On the ellipsoid, as every figure of a pipeline is: 0.07 % more than 10 m x 10 m, everywhere to 1e-5."""
CLASSES = {"water": "#2b6cb0", "crop": "#e3c567", "forest": "#276749", "built": "#c53030"}
"""Colour per class; the position is the class id, in the truth as in the model."""
WATER, CROP, FOREST, BUILT = range(4)
PERIODS = ("2024-01", "2024-02", "2024-03")
SEED = 20240110

_TOWNS = ((130, 160), (180, 480), (110, 760), (470, 130), (430, 430), (480, 780))
"""Row and column of each zone's town."""


@dataclass(frozen=True)
class World:
    """Land cover of the months, and the field boundaries that do not change."""

    months: tuple[NDArray[np.uint8], ...]
    """Class ids, (600, 900), one per period."""
    parcels: NDArray[np.int64]
    """Number of the field that a pixel belongs to, (600, 900)."""


def make_world(seed: int = SEED) -> World:
    """The world of a seed. Month by month the water rises and the towns grow, both at the crops' cost."""
    rng = np.random.default_rng(seed)
    height, woods, sprawl = (smooth_noise(rng, scale) for scale in (45, 22, 10))
    rows, columns = np.indices(SHAPE)
    distance = np.min([np.hypot(rows - row, columns - column) for row, column in _TOWNS], axis=0)
    months = []
    for month in range(len(PERIODS)):
        cover = np.full(SHAPE, CROP, np.uint8)
        cover[woods > np.quantile(woods, 0.68)] = FOREST
        cover[distance + 9 * sprawl < 38 + 6 * month] = BUILT
        cover[height < np.quantile(height, 0.10 + 0.02 * month)] = WATER
        months.append(cover)
    bend = (9 * smooth_noise(rng, 50)).astype(np.int64)
    parcels = (rows + columns // 4 + bend) // 26 * 1000 + (columns - rows // 3 + bend + 300) // 34
    return World(tuple(months), parcels)


def smooth_noise(rng: np.random.Generator, scale: float) -> NDArray[np.float64]:
    """Noise of mean 0 and standard deviation 1, (600, 900), alike within about `scale` pixels."""
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in SHAPE), indexing="ij"))
    spectrum = np.fft.fft2(rng.standard_normal(SHAPE)) * np.exp(-2 * (np.pi * frequency * scale) ** 2)
    noise = np.fft.ifft2(spectrum).real
    return np.asarray((noise - noise.mean()) / noise.std())


def make_zones() -> gpd.GeoDataFrame:
    """Six zones that leave no gap; their borders, straight and slanted, cut through pixels."""
    south = NORTH - SHAPE[0] * RESOLUTION_M
    lines_y = (NORTH - 4, NORTH - 2996.3, south + 4)
    lines_x = ((4, 4, 4), (2871.5, 3044.2, 3216.8), (6205.1, 5998.7, 5792.2), (8996, 8996, 8996))
    corners = [[(WEST + x, y) for x, y in zip(line, lines_y, strict=True)] for line in lines_x]
    names = ("Northwest", "North", "Northeast", "Southwest", "South", "Southeast")
    cells = [(row, column) for row in range(2) for column in range(3)]
    polygons = [
        Polygon([corners[c][r], corners[c + 1][r], corners[c + 1][r + 1], corners[c][r + 1]])
        for r, c in cells
    ]
    ids = [f"S-{number}" for number in range(1, 7)]
    return gpd.GeoDataFrame({"zone_id": ids, "zone_name": names}, geometry=polygons, crs=CRS)


def zone_of_pixels(zones: gpd.GeoDataFrame) -> NDArray[np.uint8]:
    """Position of the zone that holds a pixel's centre, (600, 900); 255 outside all."""
    shapes = zip(zones.geometry, range(len(zones)), strict=True)
    result: NDArray[np.uint8] = rasterize(
        shapes, out_shape=SHAPE, transform=TRANSFORM, fill=255, dtype=np.uint8
    )
    return result


def truth_areas(cover: NDArray[np.uint8], zones: gpd.GeoDataFrame) -> dict[str, dict[str, float]]:
    """Area in m2 of each class in each zone; border pixels count by the share that lies in the zone."""
    rows, columns = SHAPE
    raster = NumPyRasterSource(
        cover,
        WEST,
        NORTH - rows * RESOLUTION_M,
        WEST + columns * RESOLUTION_M,
        NORTH,
        srs_wkt=zones.crs.to_wkt(),
    )
    found = exact_extract(
        raster, zones, ["unique", "frac", "count"], include_cols=["zone_id"], output="pandas"
    )
    names = list(CLASSES)
    areas = {}
    for row in found.itertuples():
        shares = dict(zip(np.asarray(row.unique, int), row.frac, strict=True))
        areas[row.zone_id] = {
            name: float(shares.get(i, 0.0) * row.count * PIXEL_M2) for i, name in enumerate(names)
        }
    return areas
