"""What tests need of a real cluster: kubectl, a namespace of their own, an account of Airflow's in it."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PREDICT_IMAGE = os.environ.get("CLUSTER_IMAGE")
STATS_IMAGE = os.environ.get("CLUSTER_STATS_IMAGE")
SECRET = "orthostat-s3"
needs_cluster = pytest.mark.skipif(
    not (PREDICT_IMAGE and STATS_IMAGE), reason="no cluster is at hand (make cluster-test says how)"
)


def kubectl(*arguments: str, given: str | None = None, check: bool = True) -> str:
    """What kubectl prints."""
    command = ["kubectl", *arguments]
    ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0 or not check, ended.stderr
    return ended.stdout


def get(*arguments: str) -> Any:
    """What `kubectl get` finds."""
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def apply(*manifests: Any) -> None:
    """Make or change objects."""
    kubectl("apply", "-f", "-", given=yaml.safe_dump_all(manifests))


def s3_secret(name: str = SECRET) -> dict[str, Any]:
    """The Secret with what leads pods to the S3 of this shell."""
    wanted = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"}
    aws = {key: value for key, value in os.environ.items() if key in wanted}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": aws}


def moved(manifests: Sequence[Any], namespace: str, airflow: str) -> list[Any]:
    """The project's manifests in namespaces of these tests instead of `orthostat` and `airflow`."""
    text = yaml.safe_dump_all(manifests)
    text = text.replace("namespace: orthostat", f"namespace: {namespace}")
    text = text.replace("namespace: airflow", f"namespace: {airflow}")
    made = list(yaml.safe_load_all(text))
    for entry in made:
        if entry["kind"] == "Namespace":
            entry["metadata"]["name"] = namespace
    return made


@contextmanager
def temporary_namespace(prefix: str, *manifests: Any) -> Iterator[str]:
    """A namespace made of the project's own manifests, and Airflow's accounts beside it."""
    name = f"{prefix}-{uuid.uuid4().hex[:6]}"
    accounts = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{name}-airflow"}},
        *(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": f"airflow-{part}", "namespace": f"{name}-airflow"},
            }
            for part in ("scheduler", "triggerer", "worker")
        ),
    ]
    project = list(yaml.safe_load_all(kubectl("kustomize", str(ROOT / "config/kubernetes"))))
    own = [{**entry, "metadata": {**entry["metadata"], "namespace": name}} for entry in manifests]
    try:
        apply(*accounts)
        apply(*moved(project, name, f"{name}-airflow"), *own)
        yield name
    finally:
        kubectl("delete", "namespace", name, f"{name}-airflow", "--wait=false", check=False)


def write_kubeconfig(path: Path, namespace: str, account: str = "airflow-scheduler") -> Path:
    """A kubeconfig of one of Airflow's accounts: what it may is what the project's Role says."""
    token = kubectl("-n", f"{namespace}-airflow", "create", "token", account, "--duration=4h").strip()
    here = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten"))
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": here["clusters"][0]["cluster"]}],
        "contexts": [
            {"name": "tests", "context": {"cluster": "tests", "user": account, "namespace": namespace}}
        ],
        "users": [{"name": account, "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    return path
