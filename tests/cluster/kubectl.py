"""kubectl, and waiting for what it shows."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import yaml


def attempt(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it, whatever comes of it."""
    command = ["kubectl", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)


def kubectl(*arguments: str, given: str | None = None) -> str:
    """Run it, fail the test with what it says on stderr when it fails, and give its stdout."""
    ended = attempt(*arguments, given=given)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def get(*arguments: str) -> Any:
    """What `kubectl get` finds."""
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def get_api_server() -> SplitResult:
    """Where the Kubernetes API is for us."""
    config = json.loads(kubectl("config", "view", "--minify", "-o", "json"))
    return urlsplit(str(config["clusters"][0]["cluster"]["server"]))


def apply(*manifests: dict[str, Any]) -> None:
    """Make or change them: the account `default` of a new namespace the cluster makes at the same moment."""
    kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(manifests))


def read_pod(namespace: str, name: str) -> dict[str, Any]:
    pod: dict[str, Any] = get("pod", name, "-n", namespace)
    return pod


def wait_for_pod(
    namespace: str, name: str, holds: Callable[[dict[str, Any]], bool], seconds: float = 240
) -> dict[str, Any]:
    """Wait until `holds` is true of the pod's status; fail with the status and the logs."""
    deadline = time.monotonic() + seconds
    while True:
        pod = read_pod(namespace, name)
        if holds(pod["status"]):
            return pod
        if time.monotonic() > deadline or pod["status"].get("phase") == "Failed":
            logs = kubectl("-n", namespace, "logs", name, "--all-containers", "--tail=30", "--ignore-errors")
            raise AssertionError(f"{name}: {json.dumps(pod['status'], indent=1)}\n{logs}")
        time.sleep(0.5)


def is_ready(status: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def has_succeeded(status: dict[str, Any]) -> bool:
    return status.get("phase") == "Succeeded"


def has_address(status: dict[str, Any]) -> bool:
    return bool(status.get("podIP"))


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(1)
