"""One system for all tests of this folder, with the demo run in it once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.system import System

SERVICES = ("postgres", "s3", "api-server", "scheduler", "dag-processor", "triggerer", "predict")


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Everything up; nothing of it is left at the end, volumes neither."""
    if "ORTHOSTAT_AIRFLOW_IMAGE" not in os.environ:
        pytest.skip("no images are named to run with docker compose; `make compose-test` builds them")
    system = System(tmp_path_factory.mktemp("compose"))
    for service in SERVICES:
        system.write_pipeline(kill_name(service))
    try:
        system.up()
        yield system
    finally:
        system.compose("--profile", "demo", "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def results(system: System) -> Path:
    """The folder of the demo's results, run as `make compose-demo` does."""
    system.compose("run", "--rm", "--user", f"{os.getuid()}:0", "demo")
    return system.folder / "build" / "demo"


def kill_name(service: str) -> str:
    """The pipeline in whose run a service is killed."""
    return f"killed_{service.replace('-', '_')}"
