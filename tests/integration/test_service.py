"""`orthostat serve`: a real server, a real model, a real S3 API, and a client that knows nothing of us."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from orthostat import storage
from orthostat.planning.manifest import Recipe
from orthostat.prediction.images import predict_images
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import write_image

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def jobs_bucket(s3_endpoint: str) -> str:
    import boto3

    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=s3_endpoint, **credentials).create_bucket(Bucket="service-jobs")
    return "s3://service-jobs"


@pytest.fixture(scope="module")
def server(s3_endpoint: str, folder: Path, jobs_bucket: str) -> Iterator[Server]:
    with serve(folder, s3_endpoint, "--jobs", f"{jobs_bucket}/shared") as running:
        yield running


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


@pytest.fixture
def inputs(s3_bucket: str, tmp_path: Path) -> Inputs:
    values = np.random.default_rng(1).integers(1, 200, (1, 90, 110), dtype=np.uint16)
    values[:, :20, :30] = 0
    image_path = write_image(tmp_path / "scene.tif", values, nodata=0)
    bundle_path = write_onnx_bundle(tmp_path / "bundle.zip")
    storage.upload(image_path, f"{s3_bucket}/scene.tif")
    storage.upload(bundle_path, f"{s3_bucket}/bundle.zip")
    request = {
        "image": f"{s3_bucket}/scene.tif",
        "model": f"{s3_bucket}/bundle.zip",
        "sha256": hashlib.sha256(bundle_path.read_bytes()).hexdigest(),
        "output": f"{s3_bucket}/out",
    }
    return Inputs(s3_bucket, request, bundle_path, image_path)


@pytest.fixture
def large(inputs: Inputs, tmp_path: Path) -> str:
    """An image that takes some seconds."""
    values = np.random.default_rng(2).integers(1, 200, (1, 6000, 6000), dtype=np.uint16)
    path = write_image(tmp_path / "large.tif", values, tiled=True)
    storage.upload(path, f"{inputs.bucket}/large.tif")
    return f"{inputs.bucket}/large.tif"


def problem(answer: httpx.Response, status: int) -> str:
    """The detail of an error, which is problem+json."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    assert content["title"]
    return str(content["detail"])


def test_a_request_predicts_what_the_command_predicts(server: Server, inputs: Inputs, tmp_path: Path) -> None:
    answer = server.http.post("/predict", json=inputs.request)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/geo+json"
    output = inputs.request["output"]
    assert answer.json() == storage.read_json(f"{output}/item.json")
    assert answer.json()["assets"]["labels"]["href"] == f"{output}/labels.tif"
    assert answer.json()["properties"]["orthostat:valid_fraction"] == pytest.approx(1 - 600 / 9900)

    predict_images(
        Recipe(bundle=str(inputs.bundle_path)), [str(inputs.image_path)], str(tmp_path / "command")
    )
    expected = (tmp_path / "command" / "labels.tif").read_bytes()
    assert storage.read_bytes(f"{output}/labels.tif") == expected


def test_the_old_name_of_the_model_works(server: Server, inputs: Inputs) -> None:
    request = inputs.to("old")
    request["bundle"] = request.pop("model")
    assert server.http.post("/predict", json=request).status_code == 200
    both = problem(server.http.post("/predict", json=request | {"model": request["bundle"]}), 422)
    assert "Extra inputs are not permitted" in both


