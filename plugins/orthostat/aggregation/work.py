"""What one compose and tabulate pod is told, and how a period's tiles are shared among pods."""

from collections.abc import Sequence
from itertools import pairwise

import shapely
from pydantic import BaseModel, ConfigDict
from pyproj import Transformer
from shapely import STRtree

from orthostat import storage
from orthostat.aggregation.borders import densify, project_zones
from orthostat.aggregation.grid import Tile, tile_bounds, tile_box, tiles_of
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import GridError
from orthostat.layout import Layout
from orthostat.pipelines.config import Grid, Pipeline, Zones
from orthostat.prediction.item import Prediction
from orthostat.projection import check_areal_scale, parse_crs, parse_projected

UNOBSERVED = 254
"""A composite's pixel that no scene covers; 255 (item.NODATA) is covered, but never with valid data."""
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
    item_uris: tuple[str, ...]
    """Items of the used predictions that touch these tiles."""
    tiles: tuple[Tile, ...]
    """Columns and rows."""


def tile_uri(work: TileWork, tile: Tile) -> str:
    """Where a tile of the composite lies."""
    return Layout(work.root).period(work.period, work.inputs_sha256, "tiles", f"{tile[0]}_{tile[1]}.tif")


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
    items_of: dict[Tile, set[str]] = {}
    for uri, prediction in predictions:
        area = footprint(prediction, grid)
        for tile in tiles_of(grid, area.bounds):
            box = tile_box(grid, tile)
            if area.intersects(box) and len(tree.query(box, predicate="intersects")):
                items_of.setdefault(tile, set()).add(uri)
    tiles = sorted(items_of, key=lambda tile: (tile[1], tile[0]))
    for tile in tiles:
        check_areal_scale(crs, tile_bounds(grid, tile))
    return [
        TileWork(
            root=pipeline.output,
            period=period,
            inputs_sha256=inputs_sha256,
            number=number,
            grid=grid,
            rule=pipeline.rule,
            zones=pipeline.zones,
            item_uris=tuple(sorted(set().union(*(items_of[tile] for tile in chunk)))),
            tiles=tuple(chunk),
        )
        for number, chunk in enumerate(_share(tiles, pipeline.max_pods))
    ]


def footprint(prediction: Prediction, grid: Grid) -> shapely.Polygon:
    """The raster's outline in the grid's system, right to a tenth of a pixel."""
    rows, columns = prediction.shape
    a, b, c, d, e, f = prediction.transform
    corners = [(0, 0), (columns, 0), (columns, rows), (0, rows)]
    outline = shapely.Polygon([(a * i + b * j + c, d * i + e * j + f) for i, j in corners])
    source, target = parse_crs(prediction.crs), parse_crs(grid.crs)
    if source.equals(target, ignore_axis_order=True):
        return outline
    try:
        return densify(outline, Transformer.from_crs(source, target, always_xy=True), 0.1 * grid.resolution_m)
    except GridError as error:
        raise GridError(
            f"scene {prediction.scene_id} cannot be shown in the grid's {target.name} ({error}); "
            "choose a grid that holds all scenes"
        ) from error


def check_classes(predictions: Sequence[Prediction]) -> None:
    """Raises GridError unless all predictions have the same classes, with ids below UNOBSERVED."""
    for prediction in predictions:
        names = {entry.class_id: entry.name for entry in prediction.classes}
        expected = {entry.class_id: entry.name for entry in predictions[0].classes}
        if names != expected:
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
