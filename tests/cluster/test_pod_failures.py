"""A pod that fails says why, in the run's note, with the cure; what cannot be mended is tried once."""

import time
from typing import Any

import pytest

from tests.cluster.archive import RESOURCES
from tests.cluster.cluster import needs_cluster
from tests.cluster.conftest import Cluster
from tests.cluster.kubectl import apply, get, kubectl

pytestmark = needs_cluster
JANUARY = {"from": "2024-01-01", "to": "2024-01-31"}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "namespace": (
        {"namespace": "nowhere"},
        "may not create pods in namespace 'nowhere'; bind it there to the Role",
    ),
    "account": ({"service_account": "nobody"}, "there is no service account 'nobody'"),
    "priority": ({"priority_class": "unheard-of"}, "there is no PriorityClass 'unheard-of'"),
    "quota": ({"memory": "900Gi"}, "the namespace's whole quota is 100Gi"),
}
"""What `plan` hears from the API server before there is a pod."""

FAILED: dict[str, tuple[dict[str, Any], str, int]] = {
    "image": ({"image": "localhost/nowhere:1"}, "image 'localhost/nowhere:1' cannot be pulled", 2),
    "secret": ({"environment_secret": "absent"}, "there is no secret 'absent' in namespace", 1),
    "gpus": ({"gpu": 8}, "no node can take the pod (", 2),
    "selector": ({"node_selector": {"disk": "none"}}, "disk=none): 0/1 nodes are available", 2),
    "memory": ({"memory": "12Mi"}, "the pod was killed for want of memory, its limit is 12Mi", 2),
    "foreign": ({"image": "localhost/pause:1"}, "holds no command `orthostat`", 1),
}
"""What a pod shows, and after how many tries the task fails."""


@pytest.mark.parametrize(
    "name", [name if name == "quota" else pytest.param(name, marks=pytest.mark.long) for name in REFUSED]
)
def test_plan_asks_the_cluster_first(cluster: Cluster, name: str) -> None:
    resources, said = REFUSED[name]
    cluster.write(f"refused-{name}", resources=resources)
    run_id = cluster.run(f"refused-{name}", JANUARY, expected="failed")
    note = cluster.note(f"refused-{name}", run_id)
    assert note.startswith("plan failed: ")
    assert said in note
    tasks = cluster.client.task_instances(f"refused-{name}", run_id)
    assert {task.try_number for task in tasks if task.task_id == "plan"} == {1}


@pytest.mark.long
def test_failing_pods_say_why(cluster: Cluster) -> None:
    """All at once: each waits for what will not come."""
    runs = {}
    for name, (resources, _, _) in FAILED.items():
        cluster.write(f"failed-{name}", resources=resources, batch_mb=1000)
        runs[name] = cluster.client.trigger(f"failed-{name}", JANUARY)
    for name, run_id in runs.items():
        _, said, tries = FAILED[name]
        pipeline = f"failed-{name}"
        note = wait_for_note(cluster, pipeline, run_id, said)
        assert "predict failed: " in note.splitlines()[0]
        [predict] = [t for t in cluster.client.task_instances(pipeline, run_id) if t.task_id == "predict"]
        assert (predict.state == "failed") == (tries == 1), predict
        assert said in str(predict.note)
        assert predict.try_number == 1 or tries == 2
        cluster.client.fail_run(pipeline, run_id)  # what follows is for other tests
    deadline = time.monotonic() + 60
    while get("pods", "-n", cluster.namespace)["items"] and time.monotonic() < deadline:
        time.sleep(1)
    assert get("pods", "-n", cluster.namespace)["items"] == []


def wait_for_note(cluster: Cluster, name: str, run_id: str, said: str) -> str:
    deadline = time.monotonic() + 400
    note = ""
    while said not in note and time.monotonic() < deadline:
        time.sleep(2)
        note = cluster.note(name, run_id)
    assert said in note
    return note


@pytest.mark.long
def test_a_used_up_quota_is_waited_for(cluster: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "other", "namespace": cluster.namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "base",
                    "image": RESOURCES["image"],
                    "command": ["sleep", "600"],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "32Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "one"},
        "spec": {"hard": {"pods": "1"}},
    }
    quota["metadata"]["namespace"] = cluster.namespace
    apply(pod)
    apply(quota)
    try:
        cluster.write("quota", period="month")
        run_id = cluster.client.trigger("quota", JANUARY)
        wait_for_log(cluster, "quota", run_id, "The quota has no room for the pod yet")
        kubectl("-n", cluster.namespace, "delete", "pod", "other", "--grace-period=0", "--force")
        assert cluster.client.wait_for_run("quota", run_id) == "success", cluster.note("quota", run_id)
        tasks = cluster.client.task_instances("quota", run_id)
        assert {task.try_number for task in tasks} == {1}
    finally:
        kubectl("-n", cluster.namespace, "delete", "resourcequota", "one")
        kubectl("-n", cluster.namespace, "delete", "pod", "other", "--ignore-not-found")


def wait_for_log(cluster: Cluster, name: str, run_id: str, said: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        tasks = cluster.client.task_instances(name, run_id)
        logs = [
            cluster.client.task_log(name, run_id, "predict", task.map_index)
            for task in tasks
            if task.task_id == "predict" and task.state == "deferred"
        ]
        if any(said in log for log in logs):
            return
        time.sleep(2)
    raise AssertionError(f"nobody said '{said}'")
