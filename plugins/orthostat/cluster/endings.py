"""Why a pod that ran ended without its work done."""

from collections.abc import Sequence

from orthostat.cluster.diagnosis import (
    FINAL_CODES,
    Diagnosis,
    Manifest,
    container_of,
    container_status,
    last_error,
)

_LOST = {
    "Preempted": "was preempted by a pod of higher priority",
    "Preempting": "was preempted by a pod of higher priority",
    "TaintManagerEviction": "left a node that was tainted or lost",
    "NodeNotReady": "was on a node that stopped answering",
    "NodeLost": "was on a node that stopped answering",
    "NodeShutdown": "was on a node that was shut down, as spot nodes are",
    "Terminated": "was on a node that was shut down, as spot nodes are",
    "Shutdown": "was on a node that was shut down, as spot nodes are",
    "UnexpectedAdmissionError": "was refused by its node",
    "OutOfcpu": "came to a node that had no room left",
    "OutOfmemory": "came to a node that had no room left",
    "Evicted": "was evicted by its node",
}
_AGAIN = "what it had committed counts, another pod goes on"
_NOT_STARTED = {"StartError", "ContainerCannotRun"}


def explain_end(pod: Manifest | None, events: Sequence[Manifest], memory_field: str) -> Diagnosis:
    """What ended a pod; None is one that is gone. `memory_field` is where its memory is raised.

    `events` are those of the pod, oldest first; they are kept an hour after it has gone.
    """
    if pod is None:
        return _explain_loss([str(event.get("reason")) for event in events])
    status = pod.get("status") or {}
    ended = (container_status(pod).get("state") or {}).get("terminated") or {}
    reason, message = str(status.get("reason", "")), str(status.get("message", ""))
    if reason == "Evicted" and ("limit" in message or "EmptyDir" in message):
        return _explain_scratch(message, memory_field)
    if ended.get("reason") == "OOMKilled":
        return _explain_memory(pod, memory_field)
    if reason in _LOST:
        return Diagnosis(f"the pod {_LOST[reason]} ({message or reason}); {_AGAIN}", is_final=False)
    disrupted = [c for c in status.get("conditions") or [] if c["type"] == "DisruptionTarget"]
    if disrupted:
        told = disrupted[0].get("message") or disrupted[0].get("reason")
        return Diagnosis(f"the pod was disrupted ({told}); {_AGAIN}", is_final=False)
    if ended.get("reason") in _NOT_STARTED:
        return Diagnosis(
            f"the container cannot start: {str(ended.get('message', '')).strip()}; name Orthostat's image "
            f"in 'resources' ({container_of(pod)['image']} holds no command `orthostat`)",
            is_final=True,
        )
    if not ended:
        return _explain_loss([str(event.get("reason")) for event in events])
    code = ended.get("exitCode")
    said = last_error(str(ended.get("message", "")))
    if said:
        return Diagnosis(said, is_final=code in FINAL_CODES)
    return Diagnosis(
        f"the step ended with exit code {code} and no message ({ended.get('reason', 'Error')}); see the "
        f"task's log; {_AGAIN}",
        is_final=code in FINAL_CODES,
    )


def _explain_loss(reasons: Sequence[str]) -> Diagnosis:
    known = [_LOST[reason] for reason in reasons if reason in _LOST]
    how = known[-1] if known else "is gone: its node was taken away, or somebody deleted it"
    return Diagnosis(f"the pod {how}; {_AGAIN}", is_final=False)


def _explain_memory(pod: Manifest, memory_field: str) -> Diagnosis:
    limit = container_of(pod).get("resources", {}).get("limits", {}).get("memory", "unlimited")
    return Diagnosis(
        f"the pod was killed for want of memory, its limit is {limit} ({memory_field}); raise it, or lower "
        "'model.batch_size' or 'grid.tile_size'",
        is_final=False,
        is_overload=True,
    )


def _explain_scratch(message: str, memory_field: str) -> Diagnosis:
    field = memory_field.replace("memory", "scratch")
    return Diagnosis(
        f"the pod was evicted, it wrote more than it may ({message.strip()}); raise {field}",
        is_final=False,
        is_overload=True,
    )
