"""Labels, zones and tiles in pixels of ten metres, from one corner."""

from pathlib import Path

import numpy as np
import rasterio
from pyproj import CRS
from rasterio.transform import from_origin
from shapely import box

from orthostat.aggregation.boundaries import store_boundaries
from orthostat.aggregation.keys import TileTask
from orthostat.aggregation.work import TileWork
from orthostat.aggregation.zones import ZoneSet
from orthostat.layout import Layout
from orthostat.pipelines.config import Grid
from tests.builders import make_pipeline

EQUAL_AREA = "+proj=laea +lat_0=45 +lon_0=15 +x_0=500000 +y_0=4983400 +datum=WGS84"
"""A pixel of the plane is as large on the ground."""
X, Y = 500_000.0, 4_983_400.0


def write_labels(path, values, *, x=X, y=Y, res=10.0, crs=EQUAL_AREA, dtype="uint8", nodata=255):
    values = np.asarray(values, dtype=dtype)
    bands = values.reshape((-1, *values.shape[-2:]))
    profile = {"count": len(bands), "dtype": dtype, "nodata": nodata, "crs": crs}
    rows, columns = values.shape[-2:]
    transform = from_origin(x, y, res, res)
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=columns, transform=transform, **profile
    ) as file:
        file.write(bands)
    return str(path)


def make_zones(crs=EQUAL_AREA, **geometries):
    ids = tuple(sorted(geometries))
    shapes = np.array([geometries[zone_id] for zone_id in ids], dtype=object)
    return ZoneSet(ids, ids, (None,) * len(ids), shapes, CRS(crs))


def at(west, south, east, north):
    """A box in pixels from the north-western corner, rows downwards."""
    return box(X + 10 * west, Y - 10 * south, X + 10 * east, Y - 10 * north)


GRID = Grid(crs=EQUAL_AREA, resolution_m=10, origin=(X, Y), tile_size=16)


def make_task(root, tile, name="ab"):
    layout = Layout(str(root))
    return TileTask(
        tile=tile,
        tile_uri=layout.tile("2024-01", tile, name),
        tabulation_uri=layout.tabulation("2024-01", tile, name),
    )


def make_work(root, zones, tiles=((0, 0),), grid=GRID):
    """A pod's work and its boundaries, stored."""
    root.mkdir(exist_ok=True)
    zones.to_frame().to_file(root / "zones.gpkg", mode="w")
    columns = {"id_column": "zone_id", "parent_column": "parent_id"}
    pipeline = make_pipeline(
        "s3://none", grid=grid.model_dump(), zones={"uri": str(root / "zones.gpkg"), "version": "1"} | columns
    ).model_copy(update={"output": str(root)})
    boundaries_uri, boundaries = store_boundaries(pipeline)
    work = TileWork(
        period="2024-01",
        grid=grid,
        rule="newest",
        boundaries_uri=boundaries_uri,
        item_uris=(),
        tiles=tuple(make_task(root, tile) for tile in tiles),
    )
    return work, boundaries


def write_tile(task, values, **place):
    Path(task.tile_uri).parent.mkdir(parents=True, exist_ok=True)
    column, row = task.tile
    write_labels(task.tile_uri, values, **({"x": X + 160 * column, "y": Y - 160 * row} | place))
