"""`orthostat serve`: a real server, a real model, a real S3 API."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from orthostat import storage
from orthostat.planning.manifest import Recipe
from orthostat.prediction.images import predict_images
from tests.integration.prediction_bundle import write_bundle
from tests.unit.prediction_images import write_image


@dataclass(frozen=True)
class Server:
    """A running service."""

    process: subprocess.Popen[bytes]
    http: httpx.Client
    log_path: Path


@dataclass(frozen=True)
class Inputs:
    """What a request names, in a fresh bucket."""

    request: dict[str, Any]
    bundle_path: Path
    image_path: Path


@pytest.fixture(scope="module")
def server(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log_path = tmp_path_factory.mktemp("service") / "log"
    variables = {
        **os.environ,
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "orthostat", "serve", "--port", str(port)],
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as http:
        try:
            wait_until_ready(http, process, log_path)
            yield Server(process, http, log_path)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_until_ready(http: httpx.Client, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/health").is_success:
                return
        except httpx.ConnectError:
            time.sleep(0.2)
    raise AssertionError(log_path.read_text())


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle.zip", chip_sz=64, batch_sz=2)


@pytest.fixture
def inputs(s3_bucket: str, tmp_path: Path, bundle_path: Path) -> Inputs:
    values = np.random.default_rng(1).integers(1, 900, (3, 90, 110), dtype=np.uint16)
    values[:, :20, :30] = 0
    image_path = write_image(tmp_path / "scene.tif", values, nodata=0)
    storage.upload(image_path, f"{s3_bucket}/scene.tif")
    storage.upload(bundle_path, f"{s3_bucket}/bundle.zip")
    request = {
        "image": f"{s3_bucket}/scene.tif",
        "bundle": f"{s3_bucket}/bundle.zip",
        "sha256": hashlib.sha256(bundle_path.read_bytes()).hexdigest(),
        "output": f"{s3_bucket}/out",
    }
    return Inputs(request, bundle_path, image_path)


def test_a_request_predicts_what_the_command_predicts(server: Server, inputs: Inputs, tmp_path: Path) -> None:
    answer = server.http.post("/predict", json=inputs.request)
    assert answer.status_code == 200, answer.text
    output = inputs.request["output"]
    assert answer.json() == storage.read_json(f"{output}/item.json")
    assert answer.json()["assets"]["labels"]["href"] == f"{output}/labels.tif"
    assert answer.json()["properties"]["orthostat:valid_fraction"] == pytest.approx(1 - 600 / 9900)

    predict_images(
        Recipe(bundle=str(inputs.bundle_path)), [str(inputs.image_path)], str(tmp_path / "command")
    )
    expected = (tmp_path / "command" / "labels.tif").read_bytes()
    assert storage.read_bytes(f"{output}/labels.tif") == expected


def test_the_model_is_loaded_once_and_health_always_answers(server: Server, inputs: Inputs) -> None:
    server.http.post("/predict", json=inputs.request)
    loaded = server.log_path.read_text().count("loaded on")
    requests = [inputs.request | {"output": f"{inputs.request['output']}/{n}"} for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(server.http.post, "/predict", json=request) for request in requests]
        health = server.http.get("/health").json()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert health["status"] == "ok"
    assert health["model_sha256"] == inputs.request["sha256"]
    assert server.log_path.read_text().count("loaded on") == loaded


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"image": "s3://BUCKET/missing.tif"}, 404, r"no object s3://.*/missing\.tif; check bucket and key"),
        ({"output": "s3://no-such-bucket/out"}, 404, "no object s3://no-such-bucket/out"),
        ({"image": "s3://BUCKET/text.tif"}, 422, r"text\.tif cannot be read as an image"),
        ({"image": "s3://BUCKET/grey.tif"}, 422, r"grey\.tif .* 1 .* upload an image"),
        ({"sha256": "ab" * 32}, 422, "has sha256 .* named was abab"),
        ({"bundle": "s3://BUCKET/missing.zip", "sha256": "cd" * 32}, 404, r"no object s3://.*/missing\.zip"),
        ({"image": "/etc/passwd"}, 422, r"image is '/etc/passwd': String should match pattern '\^s3://"),
        ({"sha256": "ab"}, 422, "sha256 is 'ab': "),
        ({"outptu": "s3://a/b"}, 422, "outptu is 's3://a/b': Extra inputs are not permitted; send JSON with"),
    ],
)
def test_errors_say_what_to_do_and_write_nothing(
    server: Server,
    inputs: Inputs,
    s3_bucket: str,
    tmp_path: Path,
    changes: dict[str, str],
    status: int,
    message: str,
) -> None:
    storage.write_bytes(f"{s3_bucket}/text.tif", b"no image")
    grey = write_image(tmp_path / "grey.tif", np.ones((1, 80, 80), dtype=np.uint16))
    storage.upload(grey, f"{s3_bucket}/grey.tif")
    request = inputs.request | {
        key: value.replace("s3://BUCKET", s3_bucket) for key, value in changes.items()
    }
    answer = server.http.post("/predict", json=request)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert re.search(message, answer.json()["error"])
    assert not list(storage.list_objects(f"{s3_bucket}/out"))


def test_a_body_that_is_no_json_is_an_error_of_the_request(server: Server) -> None:
    answer = server.http.post("/predict", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "send JSON with image, bundle, sha256 and output" in answer.json()["error"]
