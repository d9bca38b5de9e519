"""`python -m benchmarks.late_scene`: what a late scene and a corrected sample compute of 1,024 tiles.

Scenes on a mosaic over 100 zones, composed and tabulated in a folder; then one scene more, which touches 25
of them, and then another sample. Printed are the tiles that were computed each time, and seconds.
"""

import json
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.transform import from_origin
from shapely import box

from benchmarks.judge import make_scene
from orthostat import storage
from orthostat.aggregation.boundaries import store_boundaries
from orthostat.aggregation.compose import compose
from orthostat.aggregation.keys import list_tiles
from orthostat.aggregation.tabulate import tabulate
from orthostat.aggregation.work import plan_work
from orthostat.estimation.estimate import PeriodTiles, estimate_period
from orthostat.estimation.reference import Reference
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.prediction.item import File, Prediction
from orthostat.prediction.stac import to_stac

_WEST, _NORTH, _PIXEL, _TILE, _TILES = 300_000.0, 5_700_000.0, 10.0, 64, 32
_SIDE = _TILE * _TILES * _PIXEL
_SCENE = 4 * _TILE


def make_pipeline(folder: Path) -> Pipeline:
    """A pipeline whose zones, sample and output lie in a folder."""
    cell = _SIDE / 10
    squares = [
        box(_WEST + x * cell, _NORTH - (y + 1) * cell, _WEST + (x + 1) * cell, _NORTH - y * cell)
        for y in range(10)
        for x in range(10)
    ]
    names = [f"Z{number:03d}" for number in range(100)]
    gpd.GeoDataFrame({"zone_id": names}, geometry=squares, crs="EPSG:32633").to_file(folder / "zones.gpkg")
    fields: dict[str, Any] = {
        "name": "benchmark",
        "title": "Benchmark",
        "scenes": {"uri": str(folder), "stac_asset": "image"},
        "model": {"bundle": "none", "sha256": "0" * 64, "engine": "onnx"},
        "output": "s3://none",
        "zones": {"uri": str(folder / "zones.gpkg"), "id_column": "zone_id", "version": "1"},
        "grid": {
            "crs": "EPSG:32633",
            "resolution_m": _PIXEL,
            "origin": (_WEST, _NORTH),
            "tile_size": _TILE,
        },
        "period": "year",
        "sample": {
            "uri": str(folder / "sample.csv"),
            "strata_uri": str(folder / "strata.csv"),
            "crs": "EPSG:32633",
            "sample_id": "made-1",
            "frame": "all pixels",
            "frame_tolerance": 0.01,
        },
    }
    write_sample(folder, 1)
    return Pipeline.model_validate(fields).model_copy(update={"output": str(folder / "made")})


def write_sample(folder: Path, seed: int) -> None:
    """Thirty units in each zone, and the strata, which are the zones."""
    random, cell = np.random.default_rng(seed), _SIDE / 10
    units, strata = (
        ["unit_id,period,zone_id,stratum,x,y,reference_class"],
        ["period,zone_id,stratum,size,area_m2"],
    )
    for number in range(100):
        west, north = _WEST + number % 10 * cell, _NORTH - number // 10 * cell
        strata.append(f"2022,Z{number:03d},all,{round(cell / _PIXEL) ** 2},{cell**2}")
        for unit, (east, south) in enumerate(random.uniform(1, cell - 1, (30, 2))):
            name = f"class {random.integers(0, 6)}"
            units.append(f"{number}-{unit},2022,Z{number:03d},all,{west + east},{north - south},{name}")
    (folder / "sample.csv").write_text("\n".join(units))
    (folder / "strata.csv").write_text("\n".join(strata))


def write_scene(folder: Path, number: int, west: float, north: float, day: int) -> tuple[str, Prediction]:
    """A scene's labels and Item; its URI and content."""
    labels = np.random.default_rng(number).integers(0, 6, (_SCENE, _SCENE)).astype(np.uint8)
    path = folder / f"labels-{number}.tif"
    profile = {"count": 1, "dtype": "uint8", "nodata": 255, "crs": "EPSG:32633", "tiled": True}
    transform = from_origin(west, north, _PIXEL, _PIXEL)
    with rasterio.open(path, "w", "GTiff", _SCENE, _SCENE, transform=transform, **profile) as file:
        file.write(labels, 1)
    _, prediction = make_scene(number, 1000)
    prediction = replace(
        prediction,
        files={"labels.tif": File(str(path), storage.file_sha256(path))},
        acquired=datetime(2022, 1, day, tzinfo=UTC),
        shape=(_SCENE, _SCENE),
        transform=(_PIXEL, 0.0, west, 0.0, -_PIXEL, north),
    )
    uri = str(folder / f"item-{number}.json")
    storage.write_json(uri, to_stac(prediction))
    return uri, prediction


def compute(pipeline: Pipeline, items: list[tuple[str, Prediction]]) -> tuple[int, float]:
    """Bring the period up to date; the tiles that were computed, and seconds."""
    began = time.perf_counter()
    boundaries_uri, boundaries = store_boundaries(pipeline)
    there = list_tiles(Layout(pipeline.output), "2022")
    planned = plan_work(pipeline, "2022", items, (boundaries_uri, boundaries), there)
    for work in planned.works:
        compose(work)
        tabulate(work)
    first = items[0][1]
    tiles = PeriodTiles("2022", planned.tasks, first.task, first.classes, boundaries)
    estimate_period(pipeline, tiles, Reference(pipeline.sample) if pipeline.sample else None)
    return sum(len(work.tiles) for work in planned.works), round(time.perf_counter() - began, 1)


def main() -> None:
    """Print tiles and seconds of the three computations."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pipeline = make_pipeline(folder)
        side = _SCENE * _PIXEL
        places = [(x, y) for y in range(_TILES // 4) for x in range(_TILES // 4)]
        items = [
            write_scene(folder, number, _WEST + x * side, _NORTH - y * side, 5)
            for number, (x, y) in enumerate(places)
        ]
        found = {"first": compute(pipeline, items)}
        middle = 1.5 * _TILE * _PIXEL  # over 5 x 5 tiles in the midst of the grid
        late = write_scene(folder, 999, _WEST + side + middle, _NORTH - side - middle, 9)
        found["late scene"] = compute(pipeline, [*items, late])
        write_sample(folder, 2)
        found["corrected sample"] = compute(pipeline, [*items, late])
        found["nothing new"] = compute(pipeline, [*items, late])
    print(json.dumps({key: {"tiles": tiles, "wall_s": s} for key, (tiles, s) in found.items()}, indent=2))


if __name__ == "__main__":
    main()