def test_the_model_is_loaded_once_and_probes_always_answer(server: Server, inputs: Inputs) -> None:
    server.http.post("/predict", json=inputs.request)
    loaded = server.log_path.read_text().count("loaded on")
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(server.http.post, "/predict", json=inputs.to(str(n))) for n in range(8)]
        assert server.http.get("/health").json()["status"] == "ok"
        assert server.http.get("/ready").status_code == 200
        assert [answer.result().status_code for answer in answers] == [200] * 8
    assert server.log_path.read_text().count("loaded on") == loaded
    metrics = server.http.get("/metrics").text
    assert 'orthostat_http_requests_total{route="/predict",status="200"}' in metrics
    assert "orthostat_queue_length 0.0" in metrics


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"image": "s3://BUCKET/missing.tif"}, 404, r"no object s3://.*/missing\.tif; check bucket and key"),
        ({"output": "s3://no-such-bucket/out"}, 404, "no object s3://no-such-bucket/out"),
        ({"image": "s3://BUCKET/text.tif"}, 422, r"text\.tif cannot be read as an image"),
        ({"image": "s3://BUCKET/two.tif"}, 422, r"two\.tif .* 2 .* upload an image"),
        ({"sha256": "ab" * 32}, 422, "has sha256 .* named was abab"),
        ({"model": "s3://BUCKET/missing.zip", "sha256": "cd" * 32}, 404, r"no object s3://.*/missing\.zip"),
        ({"sha256": None}, 422, "sha256 is missing, and the allow-list does not know the model"),
        ({"image": "/etc/passwd"}, 422, r"image is '/etc/passwd': String should match pattern"),
        ({"image": "s3://BUCKET/a\0b"}, 422, "image is "),
        ({"image": "s3://BUCKET/" + "x" * 3000}, 422, "image is "),
        ({"sha256": "ab"}, 422, "sha256 is 'ab': "),
        ({"fill": "NaN"}, 422, "fill is 'NaN'"),
        ({"fill": "0"}, 422, "fill is '0'"),
        ({"outptu": "s3://a/b"}, 422, "outptu is 's3://a/b': Extra inputs are not permitted; send image"),
        ({"output": "s3://BUCKET", "image": "s3://BUCKET/item.json"}, 422, "output is"),
    ],
)
def test_errors_say_what_to_do_and_write_nothing(
    server: Server, inputs: Inputs, tmp_path: Path, changes: dict[str, str], status: int, message: str
) -> None:
    storage.write_bytes(f"{inputs.bucket}/text.tif", b"no image")
    two = write_image(tmp_path / "two.tif", np.ones((2, 80, 80), dtype=np.uint16))
    storage.upload(two, f"{inputs.bucket}/two.tif")
    changed = {
        key: value.replace("s3://BUCKET", inputs.bucket) if isinstance(value, str) else value
        for key, value in changes.items()
    }
    detail = problem(server.http.post("/predict", json=inputs.request | changed), status)
    assert re.search(message, detail)
    assert len(detail) < 1000
    assert not list(storage.list_objects(f"{inputs.bucket}/out"))


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[1]", {}, 400),
        (b'{"fill": NaN}', {}, 400),
        (b"[" * 60_000, {}, 400),
        ('{"image": 1}'.encode("utf-16"), {}, 400),
        (b"x" * 70_000, {}, 413),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415),
        (b"{}", {"Host": "evil.example"}, 400),
    ],
)
def test_bodies_that_are_none_are_refused(
    server: Server, content: bytes, headers: dict[str, str], status: int
) -> None:
    sent = {"Content-Type": "application/json"} | headers
    problem(server.http.post("/predict", content=content, headers=sent), status)


def test_a_body_without_a_length_is_bounded_too(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 10_000

    try:
        answer = server.http.post("/predict", content=endless())
    except (httpx.WriteError, httpx.RemoteProtocolError):
        return  # the server has closed the connection, which is its right
    problem(answer, 413)


def test_what_is_not_there_is_a_problem(server: Server) -> None:
    problem(server.http.get("/nothing"), 404)
    problem(server.http.get("/predict"), 405)
    assert server.http.get("/nothing", headers={"X-Long": "x" * 300_000}).status_code in {400, 431}
    assert server.http.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]


def test_a_large_body_takes_no_memory(server: Server) -> None:
    import psutil

    before = psutil.Process(server.process.pid).memory_info().rss
    for _ in range(20):
        try:
            server.http.post("/predict", content=b"x" * 20_000_000)
        except httpx.TransportError:
            continue
    assert psutil.Process(server.process.pid).memory_info().rss - before < 100e6


def test_a_job_is_followed_to_its_result(server: Server, inputs: Inputs) -> None:
    answer = server.http.post("/predict", json=inputs.request, headers={"Prefer": "respond-async, wait=5"})
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "respond-async"
    info = answer.json()
    assert answer.headers["location"] == str(server.http.base_url.join(f"/jobs/{info['jobID']}"))
    done = server.wait_for(info["jobID"])
    assert (done["status"], done["progress"], done["type"]) == ("successful", 100, "process")
    assert {link["rel"].rpartition("/")[2] for link in done["links"]} >= {"self", "monitor", "results"}
    result = server.http.get(f"/jobs/{info['jobID']}/results")
    assert result.headers["content-type"] == "application/geo+json"
    assert result.json() == storage.read_json(f"{inputs.request['output']}/item.json")
    listed = server.http.get("/jobs", params={"status": "successful,failed", "limit": 1}).json()
    assert [job["jobID"] for job in listed["jobs"]] == [info["jobID"]]
    forgotten = server.http.delete(f"/jobs/{info['jobID']}").json()
    assert forgotten["status"] == "dismissed"
    problem(server.http.get(f"/jobs/{info['jobID']}"), 404)


