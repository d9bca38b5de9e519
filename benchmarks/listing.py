"""`python -m benchmarks.listing [--keys N] [--runs N]`: listing an archive against paging with boto3 alone.

A server in a process of its own answers ListObjectsV2 with pages of generated keys: a hundred thousand scenes
a year. The peer reads every page with boto3's paginator and does nothing with it. Listing finds the scenes of
a month, and when every other was acquired, as judging needs; then the same archive with dates in its address,
and the ledger of ten years of which nothing is predicted. Each is a process of its own: CPU seconds without
its start, requests, and peak memory. Runs are by turns, and their medians count.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from os import environ
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

LIMITS = {"ratio": 1.2, "peak_mb": 500}
_PAGE = 1000
_A_DAY = 274
_FIRST = date(2020, 1, 1)
_ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>1000000000</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)


def make_key(number: int) -> str:
    """The key of a scene, in order of acquisition."""
    day = _FIRST + timedelta(days=number // _A_DAY)
    return f"scenes/{day:%Y/%m/%d}/S2A_MSIL2A_{day:%Y%m%d}_R{number % _A_DAY:03}_T32UQD_{number:07}.tif"


class Archive(BaseHTTPRequestHandler):
    """An S3 that answers ListObjectsV2 with a given number of keys."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    keys = 0

    def do_GET(self) -> None:
        """One page: from the continuation token, else from the first key with the prefix."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        prefix = query.get("prefix", "")
        start = int(query.get("continuation-token") or self._first(prefix))
        page = [make_key(number) for number in range(start, min(start + _PAGE, self.keys))]
        page = [key for key in page if key.startswith(prefix)]
        is_truncated = len(page) == _PAGE and start + _PAGE < self.keys
        token = f"<NextContinuationToken>{start + _PAGE}</NextContinuationToken>" if is_truncated else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{_PAGE}</MaxKeys><IsTruncated>{str(is_truncated).lower()}</IsTruncated>{token}"
            f"{''.join(map(_ENTRY.format, page))}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _first(self, prefix: str) -> int:
        """Number of the first key that is not before `prefix`, by halves."""
        low, high = 0, self.keys
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if make_key(middle) < prefix else (low, middle)
        return low

    def log_message(self, *args: object) -> None:
        """Nothing: a line per page would be noise."""


def serve(keys: int, told: Connection) -> None:
    """Serve until the process is ended; tells its port."""
    Archive.keys = keys
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    told.send(server.server_port)
    server.serve_forever()


def page_alone() -> int:
    """Every page with boto3's paginator; returns the number of keys."""
    from orthostat import storage

    pages = storage.s3().get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="scenes/")
    return sum(len(page.get("Contents", [])) for page in pages)


def list_archive(address: str = "") -> int:
    """The scenes of a month; returns their number."""
    from orthostat.pipelines.config import Scenes
    from orthostat.pipelines.window import window_of_days
    from orthostat.scenes.archive import list_scenes

    pattern = r"(?P<scene_id>S2\w_MSIL2A_(?P<acquired>\d{8})_R\d{3}_T\w{5}_\d+)\.tif$"
    scenes = Scenes(uri=f"s3://bucket/scenes/{address}", pattern=pattern)
    return len(list_scenes(scenes, window_of_days(date(2021, 1, 1), date(2021, 1, 31))).scenes)


def read_empty_ledger() -> int:
    """Ten years of which nothing is predicted; returns the number of marks."""
    from orthostat.layout import Layout
    from orthostat.pipelines.window import window_of_days
    from orthostat.scenes.ledger import read_ledger

    window = window_of_days(date(2015, 1, 15), date(2024, 12, 15))
    return len(read_ledger(Layout("s3://bucket/made"), "0" * 64, "1" * 64, window).marks)


TASKS: dict[str, Callable[[], int]] = {
    "boto3 alone": page_alone,
    "listing": list_archive,
    "listing by date": lambda: list_archive("{acquired:%Y/%m/%d}/"),
    "empty ledger": read_empty_ledger,
}


def run_task(name: str) -> None:
    """Do one thing in this process; prints what came of it and what it took."""
    from orthostat import storage

    requests: list[str] = []
    storage.s3().meta.events.register("before-send.s3", lambda request, **_: requests.append(request.url))
    cpu_s = time.process_time()
    found = TASKS[name]()
    cpu_s = time.process_time() - cpu_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"found": found, "requests": len(requests), "cpu_s": cpu_s, "peak_mb": peak_mb}))


def measure_all(endpoint: str, runs: int) -> dict[str, dict[str, float]]:
    """The medians of each task, which take turns."""
    variables = {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in TASKS}
    for _ in range(runs):
        for name, results in found.items():
            command = [sys.executable, "-m", "benchmarks.listing", "--task", name]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env={**environ, **variables}
            )
            results.append(json.loads(done.stdout))
    return {
        name: {key: round(statistics.median(one[key] for one in results), 2) for key in results[0]}
        for name, results in found.items()
    }


def main() -> None:
    """Print what each takes, and the ratio of the listing's CPU seconds to boto3's alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        run_task(arguments.task)
        return
    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(arguments.keys, there), daemon=True)
    server.start()
    try:
        found = measure_all(f"http://127.0.0.1:{here.recv()}", arguments.runs)
    finally:
        server.kill()
    ratio = found["listing"]["cpu_s"] / found["boto3 alone"]["cpu_s"]
    print(
        json.dumps(
            {"keys": arguments.keys, **found, "ratio": round(ratio, 2), "limits": LIMITS},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
