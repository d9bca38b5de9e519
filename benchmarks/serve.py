"""`python -m benchmarks.serve CASE...`: the HTTP service against one client, the bare prediction, and itself.

throughput  8 clients against one, warm model, scenes of 512 x 512: at least its throughput, no error
overhead    a request for the smallest image against the same prediction in this process, by the same S3
memory      memory of server and models after 1,000 requests over 5 bundles, at most 2 warm, against after 100
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from botocore.exceptions import BotoCoreError

from benchmarks.measure import BIN
from benchmarks.predict import write_bundle, write_image
from orthostat import settings, storage
from orthostat.service.job import Job, Ticket, now
from orthostat.service.models import WarmModels
from orthostat.service.predictor import Predictor
from orthostat.service.request import PredictionRequest

BUCKET = "s3://bench"
_PORT, _S3_PORT = 5099, 5098


@contextmanager
def serve(*options: str) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """The service as a process of its own."""
    command = [
        BIN / "orthostat",
        "serve",
        "--port",
        str(_PORT),
        "--queue",
        "64",
        "--engine",
        "onnx",
        *options,
    ]
    process = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
    with httpx.Client(base_url=f"http://127.0.0.1:{_PORT}", timeout=300, trust_env=False) as http:
        try:
            while True:
                try:
                    http.get("/health")
                    break
                except httpx.ConnectError:
                    time.sleep(0.1)
            yield http, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


def upload(folder: Path, side: int, bundles: int = 1) -> list[dict[str, str]]:
    """An image and bundles that differ in their last byte; a request for each bundle."""
    image = write_image(folder / f"{side}.tif", side)
    storage.upload(image, f"{BUCKET}/{side}.tif")
    data = write_bundle(folder / "unet.zip").read_bytes()
    requests = []
    for number in range(bundles):
        path = folder / f"{number}.zip"
        path.write_bytes(data + bytes(number))
        storage.upload(path, f"{BUCKET}/{number}.zip")
        requests.append(
            {
                "image": f"{BUCKET}/{side}.tif",
                "model": f"{BUCKET}/{number}.zip",
                "sha256": storage.file_sha256(path),
            }
        )
    return requests


def ask(http: httpx.Client, request: dict[str, str]) -> float:
    """Seconds of one request, to an output of its own."""
    started = time.monotonic()
    answer = http.post("/predict", json={**request, "output": f"{BUCKET}/out/{uuid.uuid4().hex}"})
    answer.raise_for_status()
    return time.monotonic() - started


def throughput(folder: Path, count: int) -> None:
    """8 clients against one."""
    [request] = upload(folder, 512)
    with serve() as (http, _):
        ask(http, request)
        started = time.monotonic()
        one = [ask(http, request) for _ in range(count)]
        alone = count / (time.monotonic() - started)
        started = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            many = list(pool.map(lambda _: ask(http, request), range(count)))
        together = count / (time.monotonic() - started)
    told = f"{together:.2f}/s against {alone:.2f}/s"
    print(f"8 clients against one: {together / alone:.2f} times its throughput ({told}; to reach: 1)")
    for name, seconds in (("one client", one), ("8 clients", many)):
        p95 = statistics.quantiles(seconds, n=20)[-1]
        print(f"  {name}: median {statistics.median(seconds):.3f} s, p95 {p95:.3f} s, no error in {count}")


def overhead(folder: Path, count: int) -> None:
    """A request against the same prediction in this process; in turns, as the machine is shared."""
    [request] = upload(folder, 16)
    models = WarmModels(2, settings.warm_mb())
    predictor = Predictor(models, "onnx")

    def in_process() -> float:
        started = time.monotonic()
        wanted = PredictionRequest(**request, output=f"{BUCKET}/out/{uuid.uuid4().hex}")  # type: ignore[arg-type]
        job = Job(job_id="0", caller="", request=wanted, sha256=request["sha256"], created=now())
        predictor.predict(Ticket(job, predictor.describe(wanted)), is_large=False)
        return time.monotonic() - started

    with serve() as (http, _):
        ask(http, request)
        in_process()
        pairs = [(ask(http, request), in_process()) for _ in range(count)]
    models.close()
    theirs, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    told = f"{theirs * 1e3:.1f} ms against {ours * 1e3:.1f} ms, medians of {count}"
    print(
        f"a request against the prediction in process: {theirs / ours:.2f} times ({told}; to reach: at most "
        "1.3)"
    )


def memory(folder: Path, count: int) -> None:
    """After all requests against after a tenth of them; five of a bundle in a row."""
    requests = upload(folder, 64, bundles=5)

    def held_mb() -> float:
        processes = [server, *server.children(recursive=True)]
        return float(sum(process.memory_info().rss for process in processes)) / 1e6

    with serve() as (http, server):
        marks = {}
        for number in range(count):
            ask(http, requests[number // 5 % 5])
            if number + 1 in (count // 10, count):
                marks[number + 1] = held_mb()
    (first, early), (last, late) = marks.items()
    told = f"{late:.0f} MB after {last}, {early:.0f} MB after {first}"
    print(f"memory of server and models: {late / early:.2f} times ({told}; to reach: at most 1.1)")


_CASES = {"throughput": (throughput, 48), "overhead": (overhead, 60), "memory": (memory, 1000)}


def main() -> None:
    """Run the cases that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="*", choices=[*_CASES, []], help="default: all")
    parser.add_argument("--count", type=int, help="requests (default: 48, 60 and 1000)")
    arguments = parser.parse_args()
    s3 = subprocess.Popen(
        [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(_S3_PORT)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.environ |= {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{_S3_PORT}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    try:
        _wait_for_s3()
        for name in arguments.case or _CASES:
            case, count = _CASES[name]
            with tempfile.TemporaryDirectory() as folder:
                case(Path(folder), arguments.count or count)
    finally:
        s3.terminate()
        s3.wait()


def _wait_for_s3() -> None:
    while True:
        try:
            storage.s3().create_bucket(Bucket=BUCKET.removeprefix("s3://"))
            return
        except BotoCoreError:
            time.sleep(0.2)


if __name__ == "__main__":
    main()
