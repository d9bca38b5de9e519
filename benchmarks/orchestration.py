"""`python -m benchmarks.orchestration [--repeat N]`: what a run costs beside what Airflow itself costs.

Starts the services of one machine in a folder of its own, with two DAGs to compare with: one task that does
nothing, and ten of them in a row. (Tasks that are started: Airflow's EmptyOperator is none, the scheduler
marks it as done.) Against them, in turn, a run that finds nothing new, and a run of two small scenes by the
engine onnx and the runner `process`, from trigger to the released table. Seconds are those from the trigger
to the end of the run as Airflow's database has them; the ratios are those of the medians.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import yaml

from demo.synthetic.world import write_world
from orthostat import storage
from orthostat.local import postgres, services
from orthostat.local.airflow_client import AirflowClient
from orthostat.local.environment import environment

ROOT = Path(__file__).parents[1]
BUCKET = "s3://benchmark"
WINDOW = {"from": "2024-01-01", "to": "2024-01-31"}
TO_REACH = {"nothing new / one task": 3, "two scenes / ten tasks": 2}
PEERS = """
from airflow.sdk import DAG, BaseOperator

class Nothing(BaseOperator):
    def execute(self, context):
        return None

for name, count in {"one": 1, "ten": 10}.items():
    with DAG(name, schedule=None) as dag:
        tasks = [Nothing(task_id=f"task{n}") for n in range(count)]
        for before, after in zip(tasks, tasks[1:]):
            before >> after
    globals()[name] = dag
"""


def prepare(folder: Path, repeat: int) -> None:
    """DAG files and a pipeline for each repetition."""
    for name in ("dags", "pipelines"):
        (folder / name).mkdir()
    (folder / "dags/peers.py").write_text(PEERS)
    (folder / "dags/pipelines.py").symlink_to(ROOT / "dags/pipelines.py")
    text = (ROOT / "config/pipelines/synthetic.yaml").read_text().replace("s3://orthostat-demo", BUCKET)
    content: dict[str, Any] = yaml.safe_load(text) | {"schedule": None, "batch_mb": 1000, "publication": {}}
    # Two of a month's four scenes, without the sample, which is one of whole zones.
    scenes = content["scenes"] | {"pattern": content["scenes"]["pattern"].replace("A-D", "AB")}
    del content["sample"]
    for n in range(repeat):
        changes = {"name": f"small{n}", "output": f"{BUCKET}/small{n}", "scenes": scenes}
        (folder / f"pipelines/small{n}.yaml").write_text(yaml.safe_dump(content | changes))


def upload(folder: Path) -> None:
    """Scenes, zones and bundle."""
    write_world(folder)
    storage.s3().create_bucket(Bucket=BUCKET.removeprefix("s3://"))
    for path in sorted((folder / "scenes").glob("*_202401*.tif")):
        storage.upload(path, f"{BUCKET}/synthetic/scenes/{path.name}")
    storage.upload(folder / "zones.gpkg", f"{BUCKET}/synthetic/zones.gpkg")
    bundle = ROOT / "demo/synthetic/bundle/synthetic.zip"
    storage.upload(bundle, f"{BUCKET}/synthetic/bundle/synthetic.zip")


def run(client: AirflowClient, local_dir: Path, dag_id: str, days: dict[str, str]) -> float:
    """Seconds from trigger to end."""
    run_id = client.trigger(dag_id, days)
    state = client.wait_for_run(dag_id, run_id)
    assert state == "success", client.dag_run(dag_id, run_id).note
    query = "SELECT extract(epoch FROM end_date - queued_at) FROM dag_run WHERE dag_id = %s AND run_id = %s"
    with postgres.connect(local_dir, "airflow") as connection:
        row = connection.execute(query, [dag_id, run_id]).fetchone()
    assert row is not None
    return float(row[0])


def measure(local_dir: Path, repeat: int) -> dict[str, list[float]]:
    """Seconds of each repetition; the first of all, when everything is cold, is not among them."""
    client = AirflowClient.of(local_dir)
    for dag_id in ("one", "ten", *(f"small{n}" for n in range(repeat))):
        client.wait_for_dag(dag_id, timeout_s=300)
        client.unpause(dag_id)
    run(client, local_dir, "one", {})
    found: dict[str, list[float]] = {"one task": [], "nothing new": [], "ten tasks": [], "two scenes": []}
    for n in range(repeat):
        found["ten tasks"].append(run(client, local_dir, "ten", {}))
        found["two scenes"].append(run(client, local_dir, f"small{n}", WINDOW))
        found["one task"].append(run(client, local_dir, "one", {}))
        found["nothing new"].append(run(client, local_dir, f"small{n}", WINDOW))
    return found


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory(prefix="orthostat-") as name:
        folder, local_dir = Path(name), Path(name) / "local"
        prepare(folder, repeat)
        os.environ["ORTHOSTAT_PIPELINES_DIR"] = str(folder / "pipelines")
        os.environ["ORTHOSTAT_DAGS_DIR"] = str(folder / "dags")
        try:
            services.start(local_dir)
            os.environ |= environment(local_dir)
            upload(folder / "world")
            found = measure(local_dir, repeat)
        finally:
            services.stop(local_dir)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    ratios = {
        "nothing new / one task": medians["nothing new"] / medians["one task"],
        "two scenes / ten tasks": medians["two scenes"] / medians["ten tasks"],
    }
    rounded = {name: [round(value, 1) for value in seconds] for name, seconds in found.items()}
    shown = {name: round(ratio, 2) for name, ratio in ratios.items()}
    print(json.dumps({"seconds": rounded, "ratios": shown, "to reach": TO_REACH}, indent=2))


if __name__ == "__main__":
    main()
