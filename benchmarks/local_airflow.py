"""Airflow, PostgreSQL and S3 in a folder of their own, for what is measured through them."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from demo.synthetic.world import write_world
from orthostat import storage
from orthostat.local import postgres, services
from orthostat.local.airflow_client import AirflowClient
from orthostat.local.environment import environment

ROOT = Path(__file__).parents[1]
BUCKET = "s3://benchmark"
JANUARY = {"from": "2024-01-01", "to": "2024-01-31"}


def describe_pipeline(name: str, **changes: Any) -> dict[str, Any]:
    """The synthetic pipeline over the benchmark's bucket, run by hand and without the sample."""
    text = (ROOT / "config/pipelines/synthetic.yaml").read_text().replace("s3://orthostat-demo", BUCKET)
    content: dict[str, Any] = yaml.safe_load(text)
    del content["sample"]
    own: dict[str, Any] = {"name": name, "output": f"{BUCKET}/{name}", "schedule": None, "publication": {}}
    return content | own | changes


@contextmanager
def local_airflow(
    pipelines: list[dict[str, Any]], dags: Mapping[str, str]
) -> Iterator[tuple[Path, AirflowClient]]:
    """Airflow with these pipelines and DAG files of one's own; the services' folder and its client.

    The zones, the model and the scenes (in `world/` beside the folder) of the synthetic archive are made; the
    bucket has zones and model.
    """
    with tempfile.TemporaryDirectory(prefix="orthostat-") as name:
        folder, local_dir = Path(name), Path(name) / "local"
        for place in ("dags", "pipelines"):
            (folder / place).mkdir()
        (folder / "dags/pipelines.py").symlink_to(ROOT / "dags/pipelines.py")
        for file, text in dags.items():
            (folder / "dags" / file).write_text(text)
        for pipeline in pipelines:
            (folder / f"pipelines/{pipeline['name']}.yaml").write_text(yaml.safe_dump(pipeline))
        os.environ["ORTHOSTAT_PIPELINES_DIR"] = str(folder / "pipelines")
        os.environ["ORTHOSTAT_DAGS_DIR"] = str(folder / "dags")
        try:
            services.start(local_dir)
            os.environ |= environment(local_dir)
            _upload(folder / "world")
            client = AirflowClient.of(local_dir)
            for pipeline in pipelines:
                client.wait_for_dag(pipeline["name"], timeout_s=300)
                client.unpause(pipeline["name"])
            yield local_dir, client
        finally:
            services.stop(local_dir)


def _upload(world: Path) -> None:
    write_world(world)
    storage.s3().create_bucket(Bucket=BUCKET.removeprefix("s3://"))
    storage.upload(world / "zones.gpkg", f"{BUCKET}/synthetic/zones.gpkg")
    bundle = ROOT / "demo/synthetic/bundle/synthetic.zip"
    storage.upload(bundle, f"{BUCKET}/synthetic/bundle/synthetic.zip")


def run(client: AirflowClient, dag_id: str, days: dict[str, str]) -> str:
    """Run to success; the run's id."""
    run_id = client.trigger(dag_id, days)
    state = client.wait_for_run(dag_id, run_id)
    assert state == "success", client.dag_run(dag_id, run_id).note
    return run_id


def ask(local_dir: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Rows of Airflow's database."""
    with postgres.connect(local_dir, "airflow") as connection:
        return list(connection.execute(query.encode(), values))
