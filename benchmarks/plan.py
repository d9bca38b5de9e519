"""`python -m benchmarks.plan [--scenes N]`: planning and verifying many scenes, and what that writes.

Scenes are made up, all of them new; S3 is a dictionary that answers at once. Plan and verify each run in a
process of its own, which tells its CPU seconds, and its peak memory in MB before and after; the store passes
between them as a file. What Airflow keeps between steps (its XComs) is what the steps return.
"""

import argparse
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.judge import Store, make_pipeline
from orthostat.judgement.verify import verify
from orthostat.layout import Layout
from orthostat.pipelines.config import Scenes
from orthostat.pipelines.window import Window
from orthostat.planning.plan import make_plan, pipeline_ledger, read_plan
from orthostat.storage import StoredObject

LIMITS = {"peak_mb": 1000, "xcom_kb": 48}
"""A worker's memory; what Airflow's database should hold of a step."""
_RUN = "benchmark"
_WINDOW = Window(datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
_PATTERN = r"(?P<scene_id>S2A_MSIL2A_(?P<acquired>\d{8})_T32UQD_\d{7})\.tif$"


def fill(store: Store, scenes: int) -> None:
    """The archive."""
    for number in range(scenes):
        day = _WINDOW.start + timedelta(days=number * 365 // scenes)
        uri = f"s3://archive/scenes/{day:%Y/%m/%d}/S2A_MSIL2A_{day:%Y%m%d}_T32UQD_{number:07}.tif"
        store.listed[uri] = StoredObject(uri, f"{number:032x}", 10**9, day)


def run_step(name: str, folder: Path, scenes: int) -> None:
    """Plan, or verify what was planned; prints what it took."""
    pipeline = make_pipeline(folder)
    found = Scenes(uri="s3://archive/scenes/", pattern=_PATTERN)
    pipeline = pipeline.model_copy(update={"scenes": found, "output": "s3://none"})
    store, kept = Store(), folder / "store"
    if name == "plan":
        fill(store, scenes)
    else:
        store.objects, store.listed = pickle.loads(kept.read_bytes())
    store.install()
    before_mb, cpu_s = _peak_mb(), time.process_time()
    if name == "plan":
        plan = make_plan(pipeline, _RUN, _WINDOW)
        assert plan.planned == scenes
    else:
        assert len(verify(read_plan("s3://none", _RUN)).committed) == scenes
    cpu_s, peak_mb = time.process_time() - cpu_s, _peak_mb()
    if name == "plan":
        ledger = pipeline_ledger(pipeline, _WINDOW)
        for scene in plan.scenes():
            uri = ledger.key(scene).item
            store.listed[uri] = StoredObject(uri, "e", 4000, scene.acquired)
        kept.write_bytes(pickle.dumps((store.objects, store.listed)))
    print(json.dumps({"cpu_s": round(cpu_s, 1), "mb_before": round(before_mb), "peak_mb": round(peak_mb)}))


def measure_sizes(folder: Path) -> dict[str, float]:
    """Kilobytes of what the steps wrote."""
    objects, _ = pickle.loads((folder / "store").read_bytes())
    layout = Layout("s3://none")
    batches = [len(data) for uri, data in objects.items() if uri.startswith(layout.run(_RUN, "batches"))]
    plan = json.loads(objects[layout.plan(_RUN)])
    sizes = {
        "plan_kb": len(objects[layout.plan(_RUN)]),
        "largest_batch_kb": max(batches),
        "all_batches_kb": sum(batches),
        "xcom_kb": len(json.dumps(plan["batches"])),
    }
    return {"batches": len(batches), **{name: round(size / 1000, 1) for name, size in sizes.items()}}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print sizes, CPU seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments.step[0], Path(arguments.step[1]), arguments.scenes)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in ("plan", "verify"):
            command = [sys.executable, "-m", "benchmarks.plan", "--step", name, folder]
            command += ["--scenes", str(arguments.scenes)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = json.loads(done.stdout)
        sizes = measure_sizes(Path(folder))
    print(json.dumps({"scenes": arguments.scenes, **sizes, **found, "limits": LIMITS}, indent=2))


if __name__ == "__main__":
    main()
