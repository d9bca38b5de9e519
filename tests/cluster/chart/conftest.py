"""Airflow on a real cluster as the official Helm chart sets it up. It ends with the tests of this folder: its
probes alone, which start Airflow's command line, take a fifth of a core.
"""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from orthostat import storage
from tests.cluster.archive import RESOURCES, describe_pipeline, remove_bucket, upload_world
from tests.cluster.chart import components
from tests.cluster.chart.render import Chart
from tests.cluster.cluster import AIRFLOW_IMAGE, ROOT, s3_secret
from tests.cluster.kubectl import (
    apply,
    attempt,
    get_api_server,
    has_address,
    has_succeeded,
    is_ready,
    kubectl,
    wait_for_pod,
)
from tests.cluster.relay import Relay, open_relay

RUNNING = [components.API_SERVER, components.SCHEDULER, components.DAG_PROCESSOR, components.TRIGGERER]
JOBS = [components.MIGRATIONS, components.USER_CREATION, components.DATABASE_CLEANUP]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class Airflow:
    """A running Airflow."""

    chart: Chart
    api_url: str
    pods_namespace: str
    """Where config/kubernetes lets it start pods."""

    @property
    def namespace(self) -> str:
        return self.chart.namespace

    def execute(self, component: components.Component, *command: str) -> str:
        """Run a command in the component's container; give its stdout."""
        container = ("-c", component.name)
        return kubectl("-n", self.namespace, "exec", component.name, *container, "--", *command)

    def run_job(self, job: components.Component) -> str:
        """Run a job to its end; give its log."""
        apply(self.chart.render_pod(job))
        wait_for_pod(self.namespace, job.name, has_succeeded)
        return kubectl("-n", self.namespace, "logs", job.name)

    def client(self, user: str, password: str) -> httpx.Client:
        """A client of the API, logged in."""
        http = httpx.Client(base_url=self.api_url, trust_env=False, timeout=60)
        answer = http.post("/auth/token", json={"username": user, "password": password})
        assert answer.status_code == 201, answer.text
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return http


def start_postgres(namespace: str) -> str:
    """Start PostgreSQL with Airflow's database and that of the statistics; give its pod's address."""
    scripts = {"databases.sql": (ROOT / "config/compose/databases.sql").read_text()}
    variables = {"POSTGRES_USER": "airflow", "POSTGRES_DB": "airflow", "POSTGRES_PASSWORD": "airflow"}
    ready = ["pg_isready", "--host=127.0.0.1", "--username=airflow", "--dbname=airflow"]
    container = {
        "name": "postgres",
        "image": "postgres:18",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "readinessProbe": {"exec": {"command": ready}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/postgresql"},
            {"name": "scripts", "mountPath": "/docker-entrypoint-initdb.d"},
        ],
    }
    user = {"runAsNonRoot": True, "runAsUser": 999, "fsGroup": 999}
    pod = {
        "securityContext": user | {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "scripts", "configMap": {"name": "databases"}},
        ],
    }
    apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place("databases", namespace), "data": scripts},
        {"apiVersion": "v1", "kind": "Pod", "metadata": place("postgres", namespace), "spec": pod},
    )
    address: str = wait_for_pod(namespace, "postgres", is_ready)["status"]["podIP"]
    return address


def place(name: str, namespace: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace}


def make_secrets(namespace: str, postgres: str) -> list[dict[str, Any]]:
    """config/helm/secret.example.yaml, filled in, and the account of S3."""
    secret = yaml.safe_load((ROOT / "config/helm/secret.example.yaml").read_text())
    aws = s3_secret()["stringData"]
    connection = {
        "conn_type": "aws",
        "login": aws["AWS_ACCESS_KEY_ID"],
        "password": aws["AWS_SECRET_ACCESS_KEY"],
        "extra": {
            "region_name": aws["AWS_DEFAULT_REGION"],
            "endpoint_url": aws["AWS_ENDPOINT_URL_S3"],
        },
    }
    values = {
        "fernet-key": "b3J0aG9zdGF0LW9ydGhvc3RhdC1vcnRob3N0YXQtMDA=",
        "api-secret-key": "a" * 64,
        "jwt-secret": "b" * 64,
        "connection": f"postgresql+psycopg2://airflow:airflow@{postgres}/airflow",
        "statistics-database": f"postgresql+psycopg://airflow:airflow@{postgres}/orthostat",
        "logs-connection": json.dumps(connection),
    }
    assert values.keys() == secret["stringData"].keys()
    s3 = {"apiVersion": "v1", "kind": "Secret", "metadata": place("orthostat-s3", namespace)}
    return [
        secret | {"metadata": place("orthostat-airflow", namespace), "stringData": values},
        s3 | {"stringData": aws},
    ]


