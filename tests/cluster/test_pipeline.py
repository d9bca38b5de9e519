"""The pipeline as pods, from an Airflow beside the cluster: byte for byte what the runner `process` makes."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken

from orthostat import storage
from orthostat.errors import ServiceError
from orthostat.local import configuration, postgres
from orthostat.local.environment import environment
from tests.cluster.cluster import needs_cluster
from tests.cluster.conftest import Cluster
from tests.cluster.kubectl import get, kubectl
from tests.integration.story import Story, run_command

pytestmark = needs_cluster
QUARTER = {"from": "2024-01-01", "to": "2024-03-31"}


def rasters(root: str) -> dict[str, str]:
    """SHA-256 of every class raster and tile below an output, by what follows it."""
    return {
        entry.uri.removeprefix(root): hashlib.sha256(storage.read_bytes(entry.uri)).hexdigest()
        for entry in storage.list_objects(f"{root}/")
        if entry.uri.endswith(".tif")
    }


@pytest.mark.long  # CI compares a backfill that meets faults
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


@pytest.mark.long
def test_by_hand_there_is_nothing_new(cluster: Cluster, by_processes: Story) -> None:
    run_id = cluster.run("pods", QUARTER)
    note = cluster.note("pods", run_id)
    assert "12 scenes listed, 0 to predict" in note
    assert "nothing to release: no period changed" in note


def test_at_night_a_late_arrival_is_found(cluster: Cluster, by_processes: Story) -> None:
    acquired = datetime.now(UTC).replace(day=1) - timedelta(days=1)  # of a month that is over
    first = next(iter(storage.list_objects(f"{cluster.bucket}/synthetic/scenes/")))
    late = f"{cluster.bucket}/nightly/scenes/SYN_A_{acquired:%Y%m%d}.tif"
    storage.write_bytes(late, storage.read_bytes(first.uri))
    pattern = r"(?P<scene_id>SYN_[A-D]_(?P<acquired>\d{8}))\.tif$"
    scenes = {"uri": f"{cluster.bucket}/nightly/scenes/", "pattern": pattern, "fill": 0}
    cluster.write("nightly", scenes=scenes, schedule="0 0 * * *", sample=None, lookback_days=40)
    [run, *_] = wait_for(lambda: cluster.client.dag_runs("nightly"), 300)
    assert run.run_type == "scheduled"
    assert cluster.client.wait_for_run("nightly", run.run_id) == "success", cluster.note(
        "nightly", run.run_id
    )
    note = cluster.note("nightly", run.run_id)
    assert "1 scenes listed, 1 to predict" in note
    assert f"first figures for {acquired:%Y-%m}" in note


def test_one_image_on_demand_has_its_own_settings(cluster: Cluster, by_processes: Story) -> None:
    """The DAG takes image and resources from `predict_image` in defaults.yaml, not those of the pipelines."""
    cluster.write("pods")
    model = by_processes.pipeline.model
    image = next(iter(storage.list_objects(f"{cluster.bucket}/synthetic/scenes/"))).uri
    output = f"{cluster.bucket}/pods/on-demand/one"
    cluster.client.wait_for_dag("predict_image")
    cluster.client.unpause("predict_image")
    form = {"image": image, "bundle": model.bundle, "output": output}
    run_id = wait_for(lambda: trigger_when_allowed(cluster, form), 300)
    pod = wait_for_pod(cluster, "predict_image")
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    assert cluster.client.wait_for_run("predict_image", run_id) == "success"
    here = f"{cluster.bucket}/process/on-demand"
    run_command("predict", "--image", image, "--bundle", model.bundle, "--output", here)
    assert storage.read_bytes(f"{output}/labels.tif") == storage.read_bytes(f"{here}/labels.tif")


def trigger_when_allowed(cluster: Cluster, form: dict[str, str]) -> str | None:
    """The run, once the form allows what the pipeline that was just written has."""
    try:
        return cluster.client.trigger("predict_image", form)
    except ServiceError as error:
        if "refused" not in str(error):
            raise
        return None


@pytest.mark.long
def test_a_run_tells_how_far_it_is_and_outlives_a_pod(cluster: Cluster, by_processes: Story) -> None:
    """A pod that is deleted is followed by another; what it had committed is not predicted twice."""
    first = next(iter(storage.list_objects(f"{cluster.bucket}/synthetic/scenes/")))
    image = storage.read_bytes(first.uri)
    names = [f"SYN_{part}_202301{day:02d}" for part in "ABCD" for day in range(1, 13)]
    for name in names:
        storage.write_bytes(f"{cluster.bucket}/told/scenes/{name}.tif", image)
    pattern = r"(?P<scene_id>SYN_[A-D]_(?P<acquired>\d{8}))\.tif$"
    scenes = {"uri": f"{cluster.bucket}/told/scenes/", "pattern": pattern, "fill": 0}
    used = by_processes.pipeline.model
    slow = {"bundle": used.bundle, "sha256": used.sha256, "chip_size": 64, "stride": 32}
    story = cluster.write("told", scenes=scenes, model=slow, sample=None, batch_mb=1000, publication={})
    run_id = cluster.client.trigger("told", {"from": "2023-01-01", "to": "2023-01-31"})
    told = r"predict: ([1-9]\d*) of 48 scenes done, (\d+) left"
    assert wait_for(lambda: re.search(told, cluster.note("told", run_id)), 300)
    waiting = [row for (row,) in query(cluster, "SELECT kwargs FROM trigger")]
    assert waiting
    assert_no_secret(cluster, waiting)
    pod = wait_for_pod(cluster, "told")
    kubectl("-n", cluster.namespace, "delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    done = len(items_of(story))
    assert cluster.client.wait_for_run("told", run_id) == "success", cluster.note("told", run_id)
    tasks = cluster.client.task_instances("told", run_id)
    assert [task.try_number for task in tasks if task.task_id == "predict"] == [2]
    assert len(items_of(story)) == len(names)
    started = re.search(r"\[1/(\d+)\]", cluster.client.task_log("told", run_id, "predict", 0, 2))
    assert started is not None
    assert int(started[1]) <= len(names) - done


def test_no_secret_is_written_anywhere(cluster: Cluster, by_processes: Story) -> None:
    """Neither the key of S3 nor the cluster's token: in DAGs, XComs, rendered fields, manifests, logs."""
    rows: list[Any] = []
    for table in ("serialized_dag", "xcom", "rendered_task_instance_fields", "dag_run", "log", "connection"):
        rows += [row for (row,) in query(cluster, f"SELECT to_jsonb(t)::text FROM {table} t")]
    objects = [e.uri for e in storage.list_objects(f"{cluster.bucket}/") if e.uri.endswith(".json")]
    logs = [path.read_text() for path in cluster.local_dir.rglob("*.log")]
    assert len(rows) > 10
    assert any("orthostat-predict-" in log for log in logs)
    assert any("/runs/" in uri for uri in objects)
    assert_no_secret(cluster, [*rows, *logs, *(storage.read_bytes(uri).decode() for uri in objects)])


