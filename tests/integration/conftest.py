"""PostgreSQL, S3 and Airflow with the project's DAGs, once for the tests of a file that ask for them."""

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.synthetic.world import write_world
from orthostat import storage
from orthostat.local.airflow_client import AirflowClient
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.load import load_pipeline
from tests.builders_statistics import make_release_pipeline, write_zones
from tests.integration.story import Story
from tests.unit.prediction_images import InThisProcess

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Services:
    """Running services."""

    local_dir: Path
    pipelines_dir: Path
    """Empty at first; Airflow makes a DAG of every pipeline file that a test writes here."""
    environment: dict[str, str]
    """For child processes, or to be set with monkeypatch."""
    client: AirflowClient


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic scenes, zones, sample and truth."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


@pytest.fixture
def story(
    s3_bucket: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: Path
) -> Story:
    """The synthetic pipeline over a fresh bucket and a fresh database; no scene is uploaded yet.

    Its model is in this process: to start another takes longer than to predict a few scenes.
    """
    monkeypatch.setattr("orthostat.prediction.batch.ModelProcess", InThisProcess)
    monkeypatch.setattr("orthostat.prediction.launch.launched_early", nullcontext)
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    text = (ROOT / "config/pipelines/synthetic.yaml").read_text()
    (tmp_path / "synthetic.yaml").write_text(text.replace("s3://orthostat-demo", s3_bucket))
    for name in ("zones.gpkg", "sample.csv", "strata.csv"):
        storage.upload(world / name, f"{s3_bucket}/synthetic/{name}")
    storage.upload(
        ROOT / "demo/synthetic/bundle/synthetic.zip", f"{s3_bucket}/synthetic/bundle/synthetic.zip"
    )
    return Story(load_pipeline(tmp_path / "synthetic.yaml"), tmp_path)


@pytest.fixture
def pipeline(s3_bucket: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline with its zones in S3 and a fresh statistics database."""
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    pipeline = make_release_pipeline(s3_bucket)
    write_zones(pipeline.zones.uri)
    return pipeline
