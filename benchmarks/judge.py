"""`python -m benchmarks.judge [--items N ...]`: judging a year with many Items against judging it with few.

Scenes and predictions are made up, on a mosaic of 400 places, over two years, of which the second is judged.
S3 is a dictionary that answers at once: what is measured is Orthostat's. Judging reads the ledger, the copies
of the Items as a nightly run leaves them and the archive's listing, gives every verdict, digests the inputs
and plans the tiles; releasing reads the judgement, not the Items. Each size runs in a process of its own:
seconds, and peak memory in GB; `start_s` is what the step takes to start.
"""

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import geopandas as gpd
from shapely import box

from orthostat import storage
from orthostat.aggregation.boundaries import project
from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.aggregation.work import plan_work
from orthostat.judgement.judge import Circumstances, judge_period
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.window import Window
from orthostat.planning.recipe import options_sha256, pipeline_recipe
from orthostat.prediction import item_copies
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.item import File, Prediction
from orthostat.scenes.archive import Listing
from orthostat.scenes.ledger import read_ledger
from orthostat.scenes.scene import Scene
from orthostat.steps.inputs import collect_inputs
from orthostat.storage import StoredObject

LIMITS = {"ratio": 60, "peak_gb": 1.0}
_FIRST = datetime(2021, 1, 1, tzinfo=UTC)
_DAYS = 730
_WEST, _NORTH, _SIDE = 300_000.0, 5_700_000.0, 10_980.0


def make_pipeline(folder: Path) -> Pipeline:
    """A pipeline by year, with zones in a folder."""
    frame = gpd.GeoDataFrame(
        {"zone_id": ["z"]},
        geometry=[box(_WEST, _NORTH - 20 * _SIDE, _WEST + 20 * _SIDE, _NORTH)],
        crs="EPSG:32633",
    )
    frame.to_file(folder / "zones.gpkg")
    return Pipeline.model_validate(
        {
            "name": "benchmark",
            "title": "Benchmark",
            "scenes": {"uri": str(folder), "stac_asset": "image"},
            "model": {"bundle": "none", "sha256": "0" * 64, "engine": "onnx"},
            "output": "s3://none",
            "zones": {"uri": str(folder / "zones.gpkg"), "id_column": "zone_id", "version": "1"},
            "grid": {"crs": "EPSG:32633", "resolution_m": 10, "tile_size": 8192},
            "period": "year",
        }
    ).model_copy(update={"output": str(folder / "made")})


