"""Files of objects: those of a scene, brought into the grid's system, and those of a composed tile."""

import io
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet as pq
import shapely
from affine import Affine
from pyproj import Transformer

from orthostat import storage
from orthostat.aggregation.areas import Floats
from orthostat.aggregation.grid import Integers
from orthostat.errors import GridError
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.item import Prediction
from orthostat.projection import parse_crs

OBJECT = np.dtype(
    [
        ("box", "f8", 4),
        ("point", "f8", 2),
        ("score", "f8"),
        ("class_id", "i4"),
        ("scene", "i4"),
        ("is_cut", "?"),
    ]
)
"""`box`: west, south, east, north of its bounding box; `point`: what says where it is; `scene`: a number that
rises with the scene's id; `is_cut`: whether it reaches the edge of its image. Coordinates are the grid's."""
Objects = npt.NDArray[np.void]
"""Objects, of dtype OBJECT and shape (n,)."""
_BATCH = 65_536
_EDGE = 1.0
"""A box that ends within so many pixels of its image's edge may be of an object that the edge cuts."""


def read_objects(scene: Prediction, path: Path, grid: Grid, number: int = 0) -> Objects:
    """The objects of a scene's `detections.parquet`, in its order, `scene` being `number`.

    An object is where the centre of its box is: transformed from the image's system, exactly. A centre beyond
    the edge of the image, in a box that reaches out, is moved to the nearest pixel centre of the image.

    Raises GridError when the file is no table of rectangles, or the grid's system is undefined at one.
    """
    try:
        batches = pq.ParquetFile(path).iter_batches(_BATCH, columns=["geometry", "score", "class_id"])
        parts = [_read_batch(scene, batch, grid, number) for batch in batches]
    except (pyarrow.ArrowException, OSError, KeyError, shapely.errors.ShapelyError) as error:
        raise GridError(
            f"the detections of scene {scene.scene_id} cannot be read ({error}); predict the scene again"
        ) from error
    return np.concatenate([np.zeros(0, OBJECT), *parts])


def write_objects(
    path: Path, objects: Objects, scene_ids: Sequence[str], classes: Sequence[LabelClass], grid: Grid
) -> None:
    """Write a tile's objects as GeoParquet in the grid's system, in their order; equal ones as equal bytes.

    Columns: class_id, class_name, score, scene_id (`scene` numbers `scene_ids`), x and y of the point, and
    the box as geometry.
    """
    names = {label.class_id: label.name for label in classes}
    columns = {
        "class_id": objects["class_id"],
        "class_name": [names[class_id] for class_id in objects["class_id"].tolist()],
        "score": objects["score"],
        "scene_id": [scene_ids[number] for number in objects["scene"].tolist()],
        "x": objects["point"][:, 0],
        "y": objects["point"][:, 1],
    }
    frame = gpd.GeoDataFrame(columns, geometry=shapely.box(*objects["box"].T), crs=parse_crs(grid.crs))
    frame.to_parquet(path, index=False, compression="zstd", geometry_encoding="WKB")


def read_points(uri: str) -> tuple[Floats, Integers]:
    """Points (n, 2) in the grid's system and class ids (n,) of a tile's objects.

    Raises StorageError when the file is missing.
    """
    table = pq.read_table(io.BytesIO(storage.read_bytes(uri)), columns=["x", "y", "class_id"])
    points: Floats = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    return points, table["class_id"].to_numpy().astype(np.int64)


def _read_batch(scene: Prediction, batch: pyarrow.RecordBatch, grid: Grid, number: int) -> Objects:
    polygons = shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))
    if not (shapely.get_num_coordinates(polygons) == 5).all():
        raise GridError(
            f"the detections of scene {scene.scene_id} are not all rectangles; predict the scene again"
        )
    corners = shapely.get_coordinates(polygons).reshape(-1, 5, 2)[:, :4]
    centres = _move_inside((corners[:, 0] + corners[:, 2]) / 2, scene)
    pixels = np.stack(~Affine(*scene.transform) * tuple(np.moveaxis(corners, -1, 0)), axis=-1)
    is_at_edge = (pixels < _EDGE) | (pixels > np.array(scene.shape[::-1]) - _EDGE)
    objects = np.zeros(len(corners), OBJECT)
    there = _transform(np.concatenate([corners, centres[:, None]], axis=1), scene, grid)
    objects["box"][:, :2] = there[:, :4].min(axis=1)
    objects["box"][:, 2:] = there[:, :4].max(axis=1)
    objects["point"] = there[:, 4]
    objects["score"] = batch["score"].to_numpy()
    objects["class_id"] = batch["class_id"].to_numpy()
    objects["scene"] = number
    objects["is_cut"] = is_at_edge.any(axis=(1, 2))
    return objects


def _move_inside(centres: Floats, scene: Prediction) -> Floats:
    """Centres (n, 2) in the image's system, those beyond its edges moved to its outermost pixel centres."""
    to_map = Affine(*scene.transform)
    pixels: Floats = np.stack(~to_map * tuple(centres.T), axis=1)
    size = np.array(scene.shape[::-1], dtype=np.float64)
    # What rounding leaves a hair before the far edge lies on it, and so in the next tile.
    is_beyond = np.asarray((pixels < 0) | (pixels > size - 1e-6))
    moved = np.where(is_beyond, np.clip(pixels, 0.5, size - 0.5), pixels)
    there = np.stack(to_map * tuple(moved.T), axis=1)
    return np.where(np.any(is_beyond, axis=1, keepdims=True), there, centres)


def _transform(points: Floats, scene: Prediction, grid: Grid) -> Floats:
    """Points (n, 5, 2) in the grid's system."""
    source, target = parse_crs(scene.crs), parse_crs(grid.crs)
    if source.equals(target, ignore_axis_order=True):
        return points
    transformer = Transformer.from_crs(source, target, always_xy=True)
    there: Floats = np.stack(transformer.transform(points[..., 0], points[..., 1]), axis=-1)
    if not np.isfinite(there).all():
        raise GridError(
            f"scene {scene.scene_id} has objects where the grid's {target.name} is undefined; "
            "choose a grid that holds all scenes"
        )
    return there
