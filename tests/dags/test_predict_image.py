"""The DAG on demand: the form chooses from the allow-list, and what it starts sees no scheduler's secrets."""

from pathlib import Path

import pytest
import yaml
from airflow.sdk.exceptions import ParamValidationError

from orthostat_airflow.predict_image import predict_image_dag
from orthostat_airflow.step import Step
from tests.dags.conftest import write_pipeline

DIGEST = "ab" * 32


def test_without_a_list_the_pipelines_bundles_can_be_chosen(pipelines_dir: Path, monkeypatch) -> None:
    monkeypatch.delenv("ORTHOSTAT_ALLOW", raising=False)
    write_pipeline(pipelines_dir, "made")
    dag = predict_image_dag()
    schema = dag.params.get_param("bundle").schema
    assert len(schema["enum"]) == 1
    assert set(dag.params) == {"image", "bundle", "output"}
    assert dag.user_defined_macros["digests"][schema["enum"][0]]


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "s3://evil/b.zip"},
        {"image": "s3://other/a.tif"},
        {"image": "--help"},
        {"image": "/etc/passwd"},
        {"output": "s3://images/x"},
    ],
)
def test_the_form_chooses_from_the_list(tmp_path: Path, monkeypatch, change: dict[str, str]) -> None:
    bundles = [{"uri": "s3://models/a.zip", "sha256": DIGEST, "title": "Land cover"}]
    content = {"bundles": bundles, "images": ["s3://images/"], "outputs": ["s3://results/"]}
    (tmp_path / "allow.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("ORTHOSTAT_ALLOW", str(tmp_path / "allow.yaml"))
    dag = predict_image_dag()
    form = {"image": "s3://images/a.tif", "bundle": "s3://models/a.zip", "output": "s3://results/a"}
    dag.params.update(form)
    dag.params.validate()
    with pytest.raises(ParamValidationError):
        dag.params.update(change)


def test_a_list_that_cannot_be_read_allows_nothing_and_the_dag_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ORTHOSTAT_ALLOW", str(tmp_path / "missing.yaml"))
    dag = predict_image_dag()
    assert dag.params.get_param("bundle").schema["enum"] == []
    assert "is no allow-list" in dag.doc_md


def test_a_step_sees_what_it_needs_and_nothing_of_the_scheduler(monkeypatch) -> None:
    database, storage = {"ORTHOSTAT_DATABASE_URL", "PGPASSWORD"}, {"AWS_ACCESS_KEY_ID"}
    airflow = {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_X"}
    for name in (*database, *storage, *airflow):
        monkeypatch.setenv(name, "secret")
    for arguments, seen in [
        (["predict", "--json"], storage),
        *((["step", step], storage) for step in ("predict", "verify", "compose", "estimate", "gate")),
        *((["step", step], storage | database) for step in ("plan", "judge", "release")),
    ]:
        environment = Step(task_id="any", arguments=arguments)._environment()
        assert {name for name, value in environment.items() if value == "secret"} == seen, arguments
