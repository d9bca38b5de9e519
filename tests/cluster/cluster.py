"""What tests need of a real cluster: a namespace of their own, and an account of Airflow's in it."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kubectl import apply, attempt, kubectl

ROOT = Path(__file__).parents[2]
AIRFLOW_IMAGE = os.environ.get("CLUSTER_AIRFLOW_IMAGE")
PREDICT_IMAGE = os.environ.get("CLUSTER_IMAGE")
STATS_IMAGE = os.environ.get("CLUSTER_STATS_IMAGE")
SECRET = "orthostat-s3"
needs_cluster = pytest.mark.skipif(
    not (PREDICT_IMAGE and STATS_IMAGE and AIRFLOW_IMAGE),
    reason="no cluster is at hand (make cluster-test says how)",
)
needs_relays = pytest.mark.skipif(
    "CLUSTER" not in os.environ,
    reason="these pods find each other by way of the host, as on CLUSTER's cluster",
)


def s3_secret(name: str = SECRET) -> dict[str, Any]:
    """The Secret with what leads pods to the S3 of this shell."""
    wanted = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"}
    aws = {key: value for key, value in os.environ.items() if key in wanted}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": aws}


QUOTA = {"pods": "20", "requests.cpu": "100", "requests.memory": "100Gi", "limits.memory": "100Gi"}
"""Room for many small pods on a small machine; its own memory decides."""


@contextmanager
def temporary_namespace(*manifests: Any) -> Iterator[str]:
    """The base under names of its own, with what tests add; its account `launcher` stands for Airflow."""
    name = f"orthostat-test-{uuid.uuid4().hex[:6]}"
    made = kubectl("kustomize", str(ROOT / "config/kubernetes/test")).replace("orthostat-test", name)
    own = [{**entry, "metadata": {**entry["metadata"], "namespace": name}} for entry in manifests]
    hard = {"spec": {"hard": {**QUOTA, "requests.nvidia.com/gpu": "16"}}}
    try:
        apply(*yaml.safe_load_all(made), *own)
        kubectl("-n", name, "patch", "resourcequota", "orthostat", "--type=merge", "-p", json.dumps(hard))
        yield name
    finally:
        attempt("delete", "--wait=false", "--ignore-not-found", "-f", "-", given=made)


def write_kubeconfig(path: Path, namespace: str, *, server: str | None = None) -> Path:
    """A kubeconfig of Airflow's account: what it may is what the project's Role says. It leads to the API at
    `server`, else to the one that is the caller's.
    """
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    token = kubectl("-n", namespace, "create", "token", "launcher", "--duration=4h").strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    if server is not None:
        config["clusters"][0]["cluster"]["server"] = server
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path
