"""What each step makes of one fixed input, next to its version: whoever changes the one raises the other.

Keys hold these versions. An output that changed under an old version would meet what was computed before, and
half of a table would be of one kind and half of the other.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import CRS
from rasterio.transform import from_origin

from orthostat import storage
from orthostat.aggregation.compose import compose_tile
from orthostat.aggregation.keys import COMPOSE_VERSION, TABULATE_VERSION
from orthostat.aggregation.tabulate import measure_values
from orthostat.estimation.estimate import ESTIMATE_VERSION
from orthostat.estimation.period import estimate_accuracy, estimate_zone
from orthostat.estimation.sample import SampleStratum, SampleUnit
from orthostat.pipelines.config import Grid
from orthostat.pipelines.options import PredictOptions
from orthostat.planning.manifest import PREDICT_VERSION
from orthostat.prediction.bundle import unpack_bundle
from orthostat.prediction.engines.choice import open_engine
from orthostat.prediction.local import predict_local
from orthostat.statistics.inputs import PUBLISH_VERSION
from orthostat.statistics.rows import build_accuracy, build_rows
from tests.builders import make_pipeline, make_prediction
from tests.builders_statistics import (
    CLASSES,
    SAMPLE,
    make_area,
    make_estimate,
    make_population,
    make_provenance,
    make_table,
)
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import write_image

GOLDEN = {
    "predict": (2, "5b0e0289b1b0"),
    "compose": (1, "bd2c5bf2413b"),
    "tabulate": (2, "48ed5e16c0a5"),
    "estimate": (2, "187b1fa67f58"),
    "publish": (1, "c005c68a0a53"),
}


def predicted(folder: Path) -> Any:
    """Labels of noise whose smoothed halves lie around the threshold, with nodata and an edge chip."""
    path = write_onnx_bundle(folder / "bundle.zip")
    wanted = PredictOptions(stride=8)
    engine = open_engine("onnx", unpack_bundle(path, "m.zip", "ab", folder), wanted, 1)
    values = np.random.default_rng(1).integers(0, 200, (1, 50, 70)).astype(np.uint16)
    values[:, :5] = 0
    image = write_image(folder / "image.tif", values, nodata=0)
    predict_local(engine, image, "image.tif", None, folder / "files", wanted)
    with rasterio.open(folder / "files/labels.tif") as labels:
        return labels.read(1).tolist()


def composed(folder: Path) -> Any:
    """A tile of three scenes by each rule: one on the grid, one off it, one in another system."""
    grid = Grid(crs="EPSG:32633", resolution_m=10, origin=(500_000, 4_983_400), tile_size=32)
    places = [
        ("A", "EPSG:32633", from_origin(500_000, 4_983_400, 10, 10), 30.0),
        ("B", "EPSG:32633", from_origin(500_043, 4_983_377, 12, 12), 10.0),
        ("C", "EPSG:4326", from_origin(15.0005, 45.004, 0.00012, 0.00009), None),
    ]
    sources = []
    random = np.random.default_rng(2)
    for name, crs, transform, cloud in places:
        path = folder / f"{name}.tif"
        profile = {"count": 1, "dtype": "uint8", "nodata": 255, "crs": crs, "transform": transform}
        with rasterio.open(path, "w", "GTiff", width=24, height=24, **profile) as file:
            file.write(random.choice([0, 1, 255], (24, 24)).astype(np.uint8), 1)
        sources.append((make_prediction(name, cloud_cover_pct=cloud), str(path)))
    tiles = []
    for rule in ("newest", "least_cloudy", "majority"):
        compose_tile(grid, rule, (0, 0), sources, folder / "tile.tif")
        with rasterio.open(folder / "tile.tif") as tile:
            tiles.append(tile.read(1).tolist())
    return tiles


def tabulated(folder: Path) -> Any:
    """Areas of values in two zones that cut pixels, far from the centre of their projection."""
    labels = np.random.default_rng(3).choice([0, 1, 254, 255], (40, 50)).astype(np.uint8)
    crs, west, north = CRS("EPSG:32633"), 900_000.0, 4_983_400.0
    zones = [
        shapely.Point(west + 200, north - 200).buffer(150),
        shapely.box(west, north - 133, west + 77, north),
    ]
    return measure_values(labels, from_origin(west, north, 10, 10), crs, np.array(zones, dtype=object), crs)


def estimated(folder: Path) -> Any:
    """A zone of two strata with a rare class, and the accuracies of its map."""
    strata = [SampleStratum("2024", "z", "wet", 400, 4e6), SampleStratum("2024", "z", "dry", 9600, 96e6)]
    random = np.random.default_rng(4)
    units = [
        SampleUnit(str(n), "2024", "z", "wet" if n < 30 else "dry", 0.0, 0.0, str(name))
        for n, name in enumerate(random.choice(["water", "crop", "uninterpreted"], 80, p=[0.3, 0.65, 0.05]))
    ]
    shown = dict(
        zip(map(str, range(80)), random.choice(["water", "crop", "nodata"], 80).tolist(), strict=True)
    )
    zone = estimate_zone(units, shown, strata, "2024", "z", 30, ["water", "crop", "ice"])
    accuracy = estimate_accuracy(units, shown, strata, "2024")
    return [
        [vars(area) for area in zone.classes.values()],
        zone.effective_size,
        [accuracy.overall_accuracy and vars(accuracy.overall_accuracy)],
        [
            [measure and vars(measure) for measure in (found.users_accuracy, found.producers_accuracy)]
            for found in accuracy.classes.values()
        ],
    ]


def published(folder: Path) -> Any:
    """Rows of a zone with an estimate, of one that was seen too little, and of one without an estimate."""
    pipeline = make_pipeline(sample=SAMPLE | {"is_simulated": False})
    estimates = {"a": make_estimate(crop=make_area(3_000.0, 2_900.0)), "b": "no units"}
    rows = build_rows(pipeline, "2024-01", make_table(), CLASSES, estimates, make_provenance())
    accuracy = build_accuracy(pipeline, "2024-01", CLASSES, make_population(), "1" * 64)
    hidden = {"code_version", "inputs_sha256"}
    return [{k: v for k, v in row.items() if k not in hidden} for row in (*rows, *accuracy)]


VERSIONS = {
    "predict": PREDICT_VERSION,
    "compose": COMPOSE_VERSION,
    "tabulate": TABULATE_VERSION,
    "estimate": ESTIMATE_VERSION,
    "publish": PUBLISH_VERSION,
}
MADE = {
    "predict": predicted,
    "compose": composed,
    "tabulate": tabulated,
    "estimate": estimated,
    "publish": published,
}


def rounded(value: Any) -> Any:
    """Numbers to nine digits, so that another machine's last bit is no other output."""
    if isinstance(value, dict):
        return {str(key): rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize("step", GOLDEN)
def test_a_step_whose_output_changed_has_another_version(tmp_path: Path, step: str) -> None:
    (tmp_path / "files").mkdir()
    found = (VERSIONS[step], storage.digest(rounded(MADE[step](tmp_path)))[:12])
    assert found == GOLDEN[step], (
        f"the output of '{step}' is another one than under its version: raise the step's version (the keys "
        "and the figures of every pipeline depend on it), then write the new pair here"
    )
