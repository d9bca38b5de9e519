"""The pipeline as pods, from an Airflow beside the cluster: byte for byte what the runner `process` makes."""

import hashlib
import subprocess
import sys

from orthostat import storage
from orthostat.local.environment import environment
from tests.cluster.cluster import get, needs_cluster
from tests.cluster.conftest import Cluster
from tests.integration.story import Story

pytestmark = needs_cluster
QUARTER = {"from": "2024-01-01", "to": "2024-03-31"}


def rasters(root: str) -> dict[str, str]:
    """SHA-256 of every class raster and tile below an output, by what follows it."""
    return {
        entry.uri.removeprefix(root): hashlib.sha256(storage.read_bytes(entry.uri)).hexdigest()
        for entry in storage.list_objects(f"{root}/")
        if entry.uri.endswith(".tif")
    }


def test_a_backfill_of_three_months_equals_processes(cluster: Cluster, by_processes: Story) -> None:
    story = cluster.write("pods", schedule="0 0 1 * *")
    command = [
        "backfill",
        "create",
        "--dag-id",
        "pods",
        "--from-date",
        "2024-01-01",
        "--to-date",
        "2024-03-31",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *command, "--max-active-runs", "1"],
        env=environment(cluster.local_dir),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for run in [run for run in cluster.client.dag_runs("pods") if run.run_type == "backfill"]:
        state = cluster.client.wait_for_run("pods", run.run_id)
        assert state == "success", cluster.note("pods", run.run_id)
    assert story.csv() == (by_processes.folder / "expected.csv").read_bytes()
    made = rasters(story.pipeline.output)
    assert made == rasters(by_processes.pipeline.output)
    assert len([name for name in made if name.endswith("/labels.tif")]) == 12
    assert get("pods", "-n", cluster.namespace)["items"] == []


def test_by_hand_there_is_nothing_new(cluster: Cluster, by_processes: Story) -> None:
    run_id = cluster.run("pods", QUARTER)
    note = cluster.note("pods", run_id)
    assert "12 scenes listed, 0 to predict" in note
    assert "nothing to release: no period changed" in note
