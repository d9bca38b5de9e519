"""`orthostat local`: real services, from nothing to nothing."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from orthostat.errors import ServiceError
from orthostat.local import configuration, services
from orthostat.local.airflow_client import AirflowClient

pytestmark = pytest.mark.slow

DAG = """
from airflow.sdk import DAG, task

with DAG("trivial", schedule=None, params={"name": "nobody"}):

    @task
    def greet(params=None):
        print("hello", params["name"])

    greet()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="orthostat-test-") as name:
        yield Path(name)


def run_local(folder: Path, action: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "orthostat", "local", action, "--dir", folder, *options]
    variables = {**os.environ, "ORTHOSTAT_DAGS_DIR": str(folder / "dags")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def services_of(folder: Path) -> dict[str, int | None]:
    """Of those that are ready; a busy machine may answer the first question late."""
    deadline = time.monotonic() + 60
    while True:
        found = json.loads(run_local(folder, "status", "--json").stdout)["services"]
        if all(service["ready"] for service in found) or time.monotonic() > deadline:
            return {service["name"]: service["pid"] for service in found if service["ready"]}


def family(pids: list[int]) -> set[psutil.Process]:
    leaders = {psutil.Process(pid) for pid in pids}
    return leaders | {child for leader in leaders for child in leader.children(recursive=True)}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def client_of(folder: Path) -> Any:
    chosen = configuration.read(folder)
    keys = {"aws_access_key_id": chosen.s3_access_key, "aws_secret_access_key": chosen.s3_secret_key}
    return boto3.client("s3", endpoint_url=chosen.s3_endpoint, region_name="us-east-1", **keys)


def put_object(folder: Path, key: str, data: bytes) -> None:
    client_of(folder).create_bucket(Bucket="bucket")
    client_of(folder).put_object(Bucket="bucket", Key=key, Body=data)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_services_start_run_a_dag_and_leave_nothing_behind(folder: Path) -> None:
    (folder / "dags").mkdir()
    (folder / "dags" / "trivial.py").write_text(DAG)
    try:
        run_local(folder, "up")
        first = services_of(folder)
        assert set(first) == {"postgres", "s3", "api-server", "scheduler", "dag-processor", "triggerer"}

        chosen = configuration.read(folder)
        started = family([pid for pid in first.values() if pid])
        addresses = {
            connection.laddr.ip
            for process in started
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert addresses == {"127.0.0.1"}

        client = AirflowClient.of(folder)
        client.wait_for_dag("trivial", timeout_s=300)
        client.unpause("trivial")
        run_id = client.trigger("trivial", {"name": "world"})
        assert client.wait_for_run("trivial", run_id, timeout_s=600) == "success"
        assert [(task.task_id, task.state) for task in client.task_instances("trivial", run_id)] == [
            ("greet", "success")
        ]
        assert "hello world" in client.task_log("trivial", run_id, "greet")
        with pytest.raises(ServiceError, match="404"):
            client.trigger("unknown")

        put_object(folder, "kept", b"kept")
        run_local(folder, "up")
        assert services_of(folder) == first
        started |= family([pid for pid in first.values() if pid])
    finally:
        stopped = run_local(folder, "down").stdout

    assert all(name in stopped for name in first)
    assert not [process for process in started if is_alive(process)]
    assert not listens(chosen.api_port)
    assert not listens(chosen.s3_port)
    ports = (*chosen.s3_inner_ports, chosen.s3_port)
    assert not [path for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]
    assert run_local(folder, "down").stdout == "nothing runs\n"

    try:
        assert services.start_s3(folder) == chosen
        answer = client_of(folder).get_object(Bucket="bucket", Key="kept")
        assert answer["Body"].read() == b"kept"
    finally:
        assert run_local(folder, "down").stdout == "stopped: s3\n"
