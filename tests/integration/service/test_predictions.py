"""`orthostat serve`: a real server, a real model, a real S3 API: one image, answered at once."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from orthostat import storage
from orthostat.planning.manifest import Recipe
from orthostat.prediction.images import predict_images
from tests.integration.service.server import Inputs, Server, problem
from tests.unit.prediction_images import write_image


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
