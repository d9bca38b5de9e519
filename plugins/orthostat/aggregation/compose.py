"""Compose: one class per pixel of the period's grid, and each object once, whatever scenes overlap there."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import rasterio
import rasterio.shutil
import shapely
from rasterio.errors import RasterioError
from rasterio.windows import Window

from orthostat import storage
from orthostat.aggregation.detections import write_objects
from orthostat.aggregation.grid import tile_box, tile_side, tile_transform
from orthostat.aggregation.keys import TileTask, rank_scene
from orthostat.aggregation.objects import Source, compose_objects
from orthostat.aggregation.overlap import STRIP_ROWS, paint, read_strip, vote
from orthostat.aggregation.scene_files import SceneFiles
from orthostat.aggregation.values import OBJECTS, OBSERVED, UNOBSERVED, Tile
from orthostat.aggregation.windows import open_raster
from orthostat.aggregation.work import TileWork, check_classes
from orthostat.errors import StorageError
from orthostat.gdal import without_account
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import NODATA
from orthostat.prediction.item import Prediction
from orthostat.prediction.stac import media_type, read_predictions
from orthostat.projection import parse_crs
from orthostat.scratch import scratch_folder

logger = logging.getLogger(__name__)


def compose(work: TileWork, advance: Callable[[], None] = lambda: None) -> None:
    """Write the composite's tiles that are not there yet; `advance` is called after each.

    A tile is a Cloud Optimized GeoTIFF of uint8 class ids on the grid: 254 where no scene covers the pixel,
    255 (the nodata tag) where scenes cover it but none holds valid data; the metadata item UNOBSERVED says
    254. Objects are a GeoParquet beside it (`detections.write_objects`), written first: a tile that is there
    has its objects. Equal inputs give equal bytes. Raises GridError for predictions of different classes,
    StorageError when a raster is missing.
    """
    try:
        _compose(work, advance)
    except RasterioError as error:
        raise StorageError(
            f"a raster of {work.period} cannot be read ({error}); predict its scene again"
        ) from error


@without_account()
def _compose(work: TileWork, advance: Callable[[], None]) -> None:
    predictions = read_predictions(work.item_uris)
    check_classes(predictions)
    with scratch_folder() as folder:
        files = SceneFiles(folder, work.grid, predictions)
        near = [files.touching(_surroundings(work.grid, task)) for task in work.tiles]
        for place, task in enumerate(work.tiles):
            files.keep({number for numbers in near[place:] for number in numbers})
            path = Path(folder, "tile.tif")
            if not storage.exists(task.tile_uri):
                if task.objects_uri is not None:
                    sources = [files.source(number) for number in near[place]]
                    _write_objects(work, task, sources, files.scenes, Path(folder, "tile.parquet"))
                touching = files.touching(tile_box(work.grid, task.tile))
                labels = [files.labels(number) for number in touching]
                compose_tile(work.grid, work.rule, task.tile, labels, path)
                storage.upload(path, task.tile_uri, media_type(path.name))
                logger.info("composed %s_%s of %s from %d scenes", *task.tile, work.period, len(touching))
            advance()


def _surroundings(grid: Grid, task: TileTask) -> shapely.Polygon:
    """The tile; where objects are composed, which may reach over its edge, with a tile's side around it."""
    return tile_box(grid, task.tile, 0.0 if task.objects_uri is None else tile_side(grid))


def _write_objects(
    work: TileWork, task: TileTask, sources: Sequence[Source], scenes: Sequence[Prediction], path: Path
) -> None:
    objects = compose_objects(work.grid, work.rule, work.merge_threshold, task.tile, sources)
    write_objects(path, objects, [scene.scene_id for scene in scenes], scenes[0].classes, work.grid)
    storage.upload(path, str(task.objects_uri), media_type(path.name))


def compose_tile(
    grid: Grid, rule: str, tile: Tile, sources: Sequence[tuple[Prediction, str]], path: Path
) -> None:
    """Write one tile to `path`, in strips of 512 rows: memory does not grow with tile size or scenes.

    `sources` are scenes with the URI of their raster.
    """
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
        scenes = [stack.enter_context(open_raster(labels)) for _, labels in ordered]
        target = stack.enter_context(rasterio.open(plain, "w", **profile))
        target.update_tags(UNOBSERVED=UNOBSERVED)
        if ordered:
            target.write_colormap(1, _colors(ordered[0][0]))
        for first_row in range(0, grid.tile_size, STRIP_ROWS):
            rows = min(STRIP_ROWS, grid.tile_size - first_row)
            transform, shape = tile_transform(grid, tile, first_row), (rows, grid.tile_size)
            layers = (read_strip(scene, grid, transform, shape) for scene in scenes)
            strip = vote(layers, shape, len(scenes)) if rule == "majority" else paint(layers, shape)
            target.write(strip, 1, window=Window(0, first_row, grid.tile_size, rows))
    options = {"COMPRESS": "DEFLATE", "BLOCKSIZE": 512, "OVERVIEW_RESAMPLING": "NEAREST"}
    rasterio.shutil.copy(plain, path, driver="COG", **options)


def _colors(prediction: Prediction) -> dict[int, tuple[int, int, int, int]]:
    classes = [OBSERVED] if prediction.task == OBJECTS else prediction.classes
    return {entry.class_id: (*entry.rgb, 255) for entry in classes}
