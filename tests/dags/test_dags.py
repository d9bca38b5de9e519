"""What the DAG files make of pipeline files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dags.conftest import ROOT, write_pipeline

STORY = ["plan", "predict", "verify", "judge", "compose", "tabulate", "estimate", "release", "gate"]


def load_dags() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))


def test_every_pipeline_of_the_project_is_a_dag_with_a_runbook() -> None:
    dags = load_dags()
    assert dags.import_errors == {}
    names = {path.stem for path in (ROOT / "config" / "pipelines").glob("*.yaml")}
    assert names | {"predict_image"} == set(dags.dags)
    for name, dag in dags.dags.items():
        assert "broken" not in dag.tags, name
        assert dag.doc_md, name


def test_the_story_runs_in_order_and_ends_in_the_gate(pipelines_dir: Path) -> None:
    write_pipeline(pipelines_dir, "made", schedule="0 2 * * *")
    dag = load_dags().dags["made"]
    assert [task.task_id for task in dag.topological_sort()] == STORY
    assert [task.task_id for task in dag.leaves] == ["gate"]
    assert dag.get_task("gate").upstream_task_ids == {"plan", "release"}  # no success without a plan
    assert dag.get_task("gate").trigger_rule == "none_failed"  # nor an end without a gate
    assert set(dag.params) == {"from", "to", "re_predict"}
    assert dag.catchup is False


def test_a_broken_file_becomes_a_dag_that_says_so_and_harms_no_other(pipelines_dir: Path) -> None:
    write_pipeline(pipelines_dir, "made")
    (pipelines_dir / "typo.yaml").write_text("name: typo\nperod: month\n")
    dags = load_dags()
    assert dags.import_errors == {}
    assert [task.task_id for task in dags.dags["made"].topological_sort()] == STORY
    broken = dags.dags["typo"]
    assert "broken" in broken.tags
    assert "field 'perod' is unknown; did you mean 'period'?" in broken.doc_md


def test_plugins_load_and_leave_the_standard_library_alone() -> None:
    program = """
import statistics, sys
before = sys.modules["statistics"]
from airflow import plugins_manager
plugins = plugins_manager.get_plugin_info()
assert sys.modules["statistics"] is before and statistics.median([1, 2, 9]) == 2
assert "orthostat" in {plugin["name"] for plugin in plugins}, plugins
errors = plugins_manager.get_import_errors() if hasattr(plugins_manager, "get_import_errors") else {}
assert not errors, errors
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_parsing_touches_no_network(pipelines_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"a DAG file opened a connection: {arguments}")

    write_pipeline(pipelines_dir, "made", runner="kubernetes")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert load_dags().import_errors == {}


@pytest.mark.parametrize(
    ("run_id", "weight"), [("scheduled__2026-01-01", 10), ("manual__x", 10), ("backfill__2016-01-01", 1)]
)
def test_backfills_wait_for_all_others(pipelines_dir: Path, run_id: str, weight: int) -> None:
    """Of every task, mapped or not, as the scheduler reads them from its database."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.serialization.serialized_objects import DagSerialization

    write_pipeline(pipelines_dir, "made")
    for dag in load_dags().dags.values():
        kept = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        for task in kept.tasks:
            instance = TaskInstance(task=task, run_id=run_id, dag_version_id=None)
            assert instance.priority_weight == weight, task.task_id
