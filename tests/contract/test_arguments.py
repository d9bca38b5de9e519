"""What the DAGs tell the command line, the command line understands."""

from pathlib import Path

import pytest

from orthostat.cli.main import build_parser
from tests.dags.conftest import write_pipeline
from tests.dags.test_dags import load_dags


@pytest.mark.parametrize("runner", ["process", "kubernetes"])
def test_every_task_of_a_pipeline_parses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    write_pipeline(tmp_path, "made", runner=runner)
    dag = load_dags().dags["made"]
    parsed = []
    for task in dag.tasks:
        if task.is_mapped:
            [(name, work)] = task.expand_input.value.items()
            assert name == "arguments"
            [to_arguments] = work.callables
            arguments = to_arguments("s3://b/0000.json")
        else:
            arguments = [part.replace("{{ run_id }}", "manual__1") for part in task.arguments]
        if task.task_id == "plan":
            arguments += ["--start", "2024-01-01T00:00:00+00:00", "--end", "2024-02-01T00:00:00+00:00"]
        parsed.append(build_parser().parse_args(arguments).step)
    assert sorted(parsed) == sorted(task.task_id for task in dag.tasks)
