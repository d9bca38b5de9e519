"""The values for Airflow's official Helm chart are what it takes, and keep the project's promises."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.cluster.chart.components import (
    API_SERVER,
    DAG_PROCESSOR,
    MIGRATIONS,
    SCHEDULER,
    TRIGGERER,
    WORKER,
    Component,
)
from tests.cluster.chart.render import Chart

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "tests/data/airflow-chart-1.22.0/values.schema.json").read_text())


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As Helm merges a later values file into an earlier one: lists are replaced."""
    merged = base | over
    for key in base.keys() & over.keys():
        if isinstance(base[key], dict) and isinstance(over[key], dict):
            merged[key] = merge(base[key], over[key])
    return merged


def read_values(*names: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        values = merge(values, yaml.safe_load((ROOT / "config/helm" / name).read_text()))
    return values


def find_problems(values: dict[str, Any]) -> list[str]:
    """What the chart would refuse, and the top-level keys that it would silently ignore."""
    errors = [f"{e.json_path}: {e.message}" for e in Draft7Validator(SCHEMA).iter_errors(values)]
    return errors + [f"$.{key}: unknown" for key in sorted(values.keys() - SCHEMA["properties"].keys())]


def walk(node: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    yield path, node
    if isinstance(node, dict):
        for key, below in node.items():
            yield from walk(below, f"{path}.{key}")


LOCAL = read_values("values.yaml")
CELERY = read_values("values.yaml", "values-celery.yaml")
BOTH = pytest.mark.parametrize("values", [LOCAL, CELERY], ids=["local", "celery"])


@BOTH
def test_the_chart_takes_the_values(values: dict[str, Any]) -> None:
    assert find_problems(values) == []


@pytest.mark.parametrize(
    ("over", "problem"),
    [
        ({"exectuor": "LocalExecutor"}, r"\$\.exectuor: unknown"),
        ({"scheduler": {"replcas": 2}}, r"replcas"),
        ({"images": {"airflow": {"tag": 1}}}, r"\$\.images\.airflow\.tag: 1 is not of type"),
    ],
)
def test_a_slip_is_found(over: dict[str, Any], problem: str) -> None:
    [found] = find_problems(merge(LOCAL, over))
    assert re.search(problem, found)


@BOTH
def test_every_pod_keeps_the_restricted_standard(values: dict[str, Any]) -> None:
    """The first context that the chart finds replaces the others: a second one would lose what these say."""
    contexts = {path for path, _ in walk(values) if re.search(r"\.securityContexts?$", path)}
    assert contexts == {"$.securityContexts"}
    pod, container = values["securityContexts"]["pod"], values["securityContexts"]["containers"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (pod["runAsUser"], pod["fsGroup"]) == (values["uid"], values["gid"]) == (50000, 0)
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"] is True
    assert {"name": "tmp", "mountPath": "/tmp"} in values["volumeMounts"]
    # Their contexts are their own: none of the chart's other containers is on.
    assert not any(values[name]["enabled"] for name in ("postgresql", "redis", "statsd"))


@BOTH
def test_nothing_is_claimed_generated_or_allowed_unasked(values: dict[str, Any]) -> None:
    claims = [values["workers"], values["workers"]["celery"], values["triggerer"]]
    assert not any(claimant["persistence"]["enabled"] for claimant in claims)
    secret = yaml.safe_load((ROOT / "config/helm/secret.example.yaml").read_text())
    name, keys = secret["metadata"]["name"], secret["stringData"].keys()
    named = [values[f"{key}SecretName"] for key in ("fernetKey", "apiSecretKey", "jwt")]
    assert {*named, values["data"]["metadataSecretName"]} == {name}
    assert {"fernet-key", "api-secret-key", "jwt-secret", "connection"} <= keys
    assert {entry["secretKey"] for entry in values["secret"]} <= keys
    assert values["allowPodLaunching"] is False
    assert values["createUserJob"]["enabled"] is False
    assert values["migrateDatabaseJob"]["useHelmHooks"] is False


@pytest.mark.parametrize(("values", "runs_steps"), [(LOCAL, SCHEDULER), (CELERY, WORKER)])
def test_who_runs_steps_alone_has_the_address_of_the_statistics(
    values: dict[str, Any], runs_steps: Component
) -> None:
    chart = Chart("airflow", "image", values)
    components = [API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER, MIGRATIONS]
    components += [WORKER] if runs_steps is WORKER else []
    known = {
        component.name: "ORTHOSTAT_DATABASE_URL" in json.dumps(chart.render_pod(component))
        for component in components
    }
    assert known == {component.name: component is runs_steps for component in components}
    [variable] = chart.component_env(runs_steps)
    secret = yaml.safe_load((ROOT / "config/helm/secret.example.yaml").read_text())
    assert variable["valueFrom"]["secretKeyRef"]["name"] == secret["metadata"]["name"]
    assert variable["valueFrom"]["secretKeyRef"]["key"] in secret["stringData"]


def test_rights_go_to_the_accounts_that_the_chart_makes() -> None:
    made = yaml.safe_load_all((ROOT / "config/kubernetes/base/launcher.yaml").read_text())
    bindings = {entry["kind"]: entry for entry in made if entry["kind"].endswith("Binding")}
    assert bindings["RoleBinding"]["metadata"]["namespace"] == "orthostat"
    accounts = {("airflow", f"airflow-{name}") for name in ("scheduler", "worker", "triggerer")}
    for binding in bindings.values():
        assert {(subject["namespace"], subject["name"]) for subject in binding["subjects"]} == accounts


def test_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"apache-airflow=={LOCAL['airflowVersion']}" in project["optional-dependencies"]["airflow"]
    assert LOCAL["images"]["airflow"]["tag"] == project["version"]