def test_a_job_that_fails_says_why(server: Server, inputs: Inputs) -> None:
    storage.write_bytes(f"{inputs.bucket}/text.tif", b"no image")
    request = inputs.to("x", image=f"{inputs.bucket}/text.tif")
    job = server.http.post("/predict", json=request, headers={"Prefer": "respond-async"}).json()["jobID"]
    assert server.wait_for(job)["status"] == "failed"
    assert "cannot be read as an image" in problem(server.http.get(f"/jobs/{job}/results"), 422)


def test_a_running_job_can_be_cancelled(server: Server, inputs: Inputs, large: str) -> None:
    request = inputs.to("large", image=large)
    job = server.http.post("/predict", json=request, headers={"Prefer": "respond-async"}).json()["jobID"]
    server.wait_for(job, "running")
    assert "ask again later" in problem(server.http.get(f"/jobs/{job}/results"), 404)
    assert server.http.delete(f"/jobs/{job}").json()["status"] == "dismissed"
    assert server.wait_for(job)["status"] == "dismissed"
    problem(server.http.get(f"/jobs/{job}/results"), 410)
    assert server.http.post("/predict", json=inputs.to("after")).status_code == 200
    assert not storage.exists(f"{inputs.bucket}/large/item.json")


def test_owslib_executes_and_follows(server: Server, inputs: Inputs) -> None:
    """A client of OGC API - Processes that knows nothing of us."""
    from owslib.ogcapi.processes import Processes

    client = Processes(f"{server.http.base_url}/")
    client.headers = dict(client.headers)
    assert [process["id"] for process in client.processes()] == ["predict"]
    assert set(client.process("predict")["inputs"]) == {"image", "model", "output", "sha256", "fill"}
    assert any(name.endswith("/conf/core") for name in client.conformance()["conformsTo"])
    document = client.execute("predict", inputs=inputs.to("sync"))
    item = storage.read_json(f"{inputs.bucket}/sync/item.json")
    assert document == {"item": {"value": item, "mediaType": "application/geo+json"}}
    asked = {"item": {"transmissionMode": "value"}}
    status = client.execute("predict", inputs=inputs.to("async"), outputs=asked, async_=True)
    assert client.response_headers["Location"].endswith(status["jobID"])
    assert server.wait_for(status["jobID"])["status"] == "successful"
    document = client._request(path=f"jobs/{status['jobID']}/results")
    assert document["item"]["value"]["id"] == "scene"


def schema_errors(name: str, document: Any) -> list[str]:
    """What in a document does not fit a schema of the standard."""
    from jsonschema import Draft4Validator

    schemas = Path(__file__).parents[1] / "data/ogc-processes-1.0"

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            key: f"#/definitions/{one.removesuffix('.yaml')}"
            if key == "$ref" and isinstance(one, str)
            else resolve(one)
            for key, one in value.items()
            if key != "default" or not isinstance(one, list)  # some are lists, which no validator takes
        }

    definitions = {path.stem: resolve(yaml.safe_load(path.read_text())) for path in schemas.glob("*.yaml")}
    assert name in definitions
    validator = Draft4Validator({"$ref": f"#/definitions/{name}", "definitions": definitions})
    return [error.message for error in validator.iter_errors(document)]


def test_documents_fit_the_standards_schemas(server: Server, inputs: Inputs) -> None:
    later = {"Prefer": "respond-async"}
    job = server.http.post("/predict", json=inputs.request, headers=later).json()["jobID"]
    server.wait_for(job)
    for path, name in (
        ("/", "landingPage"),
        ("/conformance", "confClasses"),
        ("/processes", "processList"),
        ("/processes/predict", "process"),
        ("/jobs", "jobList"),
        (f"/jobs/{job}", "statusInfo"),
        ("/jobs/none", "exception"),
        ("/processes/none", "exception"),
    ):
        assert schema_errors(name, server.http.get(path).json()) == [], path
    assert schema_errors("statusInfo", {"jobID": job}) != []  # the check can fail


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/processes/other/execution", {"inputs": {}}, 404),
        ("/processes/predict/execution", {"inputs": {}}, 422),
        ("/processes/predict/execution", {"inputs": []}, 400),
        ("/processes/predict/execution", {"outputs": {"map": {}}}, 400),
        ("/processes/predict/execution", {"outputs": {"item": {"transmissionMode": "reference"}}}, 400),
        ("/processes/predict/execution", {"response": "xml"}, 400),
        ("/processes/predict/execution", {"response": ["raw"]}, 400),
        ("/processes/predict/execution", {"response": {"a": 1}}, 400),
    ],
)
def test_executions_that_mean_nothing_are_refused(
    server: Server, path: str, content: dict[str, Any], status: int
) -> None:
    problem(server.http.post(path, json=content), status)


