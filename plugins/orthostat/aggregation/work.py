"""What one compose and tabulate pod is told, and how a period's tiles are shared among pods."""

import logging
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import shapely
from pydantic import BaseModel, ConfigDict
from pyproj import Transformer
from shapely import STRtree

from orthostat import storage
from orthostat.aggregation.borders import densify
from orthostat.aggregation.boundaries import Boundaries
from orthostat.aggregation.grid import tile_bounds, tile_box, tile_side, tiles_of
from orthostat.aggregation.keys import TileTask, make_task
from orthostat.aggregation.values import OBJECTS, UNOBSERVED, Tile
from orthostat.errors import GridError
from orthostat.pipelines.config import Grid, Pipeline
from orthostat.prediction.item import Prediction
from orthostat.projection import check_defined, parse_crs, parse_projected

_TILES_PER_POD = 8
logger = logging.getLogger(__name__)


class TileWork(BaseModel):
    """The work of one pod: some tiles of one period's composite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: str
    grid: Grid
    rule: str
    """`newest`, `least_cloudy` or `majority`."""
    boundaries_uri: str
    """The zones in the grid's system."""
    merge_threshold: float = 0.5
    """Boxes of two scenes whose intersection over union is larger are one object."""
    item_uris: tuple[str, ...]
    """Items of the used predictions that touch these tiles; of objects, also those within a tile's side."""
    tiles: tuple[TileTask, ...]


class PodWork(BaseModel):
    """What one pod is told: tiles of one period, or of several small ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    works: tuple[TileWork, ...]


class PlannedTiles(NamedTuple):
    """All tiles of a period's composite, and who computes those that are not there."""

    tasks: list[TileTask]
    """Every tile, row by row from the north-west."""
    works: list[TileWork]
    """What the pods are told; nothing when every tile is there."""


def read_work(uri: str) -> PodWork:
    """The manifest at `uri`. Raises StorageError when it is missing."""
    return PodWork.model_validate(storage.read_json(uri))


def share_work(works: Sequence[TileWork], max_pods: int) -> list[PodWork]:
    """Work of all periods of a run, for no more pods than are worth starting and at most `max_pods`.

    Neighbours stay together, and no pod has more than one work over its even share.
    """
    tiles = sum(len(work.tiles) for work in works)
    pods = min(max_pods, len(works), -(-tiles // _TILES_PER_POD))
    shares: list[list[TileWork]] = [[] for _ in range(pods)]
    before = 0
    for work in works:
        shares[min(before * pods // tiles, pods - 1)].append(work)
        before += len(work.tiles)
    return [PodWork(works=tuple(share)) for share in shares if share]


class Progress:
    """Says in the log how many of a pod's tiles are done."""

    def __init__(self, works: Sequence[TileWork]) -> None:
        self.done, self.total = 0, sum(len(work.tiles) for work in works)

    def advance(self) -> None:
        """One more is done."""
        self.done += 1
        logger.info("%d of %d tiles done", self.done, self.total)


def plan_work(
    pipeline: Pipeline,
    period: str,
    predictions: Sequence[tuple[str, Prediction]],
    boundaries: tuple[str, Boundaries],
    there: Collection[str] = (),
) -> PlannedTiles:
    """The tiles that both a prediction and a zone touch, and those to compute shared among `max_pods` pods.

    `predictions` are pairs of Item URI and prediction, in any order: equal sets give equal work. Tiles of a
    pod are neighbours, so that it reads few scenes. `boundaries` are with their URI, `there` (`list_tiles`)
    is what need not be computed. Raises GridError where predictions have different classes, or where the grid
    does not keep areas.
    """
    check_classes([prediction for _, prediction in predictions])
    grid, crs = pipeline.grid, parse_projected(pipeline.grid.crs)
    found = dict(predictions)
    areas = {uri: footprint(prediction, grid) for uri, prediction in found.items()}
    zones_of = _find_zones(
        boundaries[1], grid, {t for area in areas.values() for t in tiles_of(grid, area.bounds)}
    )
    planned = {
        tile
        for area in areas.values()
        for tile in zones_of.keys() & tiles_of(grid, area.bounds)
        if area.intersects(tile_box(grid, tile))
    }
    has_objects = any(prediction.task == OBJECTS for prediction in found.values())
    items_of = _find_items(areas, planned, grid, tile_side(grid) if has_objects else 0.0)
    tiles = sorted(items_of, key=lambda tile: (tile[1], tile[0]))
    for tile in tiles:
        check_defined(crs, tile_bounds(grid, tile))
    tasks = [
        make_task(
            pipeline,
            period,
            tile,
            [found[uri] for uri in items_of[tile]],
            zones_of[tile],
        )
        for tile in tiles
    ]
    missing = [task for task in tasks if not {task.tile_uri, task.tabulation_uri}.issubset(there)]
    works = [
        TileWork(
            period=period,
            grid=grid,
            rule=pipeline.rule,
            boundaries_uri=boundaries[0],
            merge_threshold=pipeline.merge_threshold,
            item_uris=tuple(sorted(set().union(*(items_of[task.tile] for task in chunk)))),
            tiles=tuple(chunk),
        )
        for chunk in _share(missing, pipeline.max_pods)
    ]
    return PlannedTiles(tasks, works)


def _find_zones(boundaries: Boundaries, grid: Grid, tiles: set[Tile]) -> dict[Tile, list[str]]:
    """Of each tile that a zone touches, the digests of these zones."""
    zones, ordered = boundaries.projected, sorted(tiles)
    boxes = np.array([tile_box(grid, tile) for tile in ordered], dtype=object)
    near, zone = STRtree(boxes).query(zones.geometries)[::-1]
    shapely.prepare(zones.geometries)
    is_touching = shapely.intersects(zones.geometries[zone], boxes[near])
    found: dict[Tile, list[str]] = {}
    for box, index in zip(near[is_touching].tolist(), zone[is_touching].tolist(), strict=True):
        found.setdefault(ordered[box], []).append(boundaries.digests[zones.ids[index]])
    return found


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


def _share(tiles: list[TileTask], max_pods: int) -> list[list[TileTask]]:
    """Even runs of neighbouring tiles: as many pods as are worth starting, at most `max_pods`."""
    pods = min(max_pods, -(-len(tiles) // _TILES_PER_POD))
    borders = [number * len(tiles) // pods for number in range(pods + 1)] if pods else []
    return [tiles[start:end] for start, end in pairwise(borders)]
