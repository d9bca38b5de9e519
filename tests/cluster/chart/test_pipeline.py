"""A pipeline in an Airflow that runs in the cluster, as the official Helm chart starts it."""

import csv
import io
from pathlib import Path

import httpx
import pytest
import yaml

from orthostat.pipelines.load import load_pipeline
from tests.cluster.archive import describe_pipeline
from tests.cluster.chart import components
from tests.cluster.chart.conftest import Airflow
from tests.cluster.cluster import needs_cluster, needs_relays
from tests.cluster.kubectl import get, wait_until
from tests.integration.story import Story

pytestmark = [needs_cluster, needs_relays, pytest.mark.long]


@pytest.fixture
def expected(airflow: Airflow, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """January by the runner `process`, in another database and below another output."""
    bucket = f"s3://{airflow.namespace}"
    content = describe_pipeline(bucket, "pods") | {"output": f"{bucket}/process", "runner": "process"}
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    story = Story(load_pipeline(tmp_path / "pods.yaml"), tmp_path)
    story.run("january", "2024-01-01", "2024-02-01")
    return story.csv()


def test_plan_and_pods_work_with_the_charts_accounts(
    airflow: Airflow, admin: httpx.Client, expected: bytes
) -> None:
    wait_until(lambda: admin.get("/api/v2/dags/pods").is_success)
    checked = airflow.execute(components.SCHEDULER, "orthostat", "pipelines", "check", "--cluster")
    assert "pods: valid" in checked
    admin.patch("/api/v2/dags/pods", json={"is_paused": False}).raise_for_status()
    body = {"logical_date": None, "conf": {"from": "2024-01-01", "to": "2024-01-31"}}
    run = admin.post("/api/v2/dags/pods/dagRuns", json=body).raise_for_status().json()
    path = f"/api/v2/dags/pods/dagRuns/{run['dag_run_id']}"
    wait_until(lambda: admin.get(path).json()["state"] in {"success", "failed"}, seconds=420)
    ended = admin.get(path).json()
    assert ended["state"] == "success", ended["note"]
    export = "orthostat statistics export --pipeline pods --output /tmp/table.csv >&2 && cat /tmp/table.csv"
    table = airflow.execute(components.SCHEDULER, "sh", "-c", export)
    assert list(csv.DictReader(io.StringIO(table))) == list(csv.DictReader(io.StringIO(expected.decode())))
    assert get("pods", "-n", airflow.pods_namespace)["items"] == []
