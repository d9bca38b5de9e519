"""Compose: one class per pixel of the period's grid, whatever the number and order of overlapping scenes."""

import logging
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio.windows import Window

from orthostat import storage
from orthostat.aggregation.grid import Tile, tile_box, tile_transform
from orthostat.aggregation.overlap import paint, rank_scene, read_strip, vote
from orthostat.aggregation.work import UNOBSERVED, TileWork, check_classes, footprint, tile_uri
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import NODATA
from orthostat.prediction.item import Prediction
from orthostat.prediction.stac import read_predictions
from orthostat.projection import parse_crs

_STRIP_ROWS = 512
logger = logging.getLogger(__name__)


def compose(work: TileWork) -> None:
    """Write the composite's tiles that are not there yet.

    A tile is a Cloud Optimized GeoTIFF of uint8 class ids on the grid: 254 where no scene covers the pixel,
    255 (the nodata tag) where scenes cover it but none holds valid data; the metadata item UNOBSERVED says
    254. Equal inputs give equal bytes. Raises GridError for predictions of different classes,
    StorageError when a raster is missing.
    """
    predictions = read_predictions(work.item_uris)
    check_classes(predictions)
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, Path] = {}
        for tile in work.tiles:
            uri = tile_uri(work, tile)
            if storage.exists(uri):
                continue
            box = tile_box(work.grid, tile)
            touching = [scene for scene in predictions if footprint(scene, work.grid).intersects(box)]
            for scene in touching:
                if scene.labels.href not in paths:
                    subfolder = Path(folder, str(len(paths)))
                    subfolder.mkdir()
                    paths[scene.labels.href] = storage.local_copy(scene.labels.href, subfolder)
            path = Path(folder, "tile.tif")
            sources = [(scene, paths[scene.labels.href]) for scene in touching]
            compose_tile(work.grid, work.rule, tile, sources, path)
            storage.upload(path, uri, "image/tiff; application=geotiff; profile=cloud-optimized")
            logger.info("composed tile %s_%s of %s from %d scenes", *tile, work.period, len(touching))


def compose_tile(
    grid: Grid, rule: str, tile: Tile, sources: Sequence[tuple[Prediction, Path]], path: Path
) -> None:
    """Write one tile to `path`, in strips of 512 rows: memory does not grow with tile size or scenes."""
    ordered = sorted(sources, key=lambda source: rank_scene(rule, source[0]))
    plain = path.with_suffix(".plain.tif")
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "width": grid.tile_size,
        "height": grid.tile_size,
        "crs": parse_crs(grid.crs).to_wkt(),
        "transform": tile_transform(grid, tile),
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
    }
    with ExitStack() as stack:
        scenes = [stack.enter_context(rasterio.open(labels)) for _, labels in ordered]
        target = stack.enter_context(rasterio.open(plain, "w", **profile))
        target.update_tags(UNOBSERVED=UNOBSERVED)
        if ordered:
            target.write_colormap(1, _colors(ordered[0][0]))
        for first_row in range(0, grid.tile_size, _STRIP_ROWS):
            rows = min(_STRIP_ROWS, grid.tile_size - first_row)
            layers = (read_strip(scene, grid, tile, first_row, rows) for scene in scenes)
            shape = (rows, grid.tile_size)
            strip = vote(layers, shape, len(scenes)) if rule == "majority" else paint(layers, shape)
            target.write(strip, 1, window=Window(0, first_row, grid.tile_size, rows))
    options = {"COMPRESS": "DEFLATE", "BLOCKSIZE": 512, "OVERVIEW_RESAMPLING": "NEAREST"}
    rasterio.shutil.copy(plain, path, driver="COG", **options)


def _colors(prediction: Prediction) -> dict[int, tuple[int, int, int, int]]:
    colors = {}
    for entry in prediction.classes:
        red, green, blue = bytes.fromhex(entry.color.removeprefix("#"))
        colors[entry.class_id] = (red, green, blue, 255)
    return colors