def test_inputs_may_be_qualified_or_links(server: Server, inputs: Inputs) -> None:
    given: dict[str, Any] = inputs.to("linked")
    given["image"] = {"href": given["image"], "type": "image/tiff"}
    given["model"] = {"value": given["model"]}
    answer = server.http.post("/processes/predict/execution", json={"inputs": given})
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == "scene"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "status=new", "datetime=now", "minDuration=-1"])
def test_filters_that_mean_nothing_are_refused(server: Server, query: str) -> None:
    problem(server.http.get(f"/jobs?{query}"), 400)


def test_tokens_say_who_may_ask_for_what(
    folder: Path, s3_endpoint: str, jobs_bucket: str, inputs: Inputs
) -> None:
    digest = inputs.request["sha256"]
    lines = [
        f"all-rights # a comment\n{hashlib.sha256(b'hashed').hexdigest()} {inputs.bucket}/",
        f"narrow {inputs.bucket}/elsewhere/ {digest}",
        f"other {inputs.bucket}/ {'ab' * 32}",
    ]
    path = folder / "tokens"
    path.write_text("\n".join(lines))
    options = ["--tokens", str(path), "--jobs", f"{jobs_bucket}/tokens", "--trusted-host", "api.example"]
    with serve(folder, s3_endpoint, *options) as server:
        server.http.headers["Host"] = "api.example"

        def ask(token: str | None, scheme: str = "Bearer", **headers: str) -> httpx.Response:
            sent = {"Authorization": f"{scheme} {token}"} if token else {}
            return server.http.post("/predict", json=inputs.request, headers=sent | headers)

        for token, scheme in ((None, ""), ("wrong", "Bearer"), ("all-rights", "Basic"), ("", "Bearer")):
            refused = ask(token, scheme)
            problem(refused, 401)
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert ask("all-rights").status_code == 200
        assert ask("hashed").status_code == 200
        problem(ask(hashlib.sha256(b"hashed").hexdigest()), 401)  # the hash is no token
        assert "below none of the allowed prefixes" in problem(ask("narrow"), 403)
        assert "is none of the 1 on the allow-list" in problem(ask("other"), 403)
        problem(server.http.get("/jobs"), 401)
        job = ask("all-rights", Prefer="respond-async").json()["jobID"]
        problem(server.http.get(f"/jobs/{job}", headers={"Authorization": "Bearer hashed"}), 404)
        problem(server.http.get("/jobs", headers={"Host": "127.0.0.1"}), 400)
        assert server.http.get("/health", headers={"Host": "10.0.0.1"}).status_code == 200
        path.write_text("new-one\n")
        problem(ask("all-rights"), 401)
        assert ask("new-one").status_code == 200


def test_a_full_queue_says_when_to_come_again(
    folder: Path, s3_endpoint: str, inputs: Inputs, large: str, jobs_bucket: str
) -> None:
    """One large image is worked on, others wait; small ones go past them; a wrong digest evicts nothing."""
    options = ["--jobs", f"{jobs_bucket}/full", "--queue", "2", "--allow-prefix", inputs.bucket]
    with serve(folder, s3_endpoint, *options, ORTHOSTAT_LARGE_MB="1") as server:
        later = {"Prefer": "respond-async"}
        sent = [
            server.http.post("/predict", json=inputs.to(f"large{n}", image=large), headers=later)
            for n in range(4)
        ]
        assert [answer.status_code for answer in sent[:2]] == [201, 201]
        first = sent[0].json()["jobID"]
        full = next(answer for answer in sent if answer.status_code != 201)
        assert "jobs wait already, allowed are 2" in problem(full, 429)
        assert int(full.headers["retry-after"]) >= 1
        second = sent[1].json()["jobID"]
        waiting = [a.json()["jobID"] for a in sent[1:] if a.status_code == 201]
        for job in waiting[1:]:
            server.http.delete(f"/jobs/{job}")
        server.wait_for(first, "running", "successful")
        assert server.http.post("/predict", json=inputs.to("small")).status_code == 200
        behind = server.http.get(f"/jobs/{second}").json()["status"]
        assert behind == "accepted" or server.http.get(f"/jobs/{first}").json()["status"] != "running"
        loaded = server.log_path.read_text().count("let go")
        problem(server.http.post("/predict", json=inputs.to("x", sha256="ab" * 32)), 422)
        assert server.log_path.read_text().count("let go") == loaded
        for job in (first, second):
            server.http.delete(f"/jobs/{job}")