def query(cluster: Cluster, statement: str) -> list[Any]:
    """Rows of Airflow's database."""
    with postgres.connect(cluster.local_dir, "airflow") as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def assert_no_secret(cluster: Cluster, texts: list[str]) -> None:
    """None of them holds the key of S3 or the cluster's token, in clear or by Airflow's own key."""
    chosen = configuration.read(cluster.local_dir)
    kubeconfig = json.loads(Path(str(chosen.kubeconfig)).read_text())
    secrets = [str(os.environ["AWS_SECRET_ACCESS_KEY"]), kubeconfig["users"][0]["user"]["token"]]
    key = Fernet(chosen.fernet_key.encode())
    for text in texts:
        with suppress(InvalidToken):  # most are no cipher
            text = key.decrypt(text.encode()).decode()
        assert not [secret for secret in secrets if secret in text], text[:500]


def items_of(story: Story) -> list[str]:
    """The commit marks of a pipeline's predictions."""
    found = storage.list_objects(f"{story.pipeline.output}/predictions/")
    return [entry.uri for entry in found if entry.uri.endswith("/item.json")]


def wait_for_pod(cluster: Cluster, dag_id: str) -> Any:
    """The pod of a DAG once it is there."""
    labels = f"dag_id={dag_id}"
    return wait_for(lambda: get("pods", "-n", cluster.namespace, "-l", labels)["items"], 300)[0]


def wait_for(look: Callable[[], Any], timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"not there after {timeout_s} s")
