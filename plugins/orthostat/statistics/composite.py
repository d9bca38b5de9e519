"""The map of classes of a period, from the tiles of its composite."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.enums import Resampling
from rasterio.merge import merge

from orthostat import storage
from orthostat.aggregation.areas import Bounds
from orthostat.prediction.item import NODATA, LabelClass
from orthostat.statistics.maps import draw_scale_bar, dump_png, frame_map, label_zones, select_leaves

_MOST_PIXELS = 1600
_NOT_OBSERVED = "#ffffff"


def draw_composite(
    tile_uris: Sequence[str], classes: Sequence[LabelClass], zones: gpd.GeoDataFrame, title: str
) -> bytes:
    """The composite of the zones in the classes' colours, as PNG.

    Tiles are uint8 rasters on one grid; `zones` are in the grid's system. Large composites are thinned to
    about 1600 pixels a side. Pixels without a class stay white. Raises StorageError for a missing tile.
    """
    leaves = select_leaves(zones, ())
    pixels, (west, south, east, north) = _read_tiles(tile_uris, tuple(leaves.total_bounds))
    indices = np.full(256, len(classes), dtype=np.uint8)
    for index, label in enumerate(classes):
        indices[label.class_id] = index
    colors = [f"#{label.color}" for label in classes]
    width = 8.0
    figure = Figure(
        figsize=(width, 1.6 + width * min(2.0, (north - south) / (east - west))), layout="constrained"
    )
    axis = figure.subplots()
    axis.imshow(
        indices[pixels],
        cmap=ListedColormap([*colors, _NOT_OBSERVED]),
        vmin=-0.5,
        vmax=len(classes) + 0.5,
        extent=(west, east, south, north),
        interpolation="nearest",
    )
    leaves.boundary.plot(ax=axis, color="0.1", linewidth=1.0, clip_on=False)
    label_zones(axis, leaves, dict(zip(leaves["zone_id"], leaves["name"], strict=True)))
    frame_map(axis, f"{title}: class of every pixel")
    draw_scale_bar(axis)
    patches = [Patch(color=color, label=label.name) for color, label in zip(colors, classes, strict=True)]
    empty = Patch(facecolor=_NOT_OBSERVED, edgecolor="0.4", label="not observed")
    figure.legend(handles=[*patches, empty], loc="outside lower center", ncols=4, fontsize=9)
    return dump_png(figure)


def _read_tiles(tile_uris: Sequence[str], zone_bounds: Bounds) -> tuple[npt.NDArray[np.uint8], Bounds]:
    """The tiles around the zones as one raster (rows, columns), thinned; and its west, south, east, north."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, uri in enumerate(sorted(tile_uris)):
            path = Path(folder) / f"{number}.tif"
            storage.download(uri, path)
            paths.append(path)
        with rasterio.open(paths[0]) as tile:
            origin, resolution = (tile.bounds.left, tile.bounds.top), float(tile.res[0])
        west, south, east, north = zone_bounds
        step = resolution * math.ceil(max(east - west, north - south) / resolution / _MOST_PIXELS)
        bounds = (
            origin[0] + math.floor((west - origin[0]) / step) * step,
            origin[1] + math.floor((south - origin[1]) / step) * step,
            origin[0] + math.ceil((east - origin[0]) / step) * step,
            origin[1] + math.ceil((north - origin[1]) / step) * step,
        )
        pixels, _ = merge(paths, bounds=bounds, res=step, nodata=NODATA, resampling=Resampling.nearest)
    return pixels[0], bounds
