"""The demo: upload the archives, run the pipelines, show what came of it."""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from demo.comparison import compare_with_boxes, compare_with_truth
from demo.place import Place
from demo.synthetic.world import write_world
from demo.weight import describe_weight
from orthostat import settings, storage
from orthostat.errors import ServiceError
from orthostat.layout import Layout
from orthostat.local.airflow_client import AirflowClient, ConflictError, TaskInstance
from orthostat.pipelines.load import find_pipeline
from orthostat.statistics.codes import Row
from orthostat.statistics.copy import read_vintage
from orthostat.statistics.database import open_database
from orthostat.statistics.display import format_table
from orthostat.statistics.publish import read_catalog

BUCKET = "s3://orthostat-demo"
PIPELINES = ("landsat", "synthetic", "trees")
DEMO = Path(__file__).parent
RESULTS = DEMO.parent / "build" / "demo"
_STORY = ["plan", "predict", "verify", "judge", "compose", "tabulate", "estimate", "release", "gate"]
_PATIENCE = 24
"""Airflow closes a backfill up to half a minute after its last run."""
_START = time.monotonic()
_BEGAN = time.time()


def run_demo(find_place: Callable[[], Place]) -> None:
    """Run everything in the system that `find_place` gives; may be run again at any time."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("orthostat").setLevel(logging.INFO)
    say("looking for PostgreSQL, S3 and Airflow, or starting them")
    place = find_place()
    client = place.client
    upload_archives()
    for name in PIPELINES:
        client.wait_for_dag(name)
        client.unpause(name)
    say("landsat: two overlapping Landsat 8 scenes of 18 May 2020, run by hand for May 2020")
    run_id = client.trigger("landsat", {"from": "2020-05-01", "to": "2020-05-31"})
    follow(client, "landsat", [run_id])
    say("synthetic: three months of made-up scenes with known truth, as a backfill")
    follow(client, "synthetic", backfill(client, "synthetic", "2024-01-01", "2024-03-31"))
    say("trees: an aerial photo in four overlapping scenes, run by hand for 2019")
    follow(client, "trees", [client.trigger("trees", {"from": "2019-01-01", "to": "2019-12-31"})])
    tables = {name: fetch_results(name) for name in PIPELINES}
    show(tables)
    show_files()
    print(place.described)


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - _START:5.0f} s] {text}", flush=True)


def upload_archives() -> None:
    """Put scenes, zones, bundles and the simulated sample into S3; equal bytes keep their etag."""
    bucket, _ = storage.split_s3(BUCKET)
    with suppress(storage.s3().exceptions.BucketAlreadyOwnedByYou):  # by an earlier demo
        storage.s3().create_bucket(Bucket=bucket)
    world = RESULTS.parent / "synthetic-world"
    say("making the synthetic world")
    write_world(world)
    uploads = {
        **{f"landsat/scenes/{path.name}": path for path in (DEMO / "landsat/scenes").glob("*.tif")},
        **{f"trees/scenes/{path.name}": path for path in (DEMO / "trees/scenes").glob("*.tif")},
        "trees/zones.gpkg": DEMO / "trees/zones.gpkg",
        "trees/bundle/trees.zip": DEMO / "trees/bundle/trees.zip",
        "landsat/zones.gpkg": DEMO / "landsat/zones.gpkg",
        "landsat/bundle/landcover.zip": DEMO / "landsat/bundle/landcover.zip",
        **{f"synthetic/scenes/{path.name}": path for path in (world / "scenes").glob("*.tif")},
        **{f"synthetic/{name}": world / name for name in ("zones.gpkg", "sample.csv", "strata.csv")},
        "synthetic/bundle/synthetic.zip": DEMO / "synthetic/bundle/synthetic.zip",
    }
    for key, path in uploads.items():
        storage.upload(path, storage.join(BUCKET, key))
    say(f"uploaded {len(uploads)} objects to {BUCKET}")


def backfill(client: AirflowClient, name: str, first: str, last: str) -> list[str]:
    """Create a backfill of the days `first` to `last`; returns the ids of its runs."""
    for _ in range(_PATIENCE):
        try:
            client.backfill(name, first, last, max_active_runs=2)
        except ConflictError:
            say("  Airflow has not yet closed the last backfill; waiting")
            time.sleep(5)
        else:
            return [run.run_id for run in client.dag_runs(name) if run.run_type == "backfill"]
    raise ServiceError(
        f"Airflow has another backfill of {name} for {5 * _PATIENCE} s already; wait for it, or cancel it at "
        f"{client.address}, and run the demo again"
    )


def follow(client: AirflowClient, dag_id: str, run_ids: Sequence[str]) -> None:
    """Show the progress of runs until they end. Raises ServiceError when one fails, with its note."""

    def show_progress(tasks: list[TaskInstance]) -> None:
        running = Counter(task.task_id for task in tasks if task.state == "running")
        done = sum(task.state in {"success", "skipped"} for task in tasks)
        steps = ", ".join(
            f"{step} x{running[step]}" if running[step] > 1 else step for step in _STORY if running[step]
        )
        if steps:
            say(f"  {run_id}: {steps} ({done} of {len(tasks)} tasks done)")

    for run_id in run_ids:
        state = client.wait_for_run(dag_id, run_id, show_progress)
        note = client.dag_run(dag_id, run_id).note or "no note"
        say(f"  {run_id}: {state}")
        print("\n".join(f"            {line}" for line in note.splitlines()), flush=True)
        if state != "success":
            raise ServiceError(f"run {run_id} of {dag_id} {state}: {note}; see its tasks at {client.address}")


def fetch_results(name: str) -> list[Row]:
    """Copy the files of the current figures to build/demo, as the catalog names them; returns the table."""
    with open_database(settings.database_url()) as connection:
        rows: list[Row] = read_vintage(connection, name).to_pylist()
    folder = RESULTS / name
    shutil.rmtree(folder, ignore_errors=True)
    layout = Layout(find_pipeline(name).output)
    for period, entry in read_catalog(layout)["periods"].items():
        (folder / period).mkdir(parents=True)
        for file in entry["files"]:
            storage.download(storage.join(entry["uri"], file), folder / period / file)
    storage.download(layout.catalog(), folder / "catalog.json")
    return rows


def show(tables: dict[str, list[Row]]) -> None:
    """Print each table; the synthetic one also next to the truth."""
    for name, rows in tables.items():
        print(f"\n=== {find_pipeline(name).title} ===\n")
        print(format_table(rows))
    print("\n=== The trees that the model counts next to those that people boxed ===\n")
    print(compare_with_boxes(tables["trees"], DEMO / "trees/truth.csv"))
    print("\n=== The synthetic estimates next to the known truth ===\n")
    print(compare_with_truth(tables["synthetic"], RESULTS.parent / "synthetic-world/truth.csv"))


def show_files() -> None:
    """Say where everything is, and what it took."""
    print("\nTables and maps:")
    for path in sorted(RESULTS.rglob("*")):
        if path.is_file():
            print(f"  {path.relative_to(RESULTS.parent.parent)}")
    print(f"Scenes and predictions: {BUCKET}")
    print(describe_weight(_BEGAN), flush=True)
