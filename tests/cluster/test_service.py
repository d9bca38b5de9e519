"""The service as a Deployment on a real cluster: restricted pods, readiness, a token, a job that outlives its
pod.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from orthostat import storage
from tests.cluster.cluster import PREDICT_IMAGE, needs_cluster
from tests.cluster.kubectl import apply, kubectl
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import write_image

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests"
pytestmark = needs_cluster


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    name = f"service-{uuid.uuid4().hex[:8]}"
    storage.s3.cache_clear()
    storage.s3().create_bucket(Bucket=name)
    yield f"s3://{name}"
    for entry in list(storage.list_objects(f"s3://{name}/")):
        storage.delete(entry.uri)
    storage.s3().delete_bucket(Bucket=name)


@pytest.fixture(scope="module")
def namespace(bucket: str) -> Iterator[str]:
    """The manifests as they stand, with an image, addresses and secrets of these tests, in a namespace of
    their own."""
    name = f"orthostat-{uuid.uuid4().hex[:8]}"
    made = list(yaml.safe_load_all(kubectl("kustomize", str(ROOT / "config/kubernetes/service"))))
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    aws = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
    secrets = [
        {"kind": "Secret", "metadata": {"name": "orthostat-s3"}, "stringData": aws},
        {"kind": "Secret", "metadata": {"name": "orthostat-tokens"}, "stringData": {"tokens": f"{TOKEN}\n"}},
    ]
    for entry in [*made, *secrets]:
        entry["metadata"]["namespace"] = name
        entry.setdefault("apiVersion", "v1")
        if entry["kind"] == "ConfigMap":
            entry["data"] |= {
                "ORTHOSTAT_SERVE_JOBS": f"{bucket}/jobs",
                "ORTHOSTAT_SERVE_ALLOW_PREFIX": bucket,
                "ORTHOSTAT_LEASE_SECONDS": "3",
            }
        if entry["kind"] == "Deployment":
            [container] = entry["spec"]["template"]["spec"]["containers"]
            container |= {"image": PREDICT_IMAGE, "imagePullPolicy": "IfNotPresent"}
            container["resources"] = {
                "requests": {"cpu": "100m", "memory": "512Mi"},
                "limits": {"memory": "2Gi"},
            }
    apply(space, *made, *secrets)
    kubectl("-n", name, "rollout", "status", "deployment/predict-service", "--timeout=240s")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def pod_address(namespace: str) -> str:
    """Of the pod that is ready; the cluster has no Services."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found = yaml.safe_load(kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
        for pod in found:
            conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
            if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
                return f"http://{pod['status']['podIP']}:5000"
        time.sleep(1)
    raise AssertionError(found)


def client(namespace: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "predict.example.org"}
    return httpx.Client(base_url=pod_address(namespace), headers=headers, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def request_json(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("inputs")
    bundle = write_onnx_bundle(folder / "bundle.zip")
    values = np.random.default_rng(1).integers(1, 200, (1, 90, 110), dtype=np.uint16)
    storage.upload(bundle, f"{bucket}/bundle.zip")
    storage.upload(write_image(folder / "scene.tif", values), f"{bucket}/scene.tif")
    sha256 = hashlib.sha256(bundle.read_bytes()).hexdigest()
    return {
        "image": f"{bucket}/scene.tif",
        "model": f"{bucket}/bundle.zip",
        "sha256": sha256,
        "output": f"{bucket}/out",
    }


def test_the_deployment_predicts(namespace: str, request_json: dict[str, Any]) -> None:
    with client(namespace) as http:
        answer = http.post("/predict", json=request_json)
        assert answer.status_code == 200, answer.text
        assert answer.json() == storage.read_json(f"{request_json['output']}/item.json")
        assert (
            http.post("/predict", json=request_json, headers={"Authorization": "Bearer x"}).status_code == 401
        )
        assert http.get("/ready", headers={"Host": "10.0.0.1"}).status_code == 200
        assert "orthostat_queue_length" in http.get("/metrics").text


def test_jobs_outlive_their_pod(namespace: str, request_json: dict[str, Any]) -> None:
    with client(namespace) as http:
        jobs = [
            http.post(
                "/predict",
                json=request_json | {"output": f"{request_json['output']}/{number}"},
                headers={"Prefer": "respond-async"},
            ).json()["jobID"]
            for number in range(12)
        ]
    kubectl("-n", namespace, "delete", "pod", "-l", "app=predict-service", "--grace-period=0", "--force")
    with client(namespace) as http:
        deadline = time.monotonic() + 120
        statuses: list[str] = []
        while time.monotonic() < deadline and set(statuses) != {"successful"}:
            statuses = [http.get(f"/jobs/{job}").json()["status"] for job in jobs]
            time.sleep(0.5)
    assert set(statuses) == {"successful"}


def test_scaling_and_disruption_are_taken_by_the_cluster(namespace: str) -> None:
    scaler = yaml.safe_load(kubectl("-n", namespace, "get", "hpa", "predict-service", "-o", "json"))
    assert scaler["spec"]["scaleTargetRef"]["name"] == "predict-service"
    budget = yaml.safe_load(kubectl("-n", namespace, "get", "pdb", "predict-service", "-o", "json"))
    assert budget["status"]["expectedPods"] == 1
