"""`python -m benchmarks.orchestration [--repeat N]`: what a run costs beside what Airflow itself costs.

Starts the services of one machine in a folder of its own, with two DAGs to compare with: one task that does
nothing, and ten of them in a row. (Tasks that are started: Airflow's EmptyOperator is none, the scheduler
marks it as done.) Against them, in turn, a run that finds nothing new, and a run of two small scenes by the
engine onnx and the runner `process`, from trigger to the released table. Seconds are those from the trigger
to the end of the run as Airflow's database has them; the ratios are those of the medians.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.local_airflow import BUCKET, JANUARY, ask, describe_pipeline, local_airflow, run
from orthostat import storage
from orthostat.local.airflow_client import AirflowClient

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


def small_pipeline(number: int) -> dict[str, Any]:
    """A pipeline over two of a month's four scenes."""
    made = describe_pipeline(f"small{number}", batch_mb=1000)
    scenes = made["scenes"] | {"pattern": made["scenes"]["pattern"].replace("A-D", "AB")}
    return made | {"scenes": scenes}


def seconds_of(client: AirflowClient, local_dir: Path, dag_id: str, days: dict[str, str]) -> float:
    """Seconds from trigger to end."""
    run_id = run(client, dag_id, days)
    query = "SELECT extract(epoch FROM end_date - queued_at) FROM dag_run WHERE dag_id = %s AND run_id = %s"
    return float(ask(local_dir, query, dag_id, run_id)[0][0])


def measure(local_dir: Path, client: AirflowClient, repeat: int) -> dict[str, list[float]]:
    """Seconds of each repetition; the first of all, when everything is cold, is not among them."""
    for dag_id in ("one", "ten"):
        client.wait_for_dag(dag_id, timeout_s=300)
        client.unpause(dag_id)
    seconds_of(client, local_dir, "one", {})
    found: dict[str, list[float]] = {"one task": [], "nothing new": [], "ten tasks": [], "two scenes": []}
    for n in range(repeat):
        found["ten tasks"].append(seconds_of(client, local_dir, "ten", {}))
        found["two scenes"].append(seconds_of(client, local_dir, f"small{n}", JANUARY))
        found["one task"].append(seconds_of(client, local_dir, "one", {}))
        found["nothing new"].append(seconds_of(client, local_dir, f"small{n}", JANUARY))
    return found


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    with local_airflow([small_pipeline(n) for n in range(repeat)], {"peers.py": PEERS}) as (
        local_dir,
        client,
    ):
        for path in sorted((local_dir.parent / "world/scenes").glob("*_202401*.tif")):
            storage.upload(path, f"{BUCKET}/synthetic/scenes/{path.name}")
        found = measure(local_dir, client, repeat)
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
