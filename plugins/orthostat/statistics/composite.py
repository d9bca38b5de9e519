"""The map of classes of a period, from the tiles of its composite."""

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
from orthostat.prediction.item import NODATA, LabelClass
from orthostat.statistics.maps import draw_scale_bar, dump_png, frame_map, label_zones, select_leaves

_MOST_PIXELS = 1600
_NOT_OBSERVED = "#ffffff"


def draw_composite(
    tile_uris: Sequence[str], classes: Sequence[LabelClass], zones: gpd.GeoDataFrame, title: str
) -> bytes:
    """The composite in the classes' colours with the zones' borders, as PNG.

    Tiles are uint8 rasters on one grid; `zones` are in the grid's system. Large composites are thinned to
    about 1600 pixels a side. Pixels without a class stay white. Raises StorageError for a missing tile.
    """
    pixels, (west, south, east, north) = _read_tiles(tile_uris)
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
    leaves = select_leaves(zones, ())
    leaves.boundary.plot(ax=axis, color="0.1", linewidth=1.0)
    label_zones(axis, leaves, dict(zip(leaves["zone_id"], leaves["name"], strict=True)))
    frame_map(axis, f"{title}: class of every pixel")
    draw_scale_bar(axis)
    patches = [Patch(color=color, label=label.name) for color, label in zip(colors, classes, strict=True)]
    empty = Patch(facecolor=_NOT_OBSERVED, edgecolor="0.4", label="not observed")
    figure.legend(handles=[*patches, empty], loc="outside lower center", ncols=4, fontsize=9)
    return dump_png(figure)


def _read_tiles(
    tile_uris: Sequence[str],
) -> tuple[npt.NDArray[np.uint8], tuple[float, float, float, float]]:
    """All tiles as one raster (rows, columns), thinned; and its west, south, east, north."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, uri in enumerate(sorted(tile_uris)):
            path = Path(folder) / f"{number}.tif"
            storage.download(uri, path)
            paths.append(path)
        bounds, resolution = _read_extent(paths)
        west, south, east, north = bounds
        side = max(east - west, north - south) / resolution
        step = resolution * max(1, int(np.ceil(side / _MOST_PIXELS)))
        pixels, _ = merge(paths, bounds=bounds, res=step, nodata=NODATA, resampling=Resampling.nearest)
    return pixels[0], bounds


def _read_extent(paths: Sequence[Path]) -> tuple[tuple[float, float, float, float], float]:
    boxes = []
    for path in paths:
        with rasterio.open(path) as tile:
            boxes.append(tuple(tile.bounds))
            resolution = float(tile.res[0])
    west, south, east, north = zip(*boxes, strict=True)
    return (min(west), min(south), max(east), max(north)), resolution
