"""Tabulate: the area of each class in each zone, with border pixels shared by exact coverage; its objects."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from pyproj import CRS

from orthostat import storage
from orthostat.aggregation.areas import check_measurable, measure_pixels, measure_polygons, split_rows
from orthostat.aggregation.boundaries import Boundaries, read_boundaries
from orthostat.aggregation.counts import count_objects
from orthostat.aggregation.detections import read_points
from orthostat.aggregation.grid import tile_bounds, tile_box, tile_transform
from orthostat.aggregation.keys import TileTask
from orthostat.aggregation.work import TileWork
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import GridError
from orthostat.gdal import without_account
from orthostat.pipelines.config import Grid
from orthostat.projection import parse_projected
from orthostat.scratch import scratch_folder

_PIXELS_AT_ONCE = 4_000_000
"""Of all zones that are measured together; each takes 16 bytes."""

logger = logging.getLogger(__name__)


@without_account()
def tabulate(work: TileWork, advance: Callable[[], None] = lambda: None) -> None:
    """Write the tabulations of the work's tiles that are not there yet, one file for each.

    `advance` is called after each.

    JSON: {"zones": {ZONE: {"area_m2": by geometry, "values": {VALUE: m2}}}} of the zones that touch the tile;
    where objects are detected also {"objects": `ObjectCounts`}. Raises ZonesError, GridError, StorageError.
    """
    boundaries = read_boundaries(work.boundaries_uri)
    tree = shapely.STRtree(boundaries.projected.geometries)
    for task in work.tiles:
        if not storage.exists(task.tabulation_uri):
            tabulation = _tabulate_tile(work.grid, task, boundaries, tree)
            storage.write_json(task.tabulation_uri, tabulation)
            logger.info(
                "tabulated tile %s_%s of %s in %d zones", *task.tile, work.period, len(tabulation["zones"])
            )
        advance()


def _tabulate_tile(
    grid: Grid, task: TileTask, boundaries: Boundaries, tree: shapely.STRtree
) -> dict[str, Any]:
    crs, zones = parse_projected(grid.crs), boundaries.projected
    check_measurable(crs, tile_bounds(grid, task.tile))
    labels = _read_tile(task.tile_uri)
    indices, parts = clip_zones(zones, tree, tile_box(grid, task.tile))
    areas = measure_polygons(crs, parts).tolist()
    values = measure_values(labels, tile_transform(grid, task.tile), crs, parts, crs)
    tabulation: dict[str, Any] = {
        "zones": {
            zones.ids[index]: {"area_m2": area, "values": {str(value): m2 for value, m2 in counted.items()}}
            for index, area, counted in zip(indices, areas, values, strict=True)
        }
    }
    if task.objects_uri is not None:
        points, class_ids = read_points(task.objects_uri)
        counts = count_objects(points, class_ids, crs, boundaries.drawn)
        tabulation["objects"] = counts.model_dump(mode="json")
    return tabulation


def clip_zones(
    zones: ZoneSet, tree: shapely.STRtree, box: shapely.Polygon
) -> tuple[list[int], npt.NDArray[np.object_]]:
    """Indices of the zones that share some area with `box`, and that part of each as (multi)polygons."""
    touching = np.sort(tree.query(box, predicate="intersects"))
    indices, parts = [], []
    for index, part in zip(
        touching.tolist(), shapely.intersection(zones.geometries[touching], box), strict=True
    ):
        polygons = [p for p in shapely.get_parts(part) if p.geom_type == "Polygon" and p.area > 0]
        if polygons:
            indices.append(index)
            parts.append(shapely.MultiPolygon(polygons))
    return indices, np.array(parts, dtype=object)


def measure_values(
    labels: npt.NDArray[Any],
    transform: Affine,
    crs: CRS,
    polygons: npt.NDArray[np.object_],
    polygons_crs: CRS,
) -> list[dict[int, float]]:
    """Area in m2 of each value of `labels` in each polygon, values rising.

    `labels` is an integer array of shape (rows, columns), north up; a pixel cut by a polygon's border counts
    with the share that lies inside. No value is special: nodata values are measured like any other. Raises
    GridError when labels and polygons are not in one coordinate system (exactextract would give zeros).
    """
    if not crs.equals(polygons_crs, ignore_axis_order=True):
        raise GridError(
            f"the labels are in {crs.name}, the zones in {polygons_crs.name}; project the zones first"
        )
    if len(polygons) == 0:
        return []
    rows, columns = labels.shape
    cuts = split_rows(crs, transform)
    rows *= cuts
    areas = measure_pixels(crs, transform * Affine.scale(1, 1 / cuts), rows, columns)
    areas_of_pixels = np.broadcast_to(areas, (rows, columns)).ravel()
    values, labels_of_pixels = _number_values(np.repeat(labels, cuts, axis=0).ravel())
    west, north = transform * (0, 0)
    east, south = transform * (columns, labels.shape[0])
    pixels = NumPyRasterSource(
        np.arange(rows * columns, dtype=np.int32 if rows * columns < 2**31 else np.int64).reshape(
            rows, columns
        ),
        xmin=west,
        ymin=south,
        xmax=east,
        ymax=north,
        srs_wkt=crs.to_wkt(),
    )
    measured = []
    for some in _share_out(polygons, abs(transform.a * transform.e) / cuts):
        frame = gpd.GeoDataFrame(geometry=some, crs=crs)
        found = exact_extract(
            pixels, frame, ["values", "coverage"], output="pandas", max_cells_in_memory=10**7
        )
        for inside, coverage in zip(found["values"], found["coverage"], strict=True):
            m2 = np.bincount(labels_of_pixels[inside], coverage * areas_of_pixels[inside], len(values))
            measured.append({int(values[i]): float(m2[i]) for i in np.flatnonzero(m2)})
    return measured


def _number_values(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The values that may occur, rising, and the place of each label among them."""
    if labels.dtype == np.uint8:
        return np.arange(256), labels
    return np.unique(labels, return_inverse=True)


def _share_out(polygons: npt.NDArray[np.object_], pixel_area: float) -> Iterator[npt.NDArray[np.object_]]:
    """Polygons in their order, in batches of so few pixels that memory does not grow with the raster."""
    batch_of = (np.cumsum(shapely.area(polygons)) / pixel_area / _PIXELS_AT_ONCE).astype(np.int64)
    for batch in np.unique(batch_of):
        yield polygons[batch_of == batch]


def _read_tile(uri: str) -> npt.NDArray[np.uint8]:
    with (
        scratch_folder() as folder,
        rasterio.open(storage.local_copy(uri, folder)) as tile,
    ):
        labels: npt.NDArray[np.uint8] = tile.read(1)
    return labels
