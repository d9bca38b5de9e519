"""`python -m benchmarks.count_objects`: objects of overlapping scenes, each counted once, 4 times the scenes.

200 scenes against 50 scenes over a quarter of the area, in processes of their own: composing and tabulating
their tiles in one pod. Time may grow with the scenes (limit 4.4 times), memory must not (a pod's memory is
that of a tile). Detections are made up in a temporary folder: every place is seen by 2.25 scenes on average,
each of which misses a tenth of the objects and places the others half a metre off.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.transform import from_origin

from benchmarks.measure import Cost, measure
from orthostat import storage
from orthostat.aggregation.boundaries import store_boundaries
from orthostat.aggregation.compose import compose
from orthostat.aggregation.table import read_table
from orthostat.aggregation.tabulate import tabulate
from orthostat.aggregation.work import plan_work
from orthostat.pipelines.config import Pipeline
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.item import File, Prediction
from orthostat.prediction.stac import read_predictions, to_stac

LIMIT = 4.4
_CRS = "EPSG:32633"
_WEST, _NORTH = 500_000.0, 4_980_000.0
_SIDE, _STEP, _PIXEL = 1500, 1000, 1.0
"""Pixels of a scene and from one scene to the next, and a pixel's side in metres."""
_PER_SCENE = 4000
_CLASSES = (LabelClass(0, "car", "CC0000"), LabelClass(1, "ship", "0000CC"))


def write_scenes(folder: Path, columns: int, rows: int) -> None:
    """Write columns times rows scenes with their Items, and zones of a scene's step squared."""
    random = np.random.default_rng(columns)
    extent = np.array([columns, rows]) * _STEP + (_SIDE - _STEP)
    centres = random.uniform(0, extent, (int(_PER_SCENE * extent.prod() / _SIDE**2), 2))
    class_ids = random.integers(0, 2, len(centres)).astype(np.int32)
    for number in range(columns * rows):
        corner = np.array([number % columns, number // columns]) * _STEP
        inside = ((centres >= corner) & (centres < corner + _SIDE)).all(axis=1)
        seen = np.flatnonzero(inside & (random.random(len(centres)) < 0.9))
        places = centres[seen] + random.normal(0, 0.5, (len(seen), 2))
        scene = _write_scene(folder, f"S{number:04d}", corner, places, class_ids[seen], random)
        storage.write_json(str(folder / f"{scene.scene_id}.json"), to_stac(scene))
    tops = [(column, row) for row in range(rows) for column in range(columns)]
    squares = [_box(np.array([place], dtype=float) * _STEP + _STEP / 2, _STEP)[0] for place in tops]
    names = [f"Z{number:04d}" for number in range(len(squares))]
    gpd.GeoDataFrame({"zone_id": names}, geometry=squares, crs=_CRS).to_file(folder / "zones.gpkg")


def count(folder: Path) -> int:
    """Compose and tabulate the scenes in a folder; the number of objects in its zones."""
    pipeline = Pipeline.model_validate(
        {
            "name": "benchmark",
            "title": "Benchmark",
            "scenes": {"uri": str(folder), "stac_asset": "image"},
            "model": {"bundle": "none", "sha256": "0" * 64},
            "output": "s3://none",
            "zones": {"uri": str(folder / "zones.gpkg"), "id_column": "zone_id", "version": "1"},
            "grid": {"crs": _CRS, "resolution_m": _PIXEL, "origin": (_WEST, _NORTH), "tile_size": 1024},
            "max_pods": 1,
        }
    ).model_copy(update={"output": str(folder / "made")})
    uris = sorted(str(path) for path in folder.glob("S*.json"))
    boundaries_uri, boundaries = store_boundaries(pipeline)
    items = list(zip(uris, read_predictions(uris), strict=True))
    planned = plan_work(pipeline, "2024", items, (boundaries_uri, boundaries))
    for work in planned.works:
        compose(work)
        tabulate(work)
    table = read_table(planned.tasks, boundaries, pipeline.grid, counts_objects=True)
    return sum(sum((zone.objects or {}).values()) for zone in table.zones)


def main() -> None:
    """Measure both sizes in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--count", type=Path, help="count in this folder and print the number of objects")
    arguments = parser.parse_args()
    if arguments.count:
        print(count(arguments.count))
        return
    costs: dict[int, list[Cost]] = {50: [], 200: []}
    for _ in range(arguments.runs):
        for columns, rows in ((10, 5), (20, 10)):
            with tempfile.TemporaryDirectory() as folder:
                write_scenes(Path(folder), columns, rows)
                cost = measure([sys.executable, "-m", "benchmarks.count_objects", "--count", folder])
            costs[columns * rows].append(cost)
            print(f"{columns * rows} scenes: {cost}", file=sys.stderr)
    result: dict[str, object] = {"runs": arguments.runs, "limit_wall_s": LIMIT}
    for field in ("wall_s", "cpu_s", "peak_mb"):
        few, many = (statistics.median(getattr(cost, field) for cost in costs[size]) for size in (50, 200))
        result[field] = {"50": round(few, 1), "200": round(many, 1), "ratio": round(many / few, 2)}
    print(json.dumps(result, indent=2))


def _box(centres: np.ndarray, side: np.ndarray | float) -> np.ndarray:
    """Squares around places in metres east and south of the corner."""
    x, y = _WEST + centres[:, 0], _NORTH - centres[:, 1]
    half = np.asarray(side) / 2
    squares: np.ndarray = shapely.box(x - half, y - half, x + half, y + half)
    return squares


def _write_scene(
    folder: Path,
    name: str,
    corner: np.ndarray,
    places: np.ndarray,
    class_ids: np.ndarray,
    random: np.random.Generator,
) -> Prediction:
    transform = from_origin(_WEST + corner[0], _NORTH - corner[1], _PIXEL, _PIXEL)
    profile = {
        "driver": "COG",
        "dtype": "uint8",
        "count": 1,
        "nodata": 255,
        "crs": _CRS,
        "compress": "deflate",
    }
    observed, detections = folder / f"{name}.tif", folder / f"{name}.parquet"
    with rasterio.open(observed, "w", width=_SIDE, height=_SIDE, transform=transform, **profile) as file:
        file.write(np.zeros((_SIDE, _SIDE), np.uint8), 1)
    columns = {"class_id": class_ids, "score": random.uniform(0.5, 1, len(places))}
    geometry = _box(places, random.uniform(4, 8, len(places)))
    gpd.GeoDataFrame(columns, geometry=geometry, crs=_CRS).to_parquet(detections)
    acquired = datetime(2024, 1, 1, tzinfo=UTC)
    scene = Prediction(
        scene_id=name,
        task="object_detection",
        files={
            "observed.tif": File(str(observed), "0" * 64),
            "detections.parquet": File(str(detections), "0" * 64),
        },
        acquired=acquired,
        crs=_CRS,
        shape=(_SIDE, _SIDE),
        transform=tuple(transform)[:6],
        classes=_CLASSES,
        histogram={0: _SIDE**2},
        counts={},
        valid_fraction=1.0,
        value_ranges=(),
        model_uri="none",
        model_sha256="0" * 64,
        network="none",
        channels=3,
        image_size=300,
        engine="onnx",
        device="cpu",
        options={},
        source_uri="none",
        source_etag="none",
        source_last_modified=acquired,
        source_crs=_CRS,
        source_shape=(_SIDE, _SIDE),
        code_version="none",
        software={},
    )
    return replace(scene, acquired=acquired + timedelta(hours=int(random.integers(0, 8000))))


if __name__ == "__main__":
    main()
