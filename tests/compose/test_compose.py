"""The whole system with docker compose: the demo's figures, and that nothing is lost when services die."""

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.compose.conftest import SERVICES, kill_name
from tests.compose.system import System
from tests.demo.test_demo import (
    read_rows,
    test_classes_make_up_the_valid_area,
    test_landsat_table_shows_what_is_published_and_what_is_withheld,
    test_overlapping_scenes_are_counted_once,
    test_synthetic_series_has_estimates_that_hold_the_truth,
    test_the_catalog_names_all_files_as_they_are,
    test_trees_are_counted_once_and_next_to_what_people_boxed,
)

__all__ = [  # the demo's own tests, on what it left behind here
    "test_classes_make_up_the_valid_area",
    "test_landsat_table_shows_what_is_published_and_what_is_withheld",
    "test_overlapping_scenes_are_counted_once",
    "test_synthetic_series_has_estimates_that_hold_the_truth",
    "test_the_catalog_names_all_files_as_they_are",
    "test_trees_are_counted_once_and_next_to_what_people_boxed",
]
OF_ITS_OWN = {"pipeline", "inputs_sha256", "release_id", "is_break", "break_note"}
"""Columns in which equal figures of two pipelines differ, and those that an export alone has."""
AWAY_S = 10
"""How long a killed service is away."""
IN_CI = "postgres"


def test_statisticians_read_from_this_machine_and_write_nothing(system: System, results: Path) -> None:
    with psycopg.connect(system.readers_url(), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM current_observation").fetchone() == (True,)
        with pytest.raises(psycopg.Error, match="permission denied"):
            connection.execute("UPDATE release SET status = 'published'")


@pytest.mark.parametrize(
    "service", [pytest.param(one, marks=[] if one == IN_CI else pytest.mark.long) for one in SERVICES]
)
def test_a_service_killed_in_a_run_loses_nothing(system: System, results: Path, service: str) -> None:
    name = kill_name(service)
    run_id = start(system, name)
    system.compose("kill", service)
    time.sleep(AWAY_S)
    system.up()
    assert finish(system, name, run_id) == figures(read_rows(results / "synthetic"))


@pytest.mark.long
def test_down_and_up_in_a_run_keep_all(system: System, results: Path) -> None:
    system.write_pipeline("stopped")
    run_id = start(system, "stopped")
    system.compose("down")
    system.up()
    assert finish(system, "stopped", run_id) == figures(read_rows(results / "synthetic"))
    assert system.client().dag_runs("landsat")


def start(system: System, name: str) -> str:
    """Start a run of January; returns its id when it predicts."""
    client = system.client()
    client.wait_for_dag(name, timeout_s=300)
    client.unpause(name)
    run_id = client.trigger(name, {"from": "2024-01-01", "to": "2024-01-31"})
    deadline = time.monotonic() + 300
    while ("predict", "running") not in {
        (task.task_id, task.state) for task in client.task_instances(name, run_id)
    }:
        assert time.monotonic() < deadline, "predict does not start"
        time.sleep(0.2)
    return run_id


def finish(system: System, name: str, run_id: str) -> list[dict[str, str]]:
    """Wait for a run's success; returns its figures."""
    client = system.client()
    state = client.wait_for_run(name, run_id)
    assert state == "success", client.dag_run(name, run_id).note
    export = (
        f"orthostat statistics export --pipeline {name} --output /tmp/{name}.csv >&2 && cat /tmp/{name}.csv"
    )
    table = system.compose("exec", "--no-TTY", "scheduler", "sh", "-c", export)
    return figures(list(csv.DictReader(io.StringIO(table))))


def figures(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of January without what differs between two pipelines, in one order."""
    kept = [
        {column: value for column, value in row.items() if column not in OF_ITS_OWN}
        for row in rows
        if row["period"] == "2024-01"
    ]
    return sorted(kept, key=lambda row: json.dumps(row, sort_keys=True))


def test_a_service_has_no_secret_that_it_does_not_need(system: System) -> None:
    """Nor the prediction service any but its own S3 account."""
    config: dict[str, Any] = json.loads(
        system.compose("--profile", "gpu", "--profile", "demo", "config", "--format", "json")
    )
    s3 = {"S3_ACCESS_KEY", "S3_SECRET_KEY"}
    airflow = {"AIRFLOW_DATABASE_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_SECRET_KEY"}
    wanted = {
        "postgres": {"POSTGRES_PASSWORD"},
        "s3": s3,
        "database": {
            "POSTGRES_PASSWORD",
            "AIRFLOW_DATABASE_PASSWORD",
            "WORKER_PASSWORD",
            "STATISTICIANS_PASSWORD",
        },
        "init": {*s3, *airflow, "AIRFLOW_PASSWORD"},
        "api-server": airflow,
        "scheduler": {*s3, *airflow, "WORKER_PASSWORD"},
        "dag-processor": airflow,
        "triggerer": airflow,
        "predict": s3,
        "predict-gpu": s3,
        "demo": {*s3, "AIRFLOW_PASSWORD", "STATISTICIANS_PASSWORD"},
    }
    found = {
        name: {key for key, secret in system.secrets.items() if secret in json.dumps(service)}
        for name, service in config["services"].items()
    }
    assert found == wanted
    [device] = config["services"]["predict-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])
