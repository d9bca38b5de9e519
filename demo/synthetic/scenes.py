"""What the satellite sees: four overlapping scenes a month, with noise and slanted fill edges."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine, features
from shapely.geometry import shape

from demo.synthetic import truth
from demo.synthetic.truth import BUILT, FOREST, SEED, WATER, World

_BANDS = {
    WATER: (7990, 7390, 6265),
    FOREST: (7510, 6840, 6090),
    BUILT: (8600, 8200, 8250),
}
_CROPS = np.array([(7690, 7040, 7570), (7650, 7150, 6400), (7830, 7350, 7250), (7540, 6890, 6170)])
"""Blue, green and red of red soil, green fields, stubble and orchards."""
_ORCHARD = 3
_LOOKALIKES = {
    WATER: ((7800, 7300, 6900), 1.0),
    FOREST: ((7640, 7080, 6420), 1.7),
    BUILT: ((7850, 7350, 7150), 0.45),
}
"""What a class looks like where the patchy noise is above the threshold."""


@dataclass(frozen=True)
class Footprint:
    """Where a track passes each month."""

    track: str
    day: int
    row: int
    column: int
    slant: tuple[float, float]
    """Pixels that the left and right edge lean inwards per row, from top to bottom."""


SCENE_SHAPE = (400, 500)
TRAINING_SEED = 20240131
FOOTPRINTS = (
    Footprint("A", 5, 0, 0, (0.0, -0.16)),
    Footprint("B", 12, 0, 400, (0.04, -0.05)),
    Footprint("C", 19, 200, 0, (0.05, 0.0)),
    Footprint("D", 26, 200, 400, (0.15, 0.0)),
)


def write_scenes(folder: Path, world: World) -> None:
    """Write the twelve scenes as `SYN_A_20240105.tif`: uint16, blue, green and red, fill 0, no nodata tag."""
    folder.mkdir(parents=True, exist_ok=True)
    for month, cover in enumerate(world.months):
        surface = observe(cover, world.parcels, np.random.default_rng([SEED, month]))
        for footprint in FOOTPRINTS:
            day = np.random.default_rng([SEED, month, footprint.day])
            name = f"SYN_{footprint.track}_2024{month + 1:02d}{footprint.day:02d}.tif"
            write_image(folder / name, *_cut(surface, footprint, day))


def observe(
    cover: NDArray[np.uint8], parcels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Blue, green and red of the land cover, (3, rows, columns).

    What makes the model err: orchards look like forest, thin woods, suburbs and muddy water like fields.
    """
    number = np.unique(parcels, return_inverse=True)[1].reshape(parcels.shape)
    kinds = rng.choice(len(_CROPS), size=number.max() + 1, p=(0.3, 0.38, 0.2, 0.12))
    tint = rng.normal(0, 50, size=(number.max() + 1, 1)) + rng.normal(0, 20, size=(number.max() + 1, 3))
    speckle, patches = rng.standard_normal(cover.shape), truth.smooth_noise(rng, 7)
    image: NDArray[np.float64] = np.moveaxis((_CROPS[kinds] + tint)[number], -1, 0)
    image += np.where((kinds == _ORCHARD)[number], 60 * speckle, 0)
    for class_id, bands in _BANDS.items():
        image[:, cover == class_id] = np.array(bands)[:, None]
    image += np.where(cover == FOREST, 45 * speckle, 0) + np.where(cover == BUILT, 420 * speckle, 0)
    for class_id, (bands, threshold) in _LOOKALIKES.items():
        odd = (cover == class_id) & (patches > threshold)
        image[:, odd] = np.array(bands)[:, None] + 0.2 * (image[:, odd] - np.array(_BANDS[class_id])[:, None])
    return image


def write_training(image_path: Path, polygons_path: Path) -> None:
    """Write one scene of another world, seen once, and its whole land cover as polygons with a `name`."""
    world = truth.make_world(TRAINING_SEED)
    cover = world.months[0]
    rng = np.random.default_rng(TRAINING_SEED)
    pixels = np.clip(
        np.rint(observe(cover, world.parcels, rng) + rng.normal(0, 16, size=(3, *cover.shape))), 1, 65535
    )
    write_image(image_path, pixels.astype(np.uint16), truth.TRANSFORM)
    shapes = [
        (shape(geometry), int(value)) for geometry, value in features.shapes(cover, transform=truth.TRANSFORM)
    ]
    names = [list(truth.CLASSES)[value] for _, value in shapes]
    polygons = gpd.GeoDataFrame({"name": names}, geometry=[polygon for polygon, _ in shapes], crs=truth.CRS)
    polygons.dissolve("name", as_index=False).to_file(polygons_path)


def _cut(
    surface: NDArray[np.float64], footprint: Footprint, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], Affine]:
    """One scene of the surface: haze and noise of its day, 0 beyond its slanted edges."""
    rows, columns = SCENE_SHAPE
    top, left = footprint.row, footprint.column
    image = surface[:, top : top + rows, left : left + columns]
    image = image + rng.normal(0, 25) + rng.normal(0, 16, size=image.shape)
    row, column = np.indices(SCENE_SHAPE)
    inside = (column >= footprint.slant[0] * row) & (column < columns + footprint.slant[1] * row)
    pixels = np.where(inside, np.clip(np.rint(image), 1, 65535), 0).astype(np.uint16)
    return pixels, truth.TRANSFORM * Affine.translation(left, top)


def write_image(path: Path, pixels: NDArray[np.uint16], transform: Affine) -> None:
    """Write bands of shape (3, rows, columns) as a tiled GeoTIFF."""
    count, rows, columns = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=rows,
        width=columns,
        dtype=pixels.dtype,
        crs=truth.CRS,
        transform=transform,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        zlevel=1,
        predictor=2,
    ) as dataset:
        dataset.write(pixels)
