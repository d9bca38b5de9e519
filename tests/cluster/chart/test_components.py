"""Every component of Airflow runs in our image as the official Helm chart starts it, with
config/helm/values.yaml, under the restricted standard.
"""

import dataclasses
import json
import shlex

import httpx
import pytest

from tests.cluster.chart import components
from tests.cluster.chart.conftest import RUNNING, Airflow
from tests.cluster.cluster import needs_cluster, needs_relays
from tests.cluster.kubectl import apply, has_succeeded, kubectl, read_pod, wait_for_pod, wait_until

pytestmark = [needs_cluster, needs_relays]
GROOMED = [component for component in RUNNING if component.logs]
OLD_LOG, NEW_LOG = "/opt/airflow/logs/old.log", "/opt/airflow/logs/new.log"


@pytest.fixture(scope="module", autouse=True)
def logs(airflow: Airflow) -> None:
    """An old log and a new one beside each groomer, which has a minute from now on."""
    for component in GROOMED:
        airflow.execute(component, "touch", "-d", "16 days ago", OLD_LOG)
        airflow.execute(component, "touch", NEW_LOG)


def test_components_say_that_they_are_healthy(airflow: Airflow) -> None:
    parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")

    def is_healthy() -> bool:
        health = httpx.get(f"{airflow.api_url}/api/v2/monitor/health", trust_env=False, timeout=30).json()
        return all(health[part]["status"] == "healthy" for part in parts)

    wait_until(is_healthy)


@pytest.mark.parametrize("component", GROOMED, ids=lambda component: component.name)
def test_the_liveness_probe_passes(airflow: Airflow, component: components.Component) -> None:
    airflow.execute(component, *component.probes["livenessProbe"]["exec"]["command"])


def test_users_log_in_and_see_the_pipelines(airflow: Airflow, admin: httpx.Client) -> None:
    wait_until(lambda: admin.get("/api/v2/dags").json()["total_entries"] >= 5)
    dags = {dag["dag_id"] for dag in admin.get("/api/v2/dags").json()["dags"]}
    assert dags == {"landsat", "pods", "predict_image", "synthetic", "trees"}
    assert admin.get("/api/v2/importErrors").json()["import_errors"] == []
    assert httpx.get(f"{airflow.api_url}/api/v2/dags", trust_env=False).status_code == 401


def test_the_database_is_cleaned(airflow: Airflow) -> None:
    assert "Cleaning up metadata older than" in airflow.run_job(components.DATABASE_CLEANUP)


def test_a_celery_worker_and_its_probe_lack_only_a_broker(airflow: Airflow) -> None:
    """There is no Redis at hand: both programs start, and say that they cannot connect."""
    pod = airflow.chart.render_pod(components.WORKER)
    [worker, _] = pod["spec"]["containers"]
    for name in components.WORKER.probes:
        del worker[name]
    worker["env"] += [
        {"name": "AIRFLOW__CORE__EXECUTOR", "value": "CeleryExecutor"},
        {"name": "AIRFLOW__CELERY__BROKER_URL", "value": "redis://127.0.0.1:6379/0"},
    ]
    apply(pod)
    wait_for_pod(airflow.namespace, "worker", lambda status: status["phase"] == "Running")
    log = ("-n", airflow.namespace, "logs", "worker", "-c", "worker")
    wait_until(lambda: "consumer: Cannot connect to redis://" in kubectl(*log))
    probe = shlex.join(components.PING_WORKER)
    assert "Connection refused" in airflow.execute(
        components.WORKER, "bash", "-c", f"timeout 200 {probe} 2>&1 || true"
    )
    kubectl("-n", airflow.namespace, "delete", "pod", "worker", "--wait=false")


def test_any_user_in_group_0_will_do(airflow: Airflow) -> None:
    """Airflow asks for its user's name, and such a user has none of its own."""
    ask = "from airflow.utils.platform import getuser; print('user', getuser())"
    command = ["bash", "-c", f'id -u; airflow db check; exec python -c "{ask}"']
    other = dataclasses.replace(components.MIGRATIONS, name="other-user", args=command)
    pod = airflow.chart.render_pod(other)
    pod["spec"] |= {"serviceAccountName": "default"}
    pod["spec"]["securityContext"] = pod["spec"]["securityContext"] | {"runAsUser": 1_000_650_000}
    apply(pod)
    wait_for_pod(airflow.namespace, other.name, has_succeeded)
    log = kubectl("-n", airflow.namespace, "logs", other.name)
    assert log.startswith("1000650000\n")
    assert "user airflow" in log


@pytest.mark.parametrize(
    ("account", "own", "allowed"),
    [
        ("scheduler", False, True),
        ("triggerer", False, True),
        ("api-server", False, False),
        ("scheduler", True, False),
        ("triggerer", True, False),
    ],
)
def test_rights_end_at_the_pods_namespace(airflow: Airflow, account: str, own: bool, allowed: bool) -> None:
    namespace = airflow.namespace if own else airflow.pods_namespace
    asked = {
        "user": f"system:serviceaccount:{airflow.namespace}:airflow-{account}",
        "resourceAttributes": {"namespace": namespace, "verb": "create", "resource": "pods"},
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": asked}
    answer = json.loads(kubectl("create", "-f", "-", "-o", "json", given=json.dumps(review)))
    assert answer["status"]["allowed"] is allowed


@pytest.mark.parametrize("component", GROOMED, ids=lambda component: component.name)
def test_old_logs_go(airflow: Airflow, component: components.Component) -> None:
    look = ["find", "/opt/airflow/logs", "-path", OLD_LOG, "-o", "-path", NEW_LOG]
    wait_until(lambda: airflow.execute(component, *look).split() == [NEW_LOG])


def test_all_are_ready_and_no_groomer_was_restarted(airflow: Airflow) -> None:
    for component in RUNNING:
        containers = read_pod(airflow.namespace, component.name)["status"]["containerStatuses"]
        restarts = {entry["name"]: entry["restartCount"] for entry in containers if entry["ready"]}
        assert len(restarts) == (2 if component.logs else 1)
        assert restarts.get(f"{component.name}-log-groomer", 0) == 0
