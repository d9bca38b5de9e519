"""PostgreSQL, S3 and Airflow with the project's DAGs, once for all integration tests that ask for them."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orthostat.local.airflow_client import AirflowClient


@dataclass(frozen=True)
class Services:
    """Running services."""

    local_dir: Path
    pipelines_dir: Path
    """Empty at first; Airflow makes a DAG of every pipeline file that a test writes here."""
    environment: dict[str, str]
    """For child processes, or to be set with monkeypatch."""
    client: AirflowClient


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """The services of one machine, in a folder of their own and on free ports."""
    from orthostat.local import services
    from orthostat.local.environment import environment

    with (
        tempfile.TemporaryDirectory(prefix="orthostat-test-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        local_dir, pipelines_dir = Path(folder) / "local", Path(folder) / "pipelines"
        pipelines_dir.mkdir()
        patch.setenv("ORTHOSTAT_PIPELINES_DIR", str(pipelines_dir))
        patch.delenv("ORTHOSTAT_DAGS_DIR", raising=False)
        try:
            services.start(local_dir)
            variables = environment(local_dir)
            patch.undo()
            yield Services(local_dir, pipelines_dir, variables, AirflowClient.of(local_dir))
        finally:
            services.stop(local_dir)
