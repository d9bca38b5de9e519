"""The map of classes, or of objects, of a period, from the tiles of its composite."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from rasterio.enums import Resampling
from rasterio.merge import merge

from orthostat import storage
from orthostat.aggregation.areas import Bounds
from orthostat.aggregation.detections import read_points
from orthostat.aggregation.values import OBSERVED, UNOBSERVED
from orthostat.gdal import without_account
from orthostat.prediction.classes import NODATA, LabelClass
from orthostat.scratch import scratch_folder
from orthostat.statistics.cartography import (
    draw_scale_bar,
    dump_png,
    frame_map,
    label_zones,
    select_leaves,
)

_MOST_PIXELS = 1600
_NOT_OBSERVED = "#ffffff"


@without_account()
def draw_composite(
    tile_uris: Sequence[str],
    classes: Sequence[LabelClass],
    zones: gpd.GeoDataFrame,
    title: str,
    objects_uris: Sequence[str] | None = None,
) -> bytes:
    """The composite of the zones in the classes' colours, as PNG.

    Tiles are uint8 rasters on one grid; `zones` are in the grid's system. Large composites are thinned to
    about 1600 pixels a side. Pixels without a class stay white. With `objects_uris`, the tiles' objects are
    dots in their classes' colours on what was observed. Raises StorageError for a missing tile.
    """
    kinds = classes if objects_uris is None else [OBSERVED]
    leaves = select_leaves(zones, ())
    pixels, (west, south, east, north) = _read_observed(tile_uris, tuple(leaves.total_bounds))
    leaves = leaves.clip(
        shapely.box(west, south, east, north)
    )  # by bounds it would be quick, and at times wrong
    indices = np.full(256, len(kinds), dtype=np.uint8)
    for index, label in enumerate(kinds):
        indices[label.class_id] = index
    colors = [f"#{label.color}" for label in kinds]
    width = 8.0
    figure = Figure(
        figsize=(width, 1.6 + width * min(2.0, (north - south) / (east - west))), layout="constrained"
    )
    axis = figure.subplots()
    axis.imshow(
        indices[pixels],
        cmap=ListedColormap([*colors, _NOT_OBSERVED]),
        vmin=-0.5,
        vmax=len(kinds) + 0.5,
        extent=(west, east, south, north),
        interpolation="nearest",
    )
    leaves.boundary.plot(ax=axis, color="0.1", linewidth=1.0)
    dots = [] if objects_uris is None else _draw_objects(axis, objects_uris, classes)
    frame_map(axis, f"{title}: {'class of every pixel' if objects_uris is None else 'every object'}")
    label_zones(axis, leaves, dict(zip(leaves["zone_id"], leaves["name"], strict=True)))
    draw_scale_bar(axis)
    occurring = set(np.unique(pixels).tolist())
    patches = [
        Patch(color=f"#{label.color}", label=label.name) for label in kinds if label.class_id in occurring
    ]
    empty = Patch(facecolor=_NOT_OBSERVED, edgecolor="0.4", label="not observed")
    figure.legend(handles=[*dots, *patches, empty], loc="outside lower center", ncols=4, fontsize=9)
    return dump_png(figure)


def _draw_objects(axis: Axes, uris: Sequence[str], classes: Sequence[LabelClass]) -> list[Line2D]:
    """Draw a dot per object; returns the legend's entries for the classes that occur."""
    found = [read_points(uri) for uri in sorted(uris)]
    points = np.concatenate([np.zeros((0, 2)), *(points for points, _ in found)])
    class_ids = np.concatenate([np.zeros(0, np.int64), *(class_ids for _, class_ids in found)])
    entries = []
    style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markeredgecolor": "0.2"}
    for label in classes:
        x, y = points[class_ids == label.class_id].T
        if len(x):
            color = f"#{label.color}"
            axis.plot(
                x, y, color=color, markersize=2.5, markeredgewidth=0.2, scalex=False, scaley=False, **style
            )
            entries.append(Line2D([], [], color=color, markersize=6, label=label.name, **style))
    return entries


def _read_observed(tile_uris: Sequence[str], zone_bounds: Bounds) -> tuple[npt.NDArray[np.uint8], Bounds]:
    """What was observed in the zones as one raster (rows, columns), thinned; its west, south, east, north."""
    with scratch_folder() as folder:
        paths = []
        for number, uri in enumerate(sorted(tile_uris)):
            paths.append(folder / f"{number}.tif")
            storage.download(uri, paths[-1])
        observed = _intersect(zone_bounds, *(_find_observed(path) for path in paths))
        step = _step(paths[0], observed)
        # Outwards to whole steps, so that thinned pixels lie on the grid.
        west, south = (math.floor(value / step) * step for value in observed[:2])
        east, north = (math.ceil(value / step) * step for value in observed[2:])
        bounds = (west, south, east, north)
        pixels, _ = merge(paths, bounds=bounds, res=step, nodata=NODATA, resampling=Resampling.nearest)
    return pixels[0], bounds


def _find_observed(path: Path) -> Bounds | None:
    """Bounds of the tile's pixels that have a class; None where it has none."""
    with rasterio.open(path) as tile:
        has_class = tile.read(1) < UNOBSERVED
        if not has_class.any():
            return None
        rows, columns = np.flatnonzero(has_class.any(axis=1)), np.flatnonzero(has_class.any(axis=0))
        west, north = tile.transform * (columns[0], rows[0])
        east, south = tile.transform * (columns[-1] + 1, rows[-1] + 1)
    return float(west), float(south), float(east), float(north)


def _intersect(zone_bounds: Bounds, *found: Bounds | None) -> Bounds:
    """What the tiles show of the zones; the zones where they show nothing."""
    shown = np.array([bounds for bounds in found if bounds is not None])
    if not len(shown):
        return zone_bounds
    west, south = np.maximum(shown[:, :2].min(axis=0), zone_bounds[:2])
    east, north = np.minimum(shown[:, 2:].max(axis=0), zone_bounds[2:])
    return float(west), float(south), float(east), float(north)


def _step(path: Path, bounds: Bounds) -> float:
    with rasterio.open(path) as tile:
        resolution = float(tile.res[0])
    longest = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    return resolution * max(1, math.ceil(longest / resolution / _MOST_PIXELS))
