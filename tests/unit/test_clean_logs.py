"""The log groomer of the Airflow image, which the official Helm chart starts beside its components."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CLEAN_LOGS = Path(__file__).parents[2] / "images/airflow/clean-logs"
DAY_S = 86_400


def write_log(path: Path, age_days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a line\n")
    written = time.time() - age_days * DAY_S
    os.utime(path, (written, written))
    return path


@contextmanager
def groomer(home: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    given = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(home), **environment}
    process = subprocess.Popen(["bash", CLEAN_LOGS], env=given, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_gone(path: Path) -> None:
    deadline = time.monotonic() + 60
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not path.exists()


def test_old_logs_go_and_the_others_stay(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    fresh = write_log(logs / "dag_id=a/attempt=1.log", 14)
    (logs / "dag_id=new").mkdir()
    left = logs / "dag_id=left"
    left.mkdir()
    os.utime(left, (0, 0))
    old = write_log(logs / "dag_id=b/attempt=1.log", 16)
    with groomer(tmp_path) as process:
        wait_until_gone(old)
        wait_until_gone(left)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert fresh.exists()
    assert (logs / "dag_id=new").exists()  # Airflow may be about to write there


def test_days_and_minutes_add_up(tmp_path: Path) -> None:
    kept = write_log(tmp_path / "logs/a.log", 2.5)
    old = write_log(tmp_path / "logs/z.log", 3.1)
    with groomer(tmp_path, AIRFLOW__LOG_RETENTION_DAYS="2", AIRFLOW__LOG_RETENTION_MINUTES="1440") as process:
        wait_until_gone(old)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert kept.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIRFLOW__LOG_RETENTION_DAYS", "two"),
        ("AIRFLOW__LOG_CLEANUP_FREQUENCY_MINUTES", "0"),
        ("AIRFLOW__LOG_MAX_SIZE_PERCENT", "80"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path: Path, name: str, value: str) -> None:
    with groomer(tmp_path, **{name: value}) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert name in said
    assert f"'{value}'" in said
