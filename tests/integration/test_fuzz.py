"""A seeded fuzz of reader, bundle and service: FUZZ_CASES (60) mutated images, bundles and bodies each.

`make fuzz` runs 1,000 of each. Whatever is sent, the answer is the Item or a problem that the client, or
time, can cure; nobody is asked anything because of what an image says; scratch is empty; the memory is
bounded.
"""

import hashlib
import io
import json
import os
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from orthostat import storage
from tests.integration.service.conftest import folder, inputs  # noqa: F401
from tests.integration.service.server import Inputs, Server, serve
from tests.unit.prediction_images import write_image

CASES = int(os.environ.get("FUZZ_CASES", "60"))
MOST_MB = 3000
"""Of the server and its models together."""
Mutate = Callable[[np.random.Generator, bytes], bytes]


class Listener:
    """A server that must hear nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Watch:
    """The largest memory of a process and its children, while it lasts."""

    def __init__(self, pid: int):
        self.most_mb = 0.0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.most_mb

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            total = 0
            for process in [self._process, *self._process.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.most_mb = max(self.most_mb, total / 1e6)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def server(s3_endpoint: str, folder: Path, scratch: Path) -> Iterator[Server]:  # noqa: F811
    variables = {"TMPDIR": str(scratch), "ORTHOSTAT_MAX_SECONDS": "30", "ORTHOSTAT_MAX_MEMORY_MB": "1500"}
    with serve(folder, s3_endpoint, "--queue", "32", "--engine", "onnx", **variables) as running:
        watch = Watch(running.process.pid)
        yield running
        assert watch.stop() < MOST_MB
        log = running.log_path.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
        assert "defect" not in log
    assert list(scratch.iterdir()) == []


def flip(random: np.random.Generator, data: bytes) -> bytes:
    """Some bytes changed, mostly near the beginning, where headers are."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 12))):
        end = len(changed) if random.random() < 0.4 else min(400, len(changed))
        changed[int(random.integers(end))] = int(random.choice([0, 1, 127, 128, 255, random.integers(256)]))
    return bytes(changed)


def cut(random: np.random.Generator, data: bytes) -> bytes:
    """Truncated."""
    return data[: int(random.integers(len(data)))]


def shuffle(random: np.random.Generator, data: bytes) -> bytes:
    """A piece copied over another."""
    changed = bytearray(data)
    size = int(random.integers(1, 64))
    source, target = random.integers(0, max(1, len(data) - size), 2)
    changed[target : target + size] = data[source : source + size]
    return bytes(changed)


MUTATIONS: list[Mutate] = [flip, flip, cut, shuffle]


def mutate(random: np.random.Generator, data: bytes) -> bytes:
    for _ in range(int(random.integers(1, 3))):
        if not data:
            break
        data = MUTATIONS[int(random.integers(len(MUTATIONS)))](random, data)
    return data


def seeds(tmp_path: Path, address: str) -> list[bytes]:
    """Images of many kinds, and files that are none and name addresses."""
    random = np.random.default_rng(7)
    values = random.integers(0, 200, (1, 40, 50)).astype(np.uint16)
    profiles: list[dict[str, Any]] = [
        {},
        {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "lzw", "predictor": 2},
        {"nodata": 0, "bigtiff": "YES"},
        {"driver": "PNG", "crs": None},
        {"driver": "JP2OpenJPEG"},
    ]
    found = [write_image(tmp_path / f"{n}.img", values, **p).read_bytes() for n, p in enumerate(profiles)]
    found.append(write_image(tmp_path / "float.tif", (values / 3).astype(np.float32)).read_bytes())
    found.append(write_image(tmp_path / "jpeg", values.astype(np.uint8), driver="JPEG").read_bytes())
    vrt = (
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f"<SourceFilename>/vsicurl/{address}/a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return [
        *found,
        vrt.encode(),
        f"<GDAL_WMS><Service><ServerUrl>{address}</ServerUrl></Service></GDAL_WMS>".encode(),
    ]


def require_answer(answer: httpx.Response, seen: Counter[int]) -> None:
    """The Item, or a problem that is none of ours."""
    seen[answer.status_code] += 1
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert len(answer.content) < 20_000
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