def make_pipelines(namespace: str) -> dict[str, Any]:
    """`kubectl create configmap orthostat-pipelines --from-file=config/pipelines`, with one more: the
    synthetic pipeline as pods, over the bucket of that name.
    """
    files = {path.name: path.read_text() for path in sorted((ROOT / "config/pipelines").glob("*.yaml"))}
    resources = RESOURCES | {"namespace": f"{namespace}-pods"}
    defaults = {"runner": "kubernetes", "resources": resources, "predict_image": {"runner": "process"}}
    pods = describe_pipeline(f"s3://{namespace}", "pods")
    files |= {"defaults.yaml": yaml.safe_dump(defaults), "pods.yaml": yaml.safe_dump(pods)}
    metadata = place("orthostat-pipelines", namespace)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}


def make_accounts(namespace: str) -> list[dict[str, Any]]:
    """The chart's service accounts; those of the scheduler and the triggerer have tokens in their pods.

    And the namespace's own, as which PostgreSQL runs: the cluster might make it later than that pod.
    """
    with_token = {components.SCHEDULER.name, components.TRIGGERER.name}
    names = {
        component.name: f"airflow-{component.name}" for component in (components.WORKER, *RUNNING, *JOBS)
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": place(account, namespace),
            "automountServiceAccountToken": component in with_token,
        }
        for component, account in (names | {"default": "default"}).items()
    ]


def make_pods_namespace(name: str, airflow_namespace: str) -> list[dict[str, Any]]:
    """config/kubernetes with other names of the two namespaces."""
    made = list(yaml.safe_load_all(kubectl("kustomize", str(ROOT / "config/kubernetes/base"))))
    for entry in made:
        if entry["kind"] == "Namespace":
            entry["metadata"]["name"] = name
        elif "namespace" in entry["metadata"]:
            entry["metadata"]["namespace"] = name
        else:  # what belongs to the whole cluster
            entry["metadata"]["name"] = f"{name}-{entry['metadata']['name']}"
        if entry["kind"] == "ClusterRoleBinding":
            entry["roleRef"]["name"] = f"{name}-{entry['roleRef']['name']}"
        for subject in entry.get("subjects", []):
            subject["namespace"] = airflow_namespace
    # S3 of these tests has a private address.
    return [
        entry for entry in made if (entry["kind"], entry["metadata"]["name"]) != ("NetworkPolicy", "deny-all")
    ]


@pytest.fixture(scope="package")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Airflow by config/helm/values.yaml under the restricted standard, every component ready."""
    name = f"{os.environ.get('CLUSTER_NAMESPACE_PREFIX', '')}airflow-{uuid.uuid4().hex[:8]}"
    host = str(urlsplit(os.environ["AWS_ENDPOINT_URL_S3"]).hostname)
    made = make_pods_namespace(f"{name}-pods", name)
    storage.s3.cache_clear()
    try:
        upload_world(f"s3://{name}", tmp_path_factory.mktemp("world"))
        with open_relay(host) as postgres, open_relay(host) as api, open_relay(host) as kubernetes:
            yield start_airflow(name, postgres, api, kubernetes)
    finally:
        attempt("delete", "--ignore-not-found", "--wait=false", "-f", "-", given=yaml.safe_dump_all(made))
        kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", name, f"{name}-pods")
        remove_bucket(f"s3://{name}")


def start_airflow(name: str, postgres: Relay, api: Relay, kubernetes: Relay) -> Airflow:
    """Start everything in the namespace `name`, as Helm does, with logs in the bucket of that name."""
    values = yaml.safe_load((ROOT / "config/helm/values.yaml").read_text())
    values["config"]["logging"]["remote_base_log_folder"] = f"s3://{name}/logs"
    values["config"]["core"]["execution_api_server_url"] = f"http://{api.place}/execution/"
    here = get_api_server()
    kubernetes.target = (str(here.hostname), int(here.port or 443))
    relay_host, relay_port = kubernetes.server_address[:2]
    chart = Chart(name, str(AIRFLOW_IMAGE), values, (str(relay_host), int(relay_port)))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    apply(space, *make_pods_namespace(f"{name}-pods", name), *make_accounts(name))
    postgres.target = (start_postgres(name), 5432)
    apply(*make_secrets(name, postgres.place), make_pipelines(name), chart.render_config())
    secret = s3_secret()
    apply(secret | {"metadata": place("orthostat-s3", f"{name}-pods")})
    # The API server's init container waits for the migrations. The others start one by one: on a small
    # machine all at once would not be there within the time that the chart's probes give.
    first, *others = RUNNING
    apply(chart.render_pod(components.MIGRATIONS), chart.render_pod(first))
    api.target = (wait_for_pod(name, first.name, has_address)["status"]["podIP"], components.PORT)
    wait_for_pod(name, components.MIGRATIONS.name, has_succeeded)
    wait_for_pod(name, first.name, is_ready)
    for component in others:
        apply(chart.render_pod(component, AIRFLOW__LOG_CLEANUP_FREQUENCY_MINUTES="1"))
        wait_for_pod(name, component.name, is_ready)
    return Airflow(chart, f"http://{api.target[0]}:{components.PORT}", f"{name}-pods")


@pytest.fixture(scope="package")
def admin(airflow: Airflow) -> httpx.Client:
    """The user that the chart's job makes."""
    airflow.run_job(components.USER_CREATION)
    return airflow.client("admin", "admin")
