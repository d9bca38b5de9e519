"""The pipeline in a real Airflow: by hand, as a backfill, at night, killed, and with nothing to list."""

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from demo.synthetic.world import write_world
from orthostat import storage
from orthostat.local import database_users, postgres
from orthostat.local.services import status
from orthostat.pipelines.load import load_pipeline
from tests.integration.conftest import Services
from tests.integration.story import Story
from tests.integration.test_story import count_items, forget_releases

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BUCKET = "s3://orthostat-airflow"
JANUARY = {"from": "2024-01-01", "to": "2024-01-31"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[Path]:
    """The synthetic archive in the services' S3, the pipeline in their Airflow."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in services.environment.items():
            patch.setenv(name, value)
        storage.s3.cache_clear()
        storage.s3().create_bucket(Bucket=BUCKET.removeprefix("s3://"))
        for path in sorted((folder / "scenes").glob("*.tif")):
            storage.upload(path, f"{BUCKET}/synthetic/scenes/{path.name}")
        for name in ("zones.gpkg", "sample.csv", "strata.csv"):
            storage.upload(folder / name, f"{BUCKET}/synthetic/{name}")
        bundle = ROOT / "demo/synthetic/bundle/synthetic.zip"
        storage.upload(bundle, f"{BUCKET}/synthetic/bundle/synthetic.zip")
        yield folder
    storage.s3.cache_clear()


def write_pipeline(services: Services, name: str, **changes: Any) -> Story:
    """Write the synthetic pipeline under a name and wait until Airflow has its DAG."""
    text = (ROOT / "config/pipelines/synthetic.yaml").read_text().replace("s3://orthostat-demo", BUCKET)
    content = yaml.safe_load(text) | {"name": name, "output": f"{BUCKET}/{name}"} | changes
    path = services.pipelines_dir / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    services.client.wait_for_dag(name, timeout_s=300)
    services.client.unpause(name)
    return Story(load_pipeline(path), services.pipelines_dir)


def run_by_hand(services: Services, name: str, **conf: Any) -> str:
    """Run to success; returns the run's note."""
    run_id = services.client.trigger(name, conf)
    state = services.client.wait_for_run(name, run_id)
    note = services.client.dag_run(name, run_id).note or ""
    assert state == "success", note
    return note


def wait_for_scheduled_run(services: Services, name: str) -> str:
    """The note of the run that Airflow starts by itself for the latest interval."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for run in services.client.dag_runs(name):
            if run.run_type == "scheduled":
                assert services.client.wait_for_run(name, run.run_id) == "success"
                return services.client.dag_run(name, run.run_id).note or ""
        time.sleep(2)
    raise AssertionError(f"Airflow scheduled no run of {name}")


def test_a_process_killed_in_a_batch_is_retried_and_the_table_is_the_same_to_the_byte(
    services: Services, world: Path
) -> None:
    story = write_pipeline(services, "synthetic", output=f"{BUCKET}/synthetic/out", batch_mb=100.0)
    note = run_by_hand(services, "synthetic", **JANUARY)
    assert "plan: acquired 2024-01-01 to 2024-01-31: 4 scenes listed, 4 to predict" in note
    assert "release: release v1-" in note
    undisturbed = story.csv()

    for entry in list(storage.list_objects(story.pipeline.output)):
        storage.delete(entry.uri)
    forget_releases(postgres.url(services.local_dir, "orthostat"))
    database_users.make(services.local_dir)
    run_id = services.client.trigger("synthetic", JANUARY)
    model = wait_for_model(services)
    task = model.parent()
    assert task is not None
    while count_items(story) == 0:
        assert model.is_running(), "predict ended before its first scene"
        time.sleep(0.02)
    os.kill(task.pid, signal.SIGKILL)
    model.wait(timeout=60)
    assert services.client.wait_for_run("synthetic", run_id) == "success"
    tries = {t.task_id: t.try_number for t in services.client.task_instances("synthetic", run_id)}
    assert tries["predict"] == 2
    assert story.csv() == undisturbed


def wait_for_model(services: Services) -> psutil.Process:
    pids = {service.name: service.pid for service in status(services.local_dir)}
    scheduler = psutil.Process(pids["scheduler"])
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        for process in scheduler.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[1:3] == ["-m", "orthostat.prediction.child"]:
                    return process
        time.sleep(0.1)
    raise AssertionError("no model was started")


def test_one_backfill_makes_one_series_by_acquisition_date(services: Services, world: Path) -> None:
    story = write_pipeline(services, "series")
    command = [
        "backfill",
        "create",
        "--dag-id",
        "series",
        "--from-date",
        "2024-01-01",
        "--to-date",
        "2024-03-31",
    ]
    subprocess.run(
        [sys.executable, "-m", "airflow", *command, "--max-active-runs", "2"],
        env=services.environment,
        check=True,
        capture_output=True,
    )
    runs = [run for run in services.client.dag_runs("series") if run.run_type == "backfill"]
    for run in runs:
        note = services.client.dag_run("series", run.run_id).note
        assert services.client.wait_for_run("series", run.run_id) == "success", note
    rows = list(csv.DictReader(io.StringIO(story.csv().decode())))
    assert {row["period"] for row in rows} == {"2024-01", "2024-02", "2024-03"}
    assert len(rows) == 3 * 6 * 4 * 2
    assert {row["scene_count"] for row in rows} == {"4"}
    series = story.csv()

    # Cleared, a run that had batches and tiles finds nothing to map over, and is green again.
    services.client.clear_run("series", runs[0].run_id)
    assert services.client.wait_for_run("series", runs[0].run_id) == "success"
    cleared = services.client.dag_run("series", runs[0].run_id).note or ""
    assert "4 scenes listed, 0 to predict" in cleared
    assert " failed: " not in cleared
    assert "release: release" not in cleared  # as it said the first time
    states = {(t.task_id, t.state) for t in services.client.task_instances("series", runs[0].run_id)}
    assert not [one for one in states if one[1] not in {"success", "skipped", "removed"}]
    assert story.csv() == series

    run_id = services.client.trigger("series", {"from": "2024-01-01", "to": "2024-03-31"})
    assert services.client.wait_for_run("series", run_id) == "success"
    note = services.client.dag_run("series", run_id).note or ""
    assert "12 scenes listed, 0 to predict" in note
    assert "nothing to release: no period changed" in note
    started = [t.task_id for t in services.client.task_instances("series", run_id) if t.state == "success"]
    assert sorted(started) == ["gate", "plan"]
    assert story.csv() == series
    note = run_by_hand(services, "series", **{**JANUARY, "re_predict": True})
    assert "4 scenes listed, 4 to predict" in note
    assert "nothing to release" in note
    assert story.csv() == series


def run_in_airflow(services: Services, script: str, run_id: str) -> str:
    """What a script prints that works on Airflow's own tables."""
    command = [sys.executable, "-c", script, run_id]
    done = subprocess.run(command, env=services.environment, check=True, capture_output=True, text=True)
    return done.stdout


WRITE_NOTE = """
import sys
from airflow.models.dag import DagTag
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from orthostat_airflow.run_note import on_dag_run_success, write_note
from sqlalchemy import delete, select
with create_session() as session:
    run = session.scalars(select(DagRun).where(DagRun.dag_id == 'series', DagRun.run_id == sys.argv[1])).one()
    states = {"judge": "failed", "release": "skipped"}
    for ti in run.task_instances:
        ti.state = states.get(ti.task_id, ti.state)
    session.execute(delete(XComModel).where(XComModel.dag_run_id == run.id, XComModel.task_id == "judge"))
    write_note(run, with_silent=True)
    print(run.note)
    write_note(run)
    print("by hand:", run.note)
    session.execute(delete(DagTag).where(DagTag.dag_id == run.dag_id))
    write_note(run, with_silent=True)
    print("of a foreign DAG:", run.note)
    session.execute(delete(XComModel).where(XComModel.dag_run_id == run.id))
    on_dag_run_success(run, "")
    session.expire_all()
    print("nothing said in a foreign one:", run.note is not None)
    session.add(DagTag(dag_id=run.dag_id, name="orthostat"))
    on_dag_run_success(run, "")
    session.expire_all()
    print("in ours:", run.note is not None)
    session.rollback()
"""


def test_the_note_names_who_was_killed_and_keeps_what_was_said(services: Services, world: Path) -> None:
    run_id = services.client.trigger("series", {**JANUARY, "re_predict": True})
    assert services.client.wait_for_run("series", run_id) == "success"
    told = run_in_airflow(services, WRITE_NOTE, run_id)
    by_itself, _, others = told.partition("by hand: ")
    note = by_itself[by_itself.index("judge failed") :].splitlines()
    assert note[0].startswith("judge failed: it ended before it could say why")
    # Airflow skips what waits for another try when a person marks the run failed.
    assert any(line.startswith("release: ") for line in note)
    assert sum(line.startswith("release: ") for line in others.splitlines()) == 2
    assert "judge failed" not in others
    # A note that only a failed try has written, as of `predict_image`, says nothing of a run that went well.
    assert told.splitlines()[-2:] == ["nothing said in a foreign one: True", "in ours: False"]


SPEAK = """
import sys
import orthostat_airflow.run_note
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstanceNote
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select
with create_session() as session:
    run = session.scalars(select(DagRun).where(DagRun.dag_id == 'series', DagRun.run_id == sys.argv[1])).one()
    [plan] = [ti for ti in run.task_instances if ti.task_id == "plan"]
    wanted = select(TaskInstanceNote).where(TaskInstanceNote.ti_id == plan.id)
    for author in (None, "a person"):
        session.execute(wanted).scalar_one().user_id = author
        place = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": "plan", "map_index": -1}
        XComModel.set(key="orthostat_note", value=f"said after {author}", session=session, **place)
        session.flush()
        session.expire_all()
        print(session.execute(wanted).scalar_one().content)
    session.rollback()
"""


def test_a_persons_note_on_a_task_is_left_alone(services: Services, world: Path) -> None:
    run_id = services.client.trigger("series", {**JANUARY})
    assert services.client.wait_for_run("series", run_id) == "success"
    told = run_in_airflow(services, SPEAK, run_id)
    assert told.splitlines()[-2:] == ["try 1: said after None"] * 2


def test_what_tasks_need_is_loaded_once_and_by_the_scheduler(services: Services, world: Path) -> None:
    said = "modules for all tasks"
    scheduler, api = (services.local_dir / "logs" / f"{name}.log" for name in ("scheduler", "api-server"))
    assert scheduler.read_text().count(said) == 1
    assert said not in api.read_text()
    write_pipeline(services, "loaded")
    run_id = services.client.trigger("loaded", JANUARY)
    assert services.client.wait_for_run("loaded", run_id) == "success"
    assert said not in services.client.task_log("loaded", run_id, "plan")


def test_a_nightly_run_looks_back_and_finds_a_late_arrival(services: Services, world: Path) -> None:
    acquired = datetime.now(UTC).replace(day=1) - timedelta(days=1)  # of a month that is over
    scene = sorted((world / "scenes").glob("*.tif"))[0]
    storage.upload(scene, f"{BUCKET}/nightly/scenes/SYN_A_{acquired:%Y%m%d}.tif")
    scenes = {
        "uri": f"{BUCKET}/nightly/scenes/",
        "pattern": r"(?P<scene_id>SYN_[A-D]_(?P<acquired>\d{8}))\.tif$",
    }
    write_pipeline(
        services, "nightly", scenes=scenes | {"fill": 0}, schedule="0 0 * * *", sample=None, lookback_days=40
    )
    note = wait_for_scheduled_run(services, "nightly")
    assert "1 scenes listed, 1 to predict" in note
    assert f"first figures for {acquired:%Y-%m}" in note


def test_an_empty_archive_is_said_in_the_run_note_and_in_the_log(services: Services, world: Path) -> None:
    scenes = {"uri": f"{BUCKET}/nowhere/", "stac_asset": "visual"}
    write_pipeline(services, "empty", scenes=scenes, schedule=None)
    run_id = services.client.trigger("empty", JANUARY)
    assert services.client.wait_for_run("empty", run_id) == "failed"
    said = f"there is no object under {BUCKET}/nowhere/; check 'scenes.uri'"
    assert f"plan failed: {said}" in (services.client.dag_run("empty", run_id).note or "")
    assert said in services.client.task_log("empty", run_id, "plan")
    # Nothing that follows hopes for a plan, or speaks of pods that never were.
    tasks = services.client.task_instances("empty", run_id)
    assert {task.task_id: task.note for task in tasks}[
        "plan"
    ] == f"try 1: plan failed: {said}, or upload the first scene"
    states = {task.task_id: task.state for task in tasks}
    assert states.pop("plan") == "failed"
    assert set(states.values()) == {"upstream_failed"}
    assert "verify" not in (services.client.dag_run("empty", run_id).note or "")


def test_a_pipeline_file_with_a_typo_is_a_dag_that_says_so(services: Services, world: Path) -> None:
    (services.pipelines_dir / "typo.yaml").write_text("name: typo\nperod: month\n")
    services.client.wait_for_dag("typo", timeout_s=300)
    services.client.unpause("typo")
    run_id = services.client.trigger("typo")
    assert services.client.wait_for_run("typo", run_id) == "failed"
    assert "did you mean 'period'?" in services.client.task_log("typo", run_id, "pipeline_file")