def require_whole_items(bucket: str) -> None:
    """No Item without each of its files, and no half file beside."""
    there = {entry.uri for entry in storage.list_objects(f"{bucket}/fuzz/")}
    for uri in [uri for uri in there if uri.endswith("/item.json")]:
        assets = storage.read_json(uri)["assets"]
        missing = {asset["href"] for name, asset in assets.items() if name != "model"} - there
        assert not missing, uri


def test_mutated_images(server: Server, inputs: Inputs, tmp_path: Path, listener: Listener) -> None:  # noqa: F811
    random, kinds = np.random.default_rng(11), seeds(tmp_path, listener.address)
    seen: Counter[int] = Counter()

    def send(number: int, data: bytes) -> httpx.Response:
        storage.write_bytes(f"{inputs.bucket}/mutants/{number}", data)
        request = inputs.to(f"fuzz/i{number}", image=f"{inputs.bucket}/mutants/{number}")
        return server.http.post("/predict", json=request)

    with ThreadPoolExecutor(4) as pool:
        mutants = [mutate(random, kinds[number % len(kinds)]) for number in range(CASES)]
        for answer in pool.map(send, range(CASES), mutants):
            require_answer(answer, seen)
    assert listener.asked == []
    assert seen[200], seen
    assert seen[422], seen
    require_whole_items(inputs.bucket)


def repack(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The zip file with its files changed, also those of the packed model."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, repack(content, change) if name.endswith(".zip") else change(name, content))
    return made.getvalue()


def distort(random: np.random.Generator, value: Any, depth: int = 0) -> Any:
    """A JSON value with something else somewhere."""
    strange = [None, -1, 0, 1e308, 10**30, "", "x" * 5000, "\ud800", [], {}, [[[]]], True, "../../etc", 65535]
    if random.random() < 0.08 * (depth + 1):
        return strange[int(random.integers(len(strange)))]
    if isinstance(value, dict):
        return {key: distort(random, one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [distort(random, one, depth + 1) for one in value]
    return value


def mutate_bundle(random: np.random.Generator, data: bytes) -> bytes:
    """Bytes of the file, or of a configuration or the network in it."""
    kind = int(random.integers(3))
    if kind == 0:
        return mutate(random, data)

    def change(name: str, content: bytes) -> bytes:
        if name.endswith(".json") and random.random() < 0.7:
            return (
                json.dumps(distort(random, json.loads(content))).encode()
                if kind == 1
                else mutate(random, content)
            )
        return mutate(random, content) if name.endswith(".onnx") and random.random() < 0.3 else content

    return repack(data, change)


def test_mutated_bundles(server: Server, inputs: Inputs, listener: Listener) -> None:  # noqa: F811
    random, whole = np.random.default_rng(13), inputs.bundle_path.read_bytes()
    seen: Counter[int] = Counter()
    for number in range(CASES):
        data = mutate_bundle(random, whole)
        uri = f"{inputs.bucket}/mutants/{number}.zip"
        storage.write_bytes(uri, data)
        request = inputs.to(f"fuzz/b{number}", model=uri, sha256=hashlib.sha256(data).hexdigest())
        require_answer(server.http.post("/predict", json=request), seen)
    assert listener.asked == []
    assert seen[422], seen
    require_whole_items(inputs.bucket)


def test_mutated_bodies(server: Server, inputs: Inputs) -> None:  # noqa: F811
    random, whole = np.random.default_rng(17), json.dumps(inputs.to("fuzz/body")).encode()
    seen: Counter[int] = Counter()
    paths = ["/predict", "/processes/predict/execution", "/jobs", "/processes/predict"]
    kinds = [
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "",
        "\u00ff",
        "application/x+json",
    ]
    for number in range(CASES):
        body = mutate(random, whole)
        if number % 3 == 0:
            body = json.dumps(distort(random, {"inputs": json.loads(whole), "response": "raw"})).encode()
        headers = {"Content-Type": kinds[int(random.integers(len(kinds)))].encode("latin-1")}
        path = paths[int(random.choice(4, p=[0.5, 0.4, 0.05, 0.05]))]
        try:
            answer = server.http.post(path, content=body, headers=headers)
        except httpx.TransportError:
            seen[0] += 1  # no HTTP at all
            continue
        require_answer(answer, seen)
    assert seen[400], seen
    assert seen[422], seen


def test_the_server_still_predicts(server: Server, inputs: Inputs) -> None:  # noqa: F811
    deadline = time.monotonic() + 60
    while server.http.get("/ready").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert server.http.post("/predict", json=inputs.request).status_code == 200
