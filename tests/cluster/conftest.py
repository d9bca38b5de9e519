"""Airflow beside the cluster, scenes on its S3 server, and the same figures made without either."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orthostat import storage
from orthostat.local import configuration, postgres, services
from orthostat.local.airflow_client import AirflowClient
from orthostat.local.environment import environment
from orthostat.pipelines.load import load_pipeline
from tests.cluster.archive import RESOURCES, describe_pipeline, remove_bucket, upload_world
from tests.cluster.cluster import (
    s3_secret,
    temporary_namespace,
    write_kubeconfig,
)
from tests.integration.story import Story


@dataclass(frozen=True)
class Cluster:
    """An Airflow on this machine that starts pods in a namespace of these tests."""

    namespace: str
    bucket: str
    """URI of a bucket that pods reach, with the synthetic archive below `synthetic/`."""
    pipelines_dir: Path
    client: AirflowClient
    local_dir: Path

    def write(self, name: str, resources: dict[str, Any] | None = None, **changes: Any) -> Story:
        """Write the synthetic pipeline under a name, as pods, and wait until Airflow has its DAG."""
        story = write_pipeline(self, name, self.pipelines_dir, resources=resources or {}, **changes)
        self.client.wait_for_dag(name, timeout_s=300)
        self.client.unpause(name)
        return story

    def run(self, name: str, days: dict[str, Any], expected: str = "success") -> str:
        """Run a pipeline by hand; returns the run's id."""
        run_id = self.client.trigger(name, days)
        state = self.client.wait_for_run(name, run_id)
        assert state == expected, self.note(name, run_id)
        return run_id

    def note(self, name: str, run_id: str) -> str:
        """What the run says of itself."""
        return self.client.dag_run(name, run_id).note or ""


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """Airflow with the rights of the project's own Role, and nothing else."""
    with airflow_beside(s3_secret()) as started:
        yield started


@contextmanager
def airflow_beside(secret: dict[str, Any], *, server: str | None = None) -> Iterator[Cluster]:
    """Airflow on this machine, which reaches S3 as its pods do, and the Kubernetes API at `server`."""
    ours = {name: os.environ[name] for name in ("KUBECONFIG", "AWS_ENDPOINT_URL_S3")}
    with (
        temporary_namespace(secret) as space,
        tempfile.TemporaryDirectory(prefix="orthostat-test-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        local_dir, pipelines_dir = Path(folder) / "local", Path(folder) / "pipelines"
        pipelines_dir.mkdir()
        patch.setenv("ORTHOSTAT_PIPELINES_DIR", str(pipelines_dir))
        patch.delenv("ORTHOSTAT_DAGS_DIR", raising=False)
        chosen = configuration.Configuration(
            s3=secret["stringData"],
            kubeconfig=str(write_kubeconfig(Path(folder) / "kubeconfig", space, server=server)),
        )
        configuration.write(local_dir, chosen)
        defaults = {
            "runner": "kubernetes",
            "resources": {**RESOURCES, "namespace": space},
            "predict_image": {"resources": {"memory": "1Gi"}},
        }
        (pipelines_dir / "defaults.yaml").write_text(yaml.safe_dump(defaults))
        try:
            services.start(local_dir)
            for name, value in (environment(local_dir) | ours).items():
                patch.setenv(name, value)
            storage.s3.cache_clear()
            bucket = f"s3://orthostat-{uuid.uuid4().hex[:8]}"
            upload_world(bucket, Path(folder) / "world")
            yield Cluster(space, bucket, pipelines_dir, AirflowClient.of(local_dir), local_dir)
            remove_bucket(bucket)
        finally:
            services.stop(local_dir)
            storage.s3.cache_clear()


@pytest.fixture(scope="package")
def by_processes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The three months by the runner `process`, in a database and below an output of their own."""
    folder = tmp_path_factory.mktemp("process")
    postgres.ensure_database(cluster.local_dir, "process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHOSTAT_PIPELINES_DIR", str(folder))
        patch.setenv("ORTHOSTAT_DATABASE_URL", postgres.url(cluster.local_dir, "process", "psycopg"))
        story = write_pipeline(cluster, "pods", folder, output=f"{cluster.bucket}/process", runner="process")
        for month, end in [("2024-01", "2024-02"), ("2024-02", "2024-03"), ("2024-03", "2024-04")]:
            story.run(month, f"{month}-01", f"{end}-01")
        (folder / "expected.csv").write_bytes(story.csv())
    return story


def write_pipeline(cluster: Cluster, name: str, folder: Path, **changes: Any) -> Story:
    """The synthetic pipeline's file, over the archive of these tests."""
    content = describe_pipeline(cluster.bucket, name) | changes
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return Story(load_pipeline(path), folder)
