"""`python -m benchmarks.thousand_scenes [--scenes N]`: what listing, planning, mapping, verifying and judging
of many scenes cost on top of their prediction.

Scenes of 64 x 64 pixels, so that their prediction is trivial, through Airflow on one machine, engine onnx,
runner `process`. Seconds from the trigger to the end of `judge`, less those that the batches would take if
they followed one another without a pause on all cores, as the database of Airflow has them. A batch's
seconds hold the start of its task and of its model, as a pod's would.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import rasterio
from rasterio.windows import Window

from benchmarks.local_airflow import BUCKET, JANUARY, ask, describe_pipeline, local_airflow, run
from orthostat import storage

TO_REACH_S = 0.05
SIDE = 64


def upload_scenes(source: Path, count: int) -> None:
    """Pieces of a scene, all over it and of all days of a month."""
    with rasterio.open(source) as scene, tempfile.TemporaryDirectory() as folder:
        per_row = scene.width // SIDE
        rows = scene.height // SIDE
        for number in range(count):
            window = Window(number % per_row * SIDE, number // per_row % rows * SIDE, SIDE, SIDE)
            profile = scene.profile | {
                **{"width": SIDE, "height": SIDE, "tiled": False, "driver": "GTiff"},
                "transform": scene.window_transform(window),
            }
            for name in ("blockxsize", "blockysize"):
                profile.pop(name, None)
            path = Path(folder) / "scene.tif"
            with rasterio.open(path, "w", **profile) as piece:
                piece.write(scene.read(window=window))
            storage.upload(path, f"{BUCKET}/scenes/S{number:05d}_202401{number % 31 + 1:02d}.tif")


def main() -> None:
    """Print seconds, by step and on top of the batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000)
    count = parser.parse_args().scenes
    scenes = {"uri": f"{BUCKET}/scenes/", "pattern": r"(?P<scene_id>S\d{5}_(?P<acquired>\d{8}))\.tif$"}
    with local_airflow([describe_pipeline("many", scenes=scenes)], {}) as (local_dir, client):
        upload_scenes(min((local_dir.parent / "world/scenes").glob("*.tif")), count)
        run_id = run(client, "many", JANUARY)
        (planned,) = ask(
            local_dir, "SELECT queued_at FROM dag_run WHERE dag_id = 'many' AND run_id = %s", run_id
        )
        tasks = ask(
            local_dir,
            "SELECT task_id, extract(epoch FROM end_date - %s), duration FROM task_instance "
            "WHERE dag_id = 'many' AND run_id = %s",
            *(planned[0], run_id),
        )
        note = client.dag_run("many", run_id).note
    assert f"{count} of {count} scenes predicted" in (note or ""), note
    judged = next(float(ended) for name, ended, _ in tasks if name == "judge")
    batches = [float(seconds) for name, _, seconds in tasks if name == "predict"]
    alone = sum(batches) / len(os.sched_getaffinity(0))
    on_top = judged - alone
    found = {
        "scenes": count,
        "to the end of judge_s": round(judged, 1),
        "batches_s": [round(seconds, 1) for seconds in batches],
        "batches on all cores_s": round(alone, 1),
        "on top_s": round(on_top, 1),
        "a scene_s": round(on_top / count, 4),
        "to reach_s": TO_REACH_S,
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
