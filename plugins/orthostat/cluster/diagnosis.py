"""What is said of a pod that did not do its work."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ERROR = "error: "
"""What the command line puts before the message of an error, which may go on for several lines."""
CONTAINER = "base"
"""The name that Airflow's operator gives the container that it watches."""
FINAL_CODES = {2, 65}
"""Exit codes of `orthostat step` that say that another try would fail alike."""
Manifest = Mapping[str, Any]
"""A Kubernetes object as the API's JSON has it."""


@dataclass(frozen=True)
class Diagnosis:
    """Why a pod failed, with the cure."""

    reason: str
    is_final: bool
    """Whether another try would fail alike; else the next one may succeed."""
    is_overload: bool = False
    """Whether it took more memory or scratch than it has: the next try goes scene by scene."""


def last_error(text: str) -> str:
    """The message of the last error in a step's log, without what comes before it; empty without one."""
    parts = re.split(rf"(?m)^(?:orthostat[^:\n]*: )?{_ERROR}", text)  # argparse names the program first
    return parts[-1].strip() if len(parts) > 1 else ""


def container_status(pod: Manifest) -> Mapping[str, Any]:
    """The state of the step's container; empty before the kubelet has said anything."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    # A webhook may have put a container of its own beside ours.
    return dict(next((one for one in statuses if one.get("name") == CONTAINER), statuses[0]))


def container_of(pod: Manifest) -> Mapping[str, Any]:
    """What the step's container asks for."""
    containers = pod["spec"]["containers"]
    return dict(next((one for one in containers if one.get("name") == CONTAINER), containers[0]))
