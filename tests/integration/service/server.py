"""The service as a process on loopback, and what a request to it names."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FINISHED = ("successful", "failed", "dismissed")


@dataclass(frozen=True)
class Server:
    """A running service."""

    process: subprocess.Popen[bytes]
    http: httpx.Client
    log_path: Path

    def wait_for(self, job: str, *statuses: str) -> dict[str, Any]:
        """The status document of a job, once it has one of these, or else any that is final."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.http.get(f"/jobs/{job}").json()
            if found.get("status") in (statuses or FINISHED):
                return found
            time.sleep(0.05)
        raise AssertionError(found)


@contextmanager
def serve(folder: Path, endpoint: str, *options: str, **variables: str) -> Iterator[Server]:
    """A server on loopback; it is told to end afterwards, unless it has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log_path = folder / f"log-{port}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ORTHOSTAT")},
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
        **variables,
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "orthostat", "serve", "--port", str(port), *options],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as http:
        try:
            wait_until_ready(http, process, log_path)
            yield Server(process, http, log_path)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(40)


def wait_until_ready(http: httpx.Client, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/health").is_success:
                return
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError(log_path.read_text())


@dataclass(frozen=True)
class Inputs:
    """What a request names, in a fresh bucket."""

    bucket: str
    request: dict[str, Any]
    bundle_path: Path
    image_path: Path

    def to(self, name: str, **changes: Any) -> dict[str, Any]:
        """The request, with another output."""
        return self.request | {"output": f"{self.bucket}/{name}"} | changes


def problem(answer: httpx.Response, status: int) -> str:
    """The detail of an error, which is problem+json."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    assert content["title"]
    return str(content["detail"])
