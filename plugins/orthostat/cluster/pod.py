"""The pod of a step: every default of the house, each with its reason."""

from collections.abc import Sequence
from typing import Any

from orthostat.cluster.diagnosis import CONTAINER
from orthostat.pipelines.resources import PodSize, Resources

_USER = 10001


def predict_pod(resources: Resources, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest of a pod that predicts, on a GPU if the pipeline asks for one."""
    spec = _pod(resources, resources.image, arguments, resources, resources.gpu)
    spec["spec"]["nodeSelector"] = dict(resources.node_selector)
    spec["spec"]["tolerations"] = _tolerations(resources)
    return spec


def stats_pod(resources: Resources, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest of a pod that composes or tabulates: no GPU, and resources of its own."""
    return _pod(resources, resources.stats_image, arguments, resources.stats, 0)


def _pod(
    resources: Resources, image: str, arguments: Sequence[str], size: PodSize | Resources, gpu: int
) -> dict[str, Any]:
    """`size` says cpu, memory and scratch."""
    limits = {"memory": size.memory, **({"nvidia.com/gpu": str(gpu)} if gpu else {})}
    container = {
        "name": CONTAINER,
        "image": image,
        "command": ["orthostat"],
        "args": list(arguments),
        "resources": {"requests": {"cpu": size.cpu, **limits}, "limits": limits},
        "envFrom": _environment(resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
        # Why a step failed is the end of its log; so it stands in the pod's status, too.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": size.scratch}}],
        # A bundle is code: the pod can speak to S3 and to nothing of the cluster.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if resources.service_account is not None:
        spec["serviceAccountName"] = resources.service_account
    if resources.priority_class is not None:
        spec["priorityClassName"] = resources.priority_class
    if resources.image_pull_secret is not None:
        spec["imagePullSecrets"] = [{"name": resources.image_pull_secret}]
    metadata = {"namespace": resources.namespace, "labels": {"app.kubernetes.io/name": "orthostat"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _environment(resources: Resources) -> list[dict[str, Any]]:
    secret = resources.environment_secret
    return [] if secret is None else [{"secretRef": {"name": secret}}]


def _tolerations(resources: Resources) -> list[dict[str, str]]:
    tolerations = [entry.model_dump(exclude_none=True) for entry in resources.tolerations]
    if resources.gpu:
        tolerations.append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    if resources.spot:
        spot = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true"}
        tolerations.append({**spot, "effect": "NoSchedule"})
    return tolerations
