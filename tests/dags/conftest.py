"""Airflow without a database server: DAG files are parsed, pods are rendered."""

import os
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
os.environ.setdefault("AIRFLOW_HOME", str(ROOT / "build" / "test-airflow"))
os.environ.setdefault("AIRFLOW__CORE__PLUGINS_FOLDER", str(ROOT / "plugins"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "180")  # on a machine that is busy


@pytest.fixture
def pipelines_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the DAG files take their pipelines from."""
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    return tmp_path


def write_pipeline(folder: Path, name: str, **changes: object) -> None:
    """Write a valid pipeline file, with changes."""
    from tests.builders import make_pipeline

    content = make_pipeline(name=name, **changes).model_dump(mode="json", exclude_none=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