def test_a_graceful_stop_hands_back_what_does_not_end(
    folder: Path, s3_endpoint: str, inputs: Inputs, jobs_bucket: str
) -> None:
    options = ["--jobs", f"{jobs_bucket}/stop", "--queue", "50"]
    later = {"Prefer": "respond-async"}
    with serve(folder, s3_endpoint, *options) as server:
        jobs = [
            server.http.post("/predict", json=inputs.to(f"s{n}"), headers=later).json()["jobID"]
            for n in range(30)
        ]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(40) in {0, -signal.SIGTERM, 128 + signal.SIGTERM}
        assert "Traceback" not in server.log_path.read_text()
    with serve(folder, s3_endpoint, *options) as server:
        assert {server.wait_for(job)["status"] for job in jobs} == {"successful"}
    assert not list(storage.list_objects(f"{jobs_bucket}/stop/open/"))


def test_jobs_of_killed_servers_end_once(
    folder: Path, s3_endpoint: str, inputs: Inputs, jobs_bucket: str, tmp_path: Path
) -> None:
    """KILLED_JOBS (30) jobs, and a SIGKILL at random for every ten of them."""
    count, random = int(os.environ.get("KILLED_JOBS", "30")), np.random.default_rng(19)
    options = ["--jobs", f"{jobs_bucket}/killed", "--queue", str(count)]
    later, scratch = {"Prefer": "respond-async"}, tmp_path / "scratch"
    scratch.mkdir()
    variables = {"ORTHOSTAT_LEASE_SECONDS": "2", "TMPDIR": str(scratch)}
    jobs: list[str] = []
    for kill in range(count // 10):
        with serve(folder, s3_endpoint, *options, **variables) as server:
            for n in range(10):
                request = inputs.to(f"k{kill}-{n}")
                jobs.append(server.http.post("/predict", json=request, headers=later).json()["jobID"])
            time.sleep(random.uniform(0, 1.5))
            server.process.kill()
            server.process.wait()
    with serve(folder, s3_endpoint, *options, **variables) as server:
        ended = [server.wait_for(job) for job in jobs]
        assert [job["message"] for job in ended if job["status"] != "successful"] == []
    stored = [storage.read_json(f"{jobs_bucket}/killed/jobs/{job}.json") for job in jobs]
    for job in stored:
        assert job["item"] == storage.read_json(f"{job['request']['output']}/item.json")
    items = [e for e in storage.list_objects(f"{inputs.bucket}/k") if e.uri.endswith("/item.json")]
    assert len(items) == len(jobs) == count
    assert not list(storage.list_objects(f"{jobs_bucket}/killed/open/"))
    assert list(scratch.iterdir()) == []


def test_two_servers_share_the_jobs(
    folder: Path, s3_endpoint: str, inputs: Inputs, jobs_bucket: str, large: str
) -> None:
    options = ["--jobs", f"{jobs_bucket}/two"]
    later = {"Prefer": "respond-async"}
    variables = {"ORTHOSTAT_LEASE_SECONDS": "1.5"}
    with (
        serve(folder, s3_endpoint, *options, **variables) as one,
        serve(folder, s3_endpoint, *options, **variables) as two,
    ):
        job = one.http.post("/predict", json=inputs.request, headers=later).json()["jobID"]
        assert two.wait_for(job)["status"] == "successful"
        slow = one.http.post("/predict", json=inputs.to("slow", image=large), headers=later).json()["jobID"]
        one.wait_for(slow, "running")
        assert two.http.delete(f"/jobs/{slow}").json()["status"] == "dismissed"
        assert one.wait_for(slow)["status"] == "dismissed"
        deadline = time.monotonic() + 20
        while '"running":0' not in one.http.get("/ready").text and time.monotonic() < deadline:
            time.sleep(0.1)
        assert json.loads(one.http.get("/ready").text)["running"] == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--port", "70000"], "is no port"),
        (["--queue", "0"], "is no number from 1 on"),
        (["--jobs", "/tmp/jobs"], "is no prefix in S3"),
        (["--tokens", "/nothing"], "the tokens in /nothing cannot be read"),
        (["--sha256", "ab"], "is no SHA-256"),
    ],
)
def test_options_that_mean_nothing_are_refused(option: list[str], message: str) -> None:
    command = [Path(sys.executable).parent / "orthostat", "serve", *option]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