def make_scene(number: int, items: int) -> tuple[Scene, Prediction]:
    """A scene of a mosaic of 400, and its prediction."""
    acquired = _FIRST + timedelta(days=number * _DAYS // items)
    name, place = f"S{number:07d}", number % 400
    uri = f"s3://archive/{name}.tif"
    scene = Scene(
        scene_id=name,
        image_uri=uri,
        etag="e",
        size_bytes=10**9,
        last_modified=acquired,
        acquired=acquired,
    )
    west, north = _WEST + place % 20 * _SIDE, _NORTH - place // 20 * _SIDE
    prediction = Prediction(
        scene_id=name,
        task="semantic_segmentation",
        files={"labels.tif": File(f"s3://made/{name}/labels.tif", f"{number:064x}")},
        acquired=acquired,
        crs="EPSG:32633",
        shape=(1098, 1098),
        transform=(10.0, 0.0, west, 0.0, -10.0, north),
        classes=tuple(LabelClass(i, f"class {i}", "000000") for i in range(6)),
        histogram={i: 10_000 * (i + 1) + number % 1000 for i in range(6)},
        counts=None,
        valid_fraction=0.9,
        value_ranges=((0.0, 9000.0),) * 4,
        model_uri="s3://made/bundle.zip",
        model_sha256="0" * 64,
        network="net",
        channels=4,
        image_size=300,
        engine="onnx",
        device="cpu",
        options={"chip_size": 300, "batch_size": 8},
        source_uri=uri,
        source_etag="e",
        source_last_modified=acquired,
        source_crs="EPSG:32633",
        source_shape=(1098, 1098),
        code_version="0.1.0",
        software={"orthostat": "0.1.0"},
    )
    return scene, prediction


class Store:
    """What S3 holds, and what is written to it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.listed: dict[str, StoredObject] = {}

    def list_objects(self, uri: str, after: str = "") -> Iterator[StoredObject]:
        """Objects by prefix."""
        return (self.listed[key] for key in sorted(self.listed) if key.startswith(uri) and key > after)

    def install(self) -> None:
        """Take the place of S3 in this process."""
        storage.list_objects = self.list_objects
        storage.exists = lambda uri: uri in self.objects
        storage.read_bytes = lambda uri: self.objects[uri]
        storage.write_bytes = lambda uri, data, content_type="": self.objects.__setitem__(uri, data)


def fill(pipeline: Pipeline, items: int) -> tuple[Store, Listing]:
    """The ledger, the copies of the Items, and the archive."""
    store, scenes = Store(), []
    days: dict[str, dict[str, tuple[str, Prediction]]] = {}
    ledger = read_ledger(
        Layout(pipeline.output),
        pipeline.model.sha256,
        options_sha256(pipeline_recipe(pipeline)),
        Window(_FIRST, _FIRST),
    )
    for number in range(items):
        scene, prediction = make_scene(number, items)
        uri = ledger.key(scene).item
        store.listed[uri] = StoredObject(uri, "e", 4000, scene.acquired)
        days.setdefault(uri.rsplit("/", 3)[0], {})[uri] = ("e", prediction)
        scenes.append(scene)
    for day, copies in days.items():
        store.objects[f"{day}/items.json.gz"] = gzip.compress(item_copies._FORMAT.dump_json(copies), 6)
    acquired = {scene.scene_id: scene.acquired for scene in scenes}
    return store, Listing(tuple(scenes), (), acquired)


def run_judge(folder: Path, items: int) -> None:
    """Judge once in this process; prints seconds, CPU seconds and peak memory in GB before and after."""
    pipeline = make_pipeline(folder)
    boundaries = project(read_pipeline_zones(pipeline.zones), pipeline.grid)
    store, archive = fill(pipeline, items)
    store.install()
    before = _peak_gb()
    began, cpu = time.perf_counter(), time.process_time()
    judged = judge_period(pipeline, "2022", Circumstances(archive, {}, boundaries.degrees()))
    used = [(one.item_uri, one.prediction) for one in judged if one.verdict.decision != "refused"]
    inputs = collect_inputs(pipeline, "2022", boundaries, None, [prediction for _, prediction in used])
    planned = plan_work(pipeline, "2022", used, ("boundaries", boundaries))
    assert len(used) == items // 2
    assert planned.tasks
    assert inputs.period_state == "closed"
    print(json.dumps([time.perf_counter() - began, time.process_time() - cpu, before, _peak_gb()]))


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Print both sizes, and the ratio of their seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs=2, default=[1_000, 100_000], metavar=("FEW", "MANY"))
    parser.add_argument("--judge", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.judge:
            run_judge(Path(folder), arguments.judge)
            return
    found = {}
    for items in arguments.items:
        command = [sys.executable, "-m", "benchmarks.judge", "--judge", str(items)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        names = ("wall_s", "cpu_s", "peak_gb_before", "peak_gb")
        found[items] = dict(zip(names, (round(value, 2) for value in json.loads(done.stdout)), strict=True))
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import orthostat.steps.judge"], check=True)
    start_s = time.perf_counter() - began
    few, many = (found[items]["wall_s"] for items in arguments.items)
    result = {
        "items": found,
        "start_s": round(start_s, 2),
        "ratio": round(many / few, 1),
        "ratio_with_start": round((start_s + many) / (start_s + few), 1),
        "limits": LIMITS,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
