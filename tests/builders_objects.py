"""Scenes with detected objects, whose places are given in metres east and south of one corner."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from shapely import transform
from shapely.geometry import box

from orthostat import storage
from orthostat.aggregation.detections import read_objects
from orthostat.aggregation.objects import Source
from orthostat.aggregation.work import footprint
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.item import File, Prediction
from tests.builders import make_prediction

X, Y = 500_000.0, 4_983_400.0
UTM = "EPSG:32633"
CLASSES = (LabelClass(0, "car", "CC0000"), LabelClass(1, "ship", "0000CC"))
Box = tuple[float, ...]
"""East and south of the centre, then width, height, class id and score, which may be left out."""


def write_detections(
    folder: Path,
    name: str,
    boxes: Sequence[Box],
    observed: Any,
    *,
    x: float = 0,
    y: float = 0,
    **options: Any,
) -> Prediction:
    """A detector's prediction of a scene of 10 m pixels with its north-western corner `x` east, `y` south.

    `observed` is 0 where there is data, 255 elsewhere. Boxes are 6 m wide and high and cars of score 0.9
    unless they say otherwise. Options: `day` of January 2024, `cloud` cover in per cent, `crs` to which
    everything is carried by its corners.
    """
    crs, observed = options.get("crs", UTM), np.asarray(observed, dtype=np.uint8)
    rows, columns = observed.shape
    there = Transformer.from_crs(UTM, crs, always_xy=True)
    west, north = there.transform(X + x, Y - y)
    east, south = there.transform(X + x + 10 * columns, Y - y - 10 * rows)
    affine = from_origin(west, north, (east - west) / columns, (north - south) / rows)
    paths = {part: folder / f"{name}-{part}" for part in ("observed.tif", "detections.parquet")}
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "nodata": 255,
        "crs": crs,
        "transform": affine,
    }
    with rasterio.open(paths["observed.tif"], "w", height=rows, width=columns, **profile) as file:
        file.write(observed, 1)
    full = [(*given, *(0, 0, 6, 6, 0, 0.9)[len(given) :]) for given in boxes]
    shapes = [box(X + e - w / 2, Y - s - h / 2, X + e + w / 2, Y - s + h / 2) for e, s, w, h, _, _ in full]
    class_ids = np.array([entry[4] for entry in full], dtype=np.int32)
    frame = gpd.GeoDataFrame(
        {
            "class_id": class_ids,
            "class_name": [CLASSES[class_id].name for class_id in class_ids],
            "score": np.array([entry[5] for entry in full], dtype=np.float64),
        },
        geometry=[transform(shape, there.transform, interleaved=False) for shape in shapes],
        crs=crs,
    )
    frame.to_parquet(paths["detections.parquet"], index=False)
    pixels, counted = int((observed == 0).sum()), np.unique(class_ids, return_counts=True)
    return make_prediction(
        name,
        task="object_detection",
        files={part: File(str(path), storage.file_sha256(path)) for part, path in paths.items()},
        crs=crs,
        shape=observed.shape,
        transform=tuple(affine)[:6],
        source_crs=crs,
        source_shape=observed.shape,
        acquired=datetime(2024, 1, options.get("day", 5), tzinfo=UTC),
        classes=CLASSES,
        histogram={0: pixels} if pixels else {},
        counts={int(i): int(n) for i, n in zip(*counted, strict=True)},
        valid_fraction=pixels / observed.size,
        cloud_cover_pct=options.get("cloud"),
    )


def make_sources(scenes: Sequence[Prediction], grid: Grid) -> list[Source]:
    """The scenes as they are composed, numbered in the order of their ids."""
    ids = sorted(scene.scene_id for scene in scenes)
    return [
        Source(
            scene,
            scene.labels.href,
            footprint(scene, grid),
            read_objects(
                scene, Path(scene.files["detections.parquet"].href), grid, ids.index(scene.scene_id)
            ),
        )
        for scene in scenes
    ]
