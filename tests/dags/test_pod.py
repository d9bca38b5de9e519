"""The pod that the kubernetes runner asks for, rendered without a cluster."""

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import pytest

from tests.dags.conftest import write_pipeline
from tests.dags.test_dags import load_dags

RESOURCES = {
    "image": "registry.example/predict@sha256:1",
    "stats_image": "registry.example/stats@sha256:2",
    "namespace": "eo",
    "gpu": 1,
    "memory": "16Gi",
    "node_selector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
    "spot": True,
}


def render(folder: Path, task_id: str) -> tuple[Any, dict[str, Any]]:
    """The unmapped operator and its pod as JSON."""
    from kubernetes.client import ApiClient

    write_pipeline(folder, "made", runner="kubernetes", resources=RESOURCES)
    task = load_dags().dags["made"].get_task(task_id)
    operator = task.unmap({"arguments": ["step", task_id, "--batch", "s3://b/0000.json"]})
    with patch.object(type(operator), "hook", MagicMock(is_in_cluster=False, get_namespace=lambda: None)):
        pod = operator.build_pod_request_obj(context=None)
    return operator, ApiClient().sanitize_for_serialization(pod)


def test_predict_pod_asks_for_its_gpu(pipelines_dir: Path) -> None:
    operator, pod = render(pipelines_dir, "predict")
    [container] = pod["spec"]["containers"]
    assert container["image"] == RESOURCES["image"]
    assert container["command"] == ["orthostat"]
    assert container["args"] == ["step", "predict", "--batch", "s3://b/0000.json"]
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    assert pod["spec"]["nodeSelector"] == RESOURCES["node_selector"]
    tolerated = {(t["key"], t.get("value")) for t in pod["spec"]["tolerations"]}
    assert tolerated == {("nvidia.com/gpu", None), ("cloud.google.com/gke-spot", "true")}
    assert operator.pool == "gpu"
    assert operator.deferrable
    assert operator.schedule_timeout_seconds == 3600
    assert operator.startup_timeout_seconds == 900
    assert operator.retries == 3
    assert not operator.do_xcom_push


@pytest.mark.parametrize("task_id", ["predict", "compose", "tabulate"])
def test_every_pod_fits_the_restricted_standard(pipelines_dir: Path, task_id: str) -> None:
    _, pod = render(pipelines_dir, task_id)
    [container] = pod["spec"]["containers"]
    assert pod["metadata"]["namespace"] == "eo"
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert container["volumeMounts"] == [{"mountPath": "/tmp", "name": "scratch"}]
    assert container["envFrom"] == [{"secretRef": {"name": "orthostat-s3"}}]


def test_statistics_pods_ask_for_no_gpu(pipelines_dir: Path) -> None:
    operator, pod = render(pipelines_dir, "compose")
    [container] = pod["spec"]["containers"]
    assert container["image"] == RESOURCES["stats_image"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert operator.pool != "gpu"
