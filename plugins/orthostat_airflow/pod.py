"""A step as a Kubernetes pod: every default of the house, each with its reason."""

from datetime import timedelta
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s

from orthostat.pipelines.config import Resources

GPU_POOL = "gpu"
"""Airflow pool that bounds predict pods; make it with include_deferred, else waiting pods do not count."""


def pod_defaults(resources: Resources, *, gpu: int, image: str) -> dict[str, Any]:
    """Arguments of a KubernetesPodOperator for one step of a pipeline."""
    return {
        "image": image,
        "namespace": resources.namespace,
        "cmds": ["orthostat"],
        "container_resources": _requirements(resources, gpu),
        "node_selector": resources.node_selector if gpu else {},
        "tolerations": _tolerations(resources, gpu),
        "env_from": _environment(resources),
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=10001,
            fs_group=10001,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": k8s.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=k8s.V1Capabilities(drop=["ALL"]),
        ),
        "volumes": [
            k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource(size_limit=resources.scratch))
        ],
        "volume_mounts": [k8s.V1VolumeMount(name="scratch", mount_path="/tmp")],
        # A bundle is code: the pod can speak to S3 and to nothing of the cluster.
        "automount_service_account_token": False,
        # A worker slot per waiting pod would be the bottleneck of a large run.
        "deferrable": True,
        "poll_interval": 15,
        "logging_interval": 60,
        # Results are S3 objects; with the sidecar a vanished pod seems a success (apache/airflow#73117).
        "do_xcom_push": False,
        # The defaults of 120 s are too short for a GPU node that scales up and pulls a large image.
        "schedule_timeout_seconds": 3600,
        "startup_timeout_seconds": 900,
        "on_finish_action": "delete_pod",
        # Names without the suffix collide on retry (apache/airflow#71743).
        "random_name_suffix": True,
        "durable": True,
        # A spot node may go at any time; work that is committed is skipped, so a retry costs one scene.
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "execution_timeout": timedelta(hours=12),
    }


def pod_step(task_id: str, resources: Resources, *, gpu: int, image: str, arguments: list[str]) -> Any:
    """One pod."""
    defaults = _with_pool(pod_defaults(resources, gpu=gpu, image=image), gpu)
    return KubernetesPodOperator(
        task_id=task_id, name=f"orthostat-{task_id}", arguments=arguments, **defaults
    )


def mapped_pod_step(task_id: str, resources: Resources, *, gpu: int, image: str, **kwargs: Any) -> Any:
    """A pod for each of the arguments that it is expanded with."""
    defaults = _with_pool(pod_defaults(resources, gpu=gpu, image=image), gpu)
    return KubernetesPodOperator.partial(task_id=task_id, name=f"orthostat-{task_id}", **defaults, **kwargs)


def _with_pool(defaults: dict[str, Any], gpu: int) -> dict[str, Any]:
    return {**defaults, "pool": GPU_POOL} if gpu else defaults


def _requirements(resources: Resources, gpu: int) -> k8s.V1ResourceRequirements:
    limits = {"memory": resources.memory, **({"nvidia.com/gpu": str(gpu)} if gpu else {})}
    return k8s.V1ResourceRequirements(requests={"cpu": resources.cpu, **limits}, limits=limits)


def _tolerations(resources: Resources, gpu: int) -> list[k8s.V1Toleration]:
    tolerations = []
    if gpu:
        tolerations.append(k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"))
    if resources.spot:
        tolerations.append(
            k8s.V1Toleration(
                key="cloud.google.com/gke-spot", operator="Equal", value="true", effect="NoSchedule"
            )
        )
    return tolerations


def _environment(resources: Resources) -> list[k8s.V1EnvFromSource]:
    if resources.environment_secret is None:
        return []
    return [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=resources.environment_secret))]
