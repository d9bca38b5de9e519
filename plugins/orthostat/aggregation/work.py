"""What one compose and tabulate pod is told, and how a period's tiles are shared among pods."""

from collections.abc import Sequence
from itertools import pairwise

import shapely
from pydantic import BaseModel, ConfigDict
from pyproj import Transformer
from shapely import STRtree

from orthostat import storage
from orthostat.aggregation.borders import densify, project_zones
from orthostat.aggregation.grid import Tile, tile_bounds, tile_box, tile_side, tiles_of
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import GridError
from orthostat.layout import Layout
from orthostat.pipelines.config import Grid, Pipeline, Zones
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.description import Task
from orthostat.prediction.item import Prediction
from orthostat.projection import check_defined, parse_crs, parse_projected

UNOBSERVED = 254
"""A composite's pixel that no scene covers; 255 (item.NODATA) is covered, but never with valid data."""
OBJECTS: Task = "object_detection"
OBSERVED = LabelClass(0, "observed", "E0E0E0")
"""The one class of a composite of which objects are counted."""
_TILES_PER_POD = 8


class TileWork(BaseModel):
    """The work of one pod: some tiles of one period's composite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: str
    """The pipeline's `output` URI."""
    period: str
    inputs_sha256: str
    """Digest of all that decides the composite and its tabulation; part of every key."""
    number: int
    """Counts the period's manifests from 0."""
    grid: Grid
    rule: str
    """`newest`, `least_cloudy` or `majority`."""
    zones: Zones
    task: Task = "semantic_segmentation"
    """What the model does; of detected objects, the tiles' objects are composed and counted, too."""
    merge_threshold: float = 0.5
    """Boxes of two scenes whose intersection over union is larger are one object."""
    item_uris: tuple[str, ...]
    """Items of the used predictions that touch these tiles; of objects, also those within a tile's side."""
    tiles: tuple[Tile, ...]
    """Columns and rows."""


def tile_uri(work: TileWork, tile: Tile) -> str:
    """Where a tile of the composite lies."""
    return Layout(work.root).period(work.period, work.inputs_sha256, "tiles", f"{tile[0]}_{tile[1]}.tif")


def objects_uri(work: TileWork, tile: Tile) -> str:
    """Where the objects of a tile lie, each of the period's objects once."""
    name = f"{tile[0]}_{tile[1]}.parquet"
    return Layout(work.root).period(work.period, work.inputs_sha256, "objects", name)


def tabulation_uri(work: TileWork) -> str:
    """Where the pod's partial tabulation lies."""
    return Layout(work.root).period(work.period, work.inputs_sha256, "tabulations", f"{work.number:04d}.json")


def read_work(uri: str) -> TileWork:
    """The manifest at `uri`. Raises StorageError when it is missing."""
    return TileWork.model_validate(storage.read_json(uri))


def plan_work(
    pipeline: Pipeline,
    period: str,
    inputs_sha256: str,
    predictions: Sequence[tuple[str, Prediction]],
    zones: ZoneSet,
) -> list[TileWork]:
    """Share the tiles that both a prediction and a zone touch among at most `max_pods` pods.

    `predictions` are pairs of Item URI and prediction, in any order: equal sets give equal work. Tiles of a
    pod are neighbours, so that it reads few scenes. No tile, no work. Raises GridError where predictions have
    different classes, or where the grid does not keep areas.
    """
    check_classes([prediction for _, prediction in predictions])
    grid, crs = pipeline.grid, parse_projected(pipeline.grid.crs)
    tree = STRtree(project_zones(zones, crs, grid.resolution_m).geometries)
    areas = {uri: footprint(prediction, grid) for uri, prediction in predictions}
    planned = {
        tile
        for area in areas.values()
        for tile in tiles_of(grid, area.bounds)
        if area.intersects(tile_box(grid, tile))
        and len(tree.query(tile_box(grid, tile), predicate="intersects"))
    }
    tasks = {prediction.task for _, prediction in predictions}
    items_of = _find_items(areas, planned, grid, tile_side(grid) if OBJECTS in tasks else 0.0)
    tiles = sorted(items_of, key=lambda tile: (tile[1], tile[0]))
    for tile in tiles:
        check_defined(crs, tile_bounds(grid, tile))
    return [
        TileWork(
            root=pipeline.output,
            period=period,
            inputs_sha256=inputs_sha256,
            number=number,
            grid=grid,
            rule=pipeline.rule,
            zones=pipeline.zones,
            task=predictions[0][1].task,
            merge_threshold=pipeline.merge_threshold,
            item_uris=tuple(sorted(set().union(*(items_of[tile] for tile in chunk)))),
            tiles=tuple(chunk),
        )
        for number, chunk in enumerate(_share(tiles, pipeline.max_pods))
    ]


def _find_items(
    areas: dict[str, shapely.Polygon], planned: set[Tile], grid: Grid, margin_m: float
) -> dict[Tile, set[str]]:
    """Of each planned tile, the Items whose footprint touches it or the margin around it."""
    items_of: dict[Tile, set[str]] = {}
    for uri, area in areas.items():
        west, south, east, north = area.bounds
        around = (west - margin_m, south - margin_m, east + margin_m, north + margin_m)
        for tile in planned.intersection(tiles_of(grid, around)):
            if area.intersects(tile_box(grid, tile, margin_m)):
                items_of.setdefault(tile, set()).add(uri)
    return items_of


def footprint(prediction: Prediction, grid: Grid) -> shapely.Polygon:
    """The raster's outline in the grid's system; up to a fifth of a pixel too wide, never too narrow."""
    rows, columns = prediction.shape
    a, b, c, d, e, f = prediction.transform
    corners = [(0, 0), (columns, 0), (columns, rows), (0, rows)]
    outline = shapely.Polygon([(a * i + b * j + c, d * i + e * j + f) for i, j in corners])
    source, target = parse_crs(prediction.crs), parse_crs(grid.crs)
    if source.equals(target, ignore_axis_order=True):
        return outline
    tolerance = 0.1 * grid.resolution_m
    try:
        there = densify(outline, Transformer.from_crs(source, target, always_xy=True), tolerance)
        return there.buffer(tolerance)
    except GridError as error:
        raise GridError(
            f"scene {prediction.scene_id} cannot be shown in the grid's {target.name} ({error}); "
            "choose a grid that holds all scenes"
        ) from error


def check_classes(predictions: Sequence[Prediction]) -> None:
    """Raises GridError unless all predictions have one task and the same classes, ids below UNOBSERVED."""
    for prediction in predictions:
        names = {entry.class_id: entry.name for entry in prediction.classes}
        expected = {entry.class_id: entry.name for entry in predictions[0].classes}
        if (prediction.task, names) != (predictions[0].task, expected):
            raise GridError(
                f"scene {prediction.scene_id} has the classes {names}, scene {predictions[0].scene_id} has "
                f"{expected}; compose predictions of one model only"
            )
        if max(names, default=0) >= UNOBSERVED:
            raise GridError(
                f"class id {max(names)} of scene {prediction.scene_id} is over the limit {UNOBSERVED - 1}; "
                "254 and 255 mean unobserved and no data"
            )


def _share(tiles: list[Tile], max_pods: int) -> list[list[Tile]]:
    """Even runs of neighbouring tiles: as many pods as are worth starting, at most `max_pods`."""
    pods = min(max_pods, -(-len(tiles) // _TILES_PER_POD))
    borders = [number * len(tiles) // pods for number in range(pods + 1)] if pods else []
    return [tiles[start:end] for start, end in pairwise(borders)]
