"""Why a pod does not start, told apart from one that only waits for its turn or for a node."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from orthostat.cluster.diagnosis import Diagnosis, Manifest, container_of, container_status
from orthostat.pipelines.resources import amount

SETTLED_S = 60
"""What is no better after so many seconds is taken for what it is: pulls are tried again, caches catch up."""
_PULLS = {"ErrImagePull", "ImagePullBackOff"}
_NEVER_PULLED = {"InvalidImageName", "ErrImageNeverPull"}
_MISCONFIGURED = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_NO_IMAGE = re.compile(r"not found|manifest unknown|does not exist|access denied|denied:|unauthorized", re.I)
"""Words of registries that stay the same however often one asks; of others, nobody knows."""
_MAY_COME = re.compile(r"max|limit|backoff|not ready", re.I)
"""Words of an autoscaler that has no node for now."""
_SCALED_UP = {"TriggeredScaleUp", "Nominated"}
_AUTOSCALERS = {*_SCALED_UP, "NotTriggerScaleUp"}
_NOT_MADE = {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"}


def find_situation(pod: Manifest) -> str:
    """What the pod waits for, in a word that stays the same as long as that does."""
    reason = str(((container_status(pod).get("state") or {}).get("waiting") or {}).get("reason", ""))
    if reason in _PULLS:
        return "pull"
    return reason or ("node" if not pod["spec"].get("nodeName") else "start")


def explain_wait(
    pod: Manifest, events: Sequence[Manifest], nodes: Sequence[Manifest] | None, waited_s: float
) -> Diagnosis | None:
    """What keeps a pod from starting; None while it may still start.

    `events` are those of the pod, oldest first; `nodes` those of the cluster, None where they may not be
    listed; its situation (`find_situation`) has lasted `waited_s` seconds.
    """
    waiting = (container_status(pod).get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    image = str(container_of(pod).get("image"))
    if reason in _NEVER_PULLED:
        return Diagnosis(
            f"image '{image}' cannot be pulled ({reason}: {message}); correct 'resources.image' or "
            "'resources.stats_image'",
            is_final=True,
        )
    if reason in _PULLS:
        return _explain_pull(image, _pull_error(message, events), waited_s)
    if reason in _MISCONFIGURED:
        return _explain_configuration(pod, message) if waited_s > SETTLED_S / 4 else None
    not_made = [str(e.get("message")) for e in events if e.get("reason") in _NOT_MADE]
    if not_made and pod["spec"].get("nodeName"):
        lacking = f"the pod's volumes or network cannot be made: {not_made[-1]}"
        return Diagnosis(lacking, is_final=False) if waited_s > 1.5 * SETTLED_S else None
    return _explain_schedule(pod, events, nodes, waited_s)


def _pull_error(message: str, events: Sequence[Manifest]) -> str:
    """The registry's own words: the state repeats only that it was tried."""
    failed = [str(e.get("message")) for e in events if e.get("reason") == "Failed" and "pull" in str(e)]
    told = [text for text in failed if "Error: " not in text]
    return told[-1] if told else message


def _explain_pull(image: str, error: str, waited_s: float) -> Diagnosis | None:
    if _NO_IMAGE.search(error) and waited_s > SETTLED_S / 2:
        return Diagnosis(
            f"image '{image}' cannot be pulled: {error}; push it, or correct 'resources.image' and "
            "'resources.stats_image'; a private registry needs 'resources.image_pull_secret'",
            is_final=True,
        )
    if waited_s < 1.5 * SETTLED_S:
        return None
    return Diagnosis(f"image '{image}' cannot be pulled now: {error}", is_final=False)


def _explain_configuration(pod: Manifest, message: str) -> Diagnosis:
    namespace = pod["metadata"].get("namespace")
    found = re.search(r'(secret|configmap) "([^"]+)" not found', message)
    if found:
        return Diagnosis(
            f"there is no {found[1]} '{found[2]}' in namespace '{namespace}'; make it (see "
            "config/kubernetes/secret.example.yaml), or correct 'resources.environment_secret'",
            is_final=True,
        )
    return Diagnosis(f"the container cannot be made: {message}", is_final="runAsNonRoot" in message)


def _explain_schedule(
    pod: Manifest, events: Sequence[Manifest], nodes: Sequence[Manifest] | None, waited_s: float
) -> Diagnosis | None:
    """A pod that fits no node is hopeless only when an autoscaler says that it makes none for it."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    refused = [c for c in conditions if c["type"] == "PodScheduled" and c.get("reason") == "Unschedulable"]
    if not refused or waited_s < SETTLED_S or any(_fits(pod, node) for node in nodes or ()):
        return None
    autoscaler = [event for event in events if event.get("reason") in _AUTOSCALERS]
    said = str(autoscaler[-1].get("message", "")) if autoscaler else ""
    if any(event["reason"] in _SCALED_UP for event in autoscaler[-1:]) or _MAY_COME.search(said):
        return None
    # An autoscaler that is slow, or of another make, may still come: then the next try finds its node.
    if not autoscaler and (nodes is None or waited_s < 1.5 * SETTLED_S):
        return None
    # The scheduler goes on about what it tried besides.
    scheduler = re.split(r"\. (?=no new claims|preemption)", str(refused[-1].get("message", "")))[0].rstrip(
        ". "
    )
    scaling = f"the autoscaler makes none: {said}" if said else "no autoscaler has answered"
    return Diagnosis(
        f"no node can take the pod ({_asks(pod)}): {scheduler}; {scaling}. Correct 'resources' (gpu, cpu, "
        "memory, node_selector, tolerations), or add such nodes",
        is_final=bool(autoscaler),
    )


def _asks(pod: Manifest) -> str:
    wanted = container_of(pod).get("resources", {}).get("requests", {})
    parts = [f"{name} {value}" for name, value in sorted(wanted.items())]
    parts += [f"{name}={value}" for name, value in sorted((pod["spec"].get("nodeSelector") or {}).items())]
    return ", ".join(parts)


def _fits(pod: Manifest, node: Manifest) -> bool:
    """Whether the node could take the pod if nothing else ran on it."""
    spec, labels = pod["spec"], node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in (spec.get("nodeSelector") or {}).items()):
        return False
    taints = [t for t in node["spec"].get("taints") or [] if t["effect"] in {"NoSchedule", "NoExecute"}]
    # A node that starts or is cordoned bears taints that pass.
    lasting = [t for t in taints if not t["key"].startswith(("node.kubernetes.io/", "node.cloudprovider."))]
    tolerations = spec.get("tolerations") or []
    if not all(any(_tolerates(toleration, taint) for toleration in tolerations) for taint in lasting):
        return False
    there = node["status"].get("allocatable") or {}
    wanted = container_of(pod).get("resources", {}).get("requests", {})
    try:
        return all(amount(str(value)) <= amount(str(there.get(name, "0"))) for name, value in wanted.items())
    except ValueError:  # a way to write numbers that is not ours
        return True


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in {None, taint["effect"]}:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in {None, taint["key"]}
    return toleration.get("key") == taint["key"] and toleration.get("value") == taint.get("value")
