"""The pod that the kubernetes runner asks for, rendered without a cluster."""

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import pytest
import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException

from orthostat import settings
from orthostat.pipelines.resources import Resources, amount
from tests.dags.conftest import ROOT, write_pipeline
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


def render(folder: Path, task_id: str, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """The unmapped operator and its pod as JSON."""
    from kubernetes.client import ApiClient

    write_pipeline(folder, "made", runner="kubernetes", resources=RESOURCES | changes)
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
    marks = {"orthostat/run-id": "{{ run_id }}", "orthostat/output": "s3://bucket/made"}
    assert pod["metadata"]["annotations"] == marks
    assert operator.pool == "gpu"
    assert operator.deferrable
    assert operator.schedule_timeout_seconds == 6 * 3600
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
    assert operator.pool == "stats"


def test_the_pools_fit_into_the_quota_of_the_manifests() -> None:
    """Eight predict pods and 32 others at a time, of the default size: the quota is never met on the way."""
    quota = yaml.safe_load((ROOT / "config/kubernetes/base/quota.yaml").read_text().split("---")[0])
    hard = {name: amount(str(value)) for name, value in quota["spec"]["hard"].items()}
    resources, predict, stats = Resources(), settings.gpu_slots(), settings.stats_slots()
    assert predict + stats <= hard["pods"]
    assert predict * resources.gpu <= hard["requests.nvidia.com/gpu"]
    for name in ("cpu", "memory"):
        asked = predict * amount(getattr(resources, name)) + stats * amount(getattr(resources.stats, name))
        assert asked <= hard[f"requests.{name}"]


def test_backfills_may_wait_for_nightly_runs(pipelines_dir: Path) -> None:
    operator, pod = render(
        pipelines_dir, "predict", priority_class="nightly", backfill_priority_class="backfill"
    )
    assert pod["spec"]["priorityClassName"] == "nightly"
    context = {"dag_run": MagicMock(run_type="backfill"), "task_state_store": {}, "ti": MagicMock()}
    with patch.object(KubernetesPodOperator, "execute", lambda self, context: self.priority_class_name):
        assert operator.execute(context) == "backfill"


def test_a_pod_that_had_to_wait_is_made_like_one_that_had_not(pipelines_dir: Path) -> None:
    """A task that resumes is a new object: what its first start had found out, it must find out again."""
    operator, _ = render(pipelines_dir, "predict", backfill_priority_class="backfill")
    context = {"dag_run": MagicMock(run_type="backfill"), "task_state_store": {"overloads": 2}}
    with patch.object(KubernetesPodOperator, "execute", lambda self, context: list(self.arguments)):
        assert operator.ask_again(context)[-2:] == ["--overloads", "2"]
        assert operator.priority_class_name == "backfill"


def test_a_pod_that_cannot_be_explained_fails_with_what_the_trigger_said(pipelines_dir: Path) -> None:
    operator, _ = render(pipelines_dir, "predict")
    said = MagicMock()
    context = {"ti": said, "task_state_store": {}}
    event = {"status": "failed", "name": "p", "namespace": "eo", "message": "pod failed"}
    with (
        patch.object(
            type(operator), "hook", MagicMock(get_pod=MagicMock(side_effect=ValueError("odd answer")))
        ),
        pytest.raises(AirflowException, match="odd answer"),
    ):
        operator.trigger_reentry(context, event)
    assert said.xcom_push.call_args.args[1] == "predict failed: odd answer"
