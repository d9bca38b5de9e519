"""Everything that may go wrong does, by a seed, while a backfill and a run by night work on the same scenes:
the table and every raster are those of an undisturbed run.

    make faults SCENES=200 SEED=1
"""

import csv
import io
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orthostat import storage
from orthostat.local import postgres
from orthostat.local.environment import environment
from tests.cluster.cluster import needs_cluster, needs_relays, s3_secret
from tests.cluster.conftest import Cluster, airflow_beside, write_pipeline
from tests.cluster.faults import Faults
from tests.cluster.faulty_s3 import SHARES, FaultyS3, open_faulty_s3
from tests.cluster.kubectl import get, get_api_server, wait_until
from tests.cluster.relay import Relay, open_relay
from tests.cluster.test_pipeline import rasters
from tests.integration.story import Story

pytestmark = [needs_cluster, needs_relays]
SEED = int(os.environ.get("FAULTS_SEED", "1"))
SCENES = int(os.environ.get("FAULTS_SCENES", "24"))
FIRST, LAST = date(2024, 1, 1), date(2024, 3, 31)
PATTERN = r"(?P<scene_id>SYN_[A-D]_(?P<acquired>\d{8}))\.tif$"
WINDOW = {"from": f"{FIRST}", "to": f"{LAST}"}


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    target = os.environ["AWS_ENDPOINT_URL_S3"]
    with open_faulty_s3(str(urlsplit(target).hostname), target, SEED) as opened:
        yield opened


@pytest.fixture(scope="module")
def kubernetes_api() -> Iterator[Relay]:
    here = get_api_server()
    with open_relay("127.0.0.1") as opened:
        opened.target = (str(here.hostname), int(here.port or 443))
        yield opened


@pytest.fixture(scope="module")
def cluster(s3: FaultyS3, kubernetes_api: Relay) -> Iterator[Cluster]:
    """An Airflow whose ways to S3 and to the cluster can fail; the test's own way to S3 is the good one."""
    secret = s3_secret()
    secret["stringData"]["AWS_ENDPOINT_URL_S3"] = s3.endpoint
    with airflow_beside(secret, server=f"https://{kubernetes_api.place}") as started:
        yield started


def upload_scenes(bucket: str) -> None:
    """`SCENES` scenes over three months: the synthetic ones of each month and tile, on more days."""
    days = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    wanted = -(-SCENES // 4)
    chosen = [days[n * len(days) // wanted] for n in range(wanted)]
    images = {
        Path(entry.uri).stem: storage.read_bytes(entry.uri)
        for entry in storage.list_objects(f"{bucket}/synthetic/scenes/")
    }
    for day, tile in itertools.islice(itertools.product(chosen, "ABCD"), SCENES):
        [image] = [data for name, data in images.items() if name.startswith(f"SYN_{tile}_{day:%Y%m}")]
        storage.write_bytes(f"{bucket}/archive/SYN_{tile}_{day:%Y%m%d}.tif", image)


def describe(cluster: Cluster) -> dict[str, object]:
    """Batches of some ten scenes, a few to each month."""
    scenes = {"uri": f"{cluster.bucket}/archive/", "pattern": PATTERN, "fill": 0}
    return {"scenes": scenes, "batch_mb": max(4, SCENES / 24)}


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """By the runner `process`, month by month, in a database and below an output of its own."""
    upload_scenes(cluster.bucket)
    folder = tmp_path_factory.mktemp("undisturbed")
    postgres.ensure_database(cluster.local_dir, "undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHOSTAT_PIPELINES_DIR", str(folder))
        patch.setenv("ORTHOSTAT_DATABASE_URL", postgres.url(cluster.local_dir, "undisturbed", "psycopg"))
        changes = {**describe(cluster), "output": f"{cluster.bucket}/undisturbed", "runner": "process"}
        story = write_pipeline(cluster, "faults", folder, **changes)
        for month, end in [("2024-01", "2024-02"), ("2024-02", "2024-03"), ("2024-03", "2024-04")]:
            story.run(month, f"{month}-01", f"{end}-01")
        (folder / "expected.csv").write_bytes(story.csv())
    return story


def create_backfill(cluster: Cluster, dag_id: str) -> None:
    command = ["backfill", "create", "--dag-id", dag_id, "--max-active-runs", "2"]
    command += ["--from-date", f"{FIRST}", "--to-date", f"{LAST}"]
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *command],
        env=environment(cluster.local_dir),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_faults_change_no_figure(
    cluster: Cluster, undisturbed: Story, s3: FaultyS3, kubernetes_api: Relay
) -> None:
    faults = Faults(cluster, kubernetes_api, "faults", random.Random(SEED))
    story = cluster.write("faults", **describe(cluster), schedule="0 0 1 * *")
    create_backfill(cluster, "faults")
    night = cluster.client.trigger("faults", WINDOW, run_id="night")

    def fail_and_clear() -> None:
        cluster.client.fail_run("faults", night)
        time.sleep(5)
        cluster.client.clear_run("faults", night)

    faults.do_all(fail_and_clear)
    runs = cluster.client.dag_runs("faults")
    assert {"backfill", "manual"} <= {run.run_type for run in runs}
    for run in runs:
        state = cluster.client.wait_for_run("faults", run.run_id)
        assert state == "success", cluster.note("faults", run.run_id)
    tell(story, faults, s3)
    assert figures(story.csv()) == figures((undisturbed.folder / "expected.csv").read_bytes())
    assert rasters(story.pipeline.output) == rasters(undisturbed.pipeline.output)
    wait_until(lambda: get("pods", "-n", cluster.namespace)["items"] == [], 60)
    assert set(s3.met) == set(SHARES)
    assert faults.done.count("pod killed") >= 3


def figures(table: bytes) -> list[dict[str, str]]:
    """The table but for the number of the release, of which there may be more or fewer."""
    return [{**row, "release_id": ""} for row in csv.DictReader(io.StringIO(table.decode()))]


def tell(story: Story, faults: Faults, s3: FaultyS3) -> None:
    """What the figures are for: how much was done twice."""
    root = urlsplit(f"{story.pipeline.output}/predictions/")
    items = {
        path: times
        for path, times in s3.written.items()
        if path.startswith(f"/{root.netloc}{root.path}") and path.endswith("/item.json")
    }
    again = sum(times > 1 for times in items.values())
    print(f"seed {SEED}, {SCENES} scenes: {', '.join(faults.done)}")
    print(f"S3: {dict(sorted(s3.met.items()))}")
    print(f"{len(items)} scenes predicted, {again} of them more than once", flush=True)
