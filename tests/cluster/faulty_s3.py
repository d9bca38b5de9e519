"""A way to S3 on which things go wrong, by a seed: the same request meets the same fault at the same time."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SHARES = {"500": 0.02, "503": 0.02, "slow": 0.02, "truncated": 0.02, "lost": 0.01}
"""How many of the requests meet which fault; `lost`: it is carried out, and the answer says 500."""
_METHODS = {"truncated": {"GET"}, "lost": {"PUT", "POST", "DELETE"}}
"""What some faults can be done to; the others to every request."""
_SLOW_S = 3
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}


class FaultyS3(ThreadingHTTPServer):
    """Hands requests on as they are, signature and all, to the S3 server at `target`."""

    daemon_threads = True

    def __init__(self, address: str, target: str, seed: int) -> None:
        """Listen on a free port of `address`."""
        super().__init__((address, 0), _Handler)
        self.target, self.seed = str(urlsplit(target).netloc), seed
        self.written: Counter[str] = Counter()
        """How often a key was written; a write whose answer was lost is not counted, it comes again."""
        self.met: Counter[str] = Counter()
        """How often a fault was done to a request that it can be done to."""
        self._asked: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Its URL, for pods too."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def handle_error(self, *_: object) -> None:
        """A pod that is killed hangs up."""

    def choose(self, method: str, path: str) -> str:
        """The fault of a request, or an empty string; depends on how often the same one came before."""
        below = path[1:].partition("/")[2]  # whatever the bucket is called this time
        with self._lock:
            self._asked[method, below] += 1
            drawn = random.Random(f"{self.seed} {method} {below} {self._asked[method, below]}").random()
            for fault, share in SHARES.items():
                drawn -= share
                if drawn < 0:
                    is_possible = method in _METHODS.get(fault, {method})
                    self.met[fault] += is_possible
                    return fault if is_possible else ""
        return ""

    def count(self, path: str) -> None:
        """Remember that a key was written."""
        with self._lock:
            self.written[path] += 1


class _Handler(BaseHTTPRequestHandler):
    server: FaultyS3
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """The tests say what went wrong."""

    def _pass_on(self) -> None:
        body = self._read_body()
        fault = self.server.choose(self.command, self.path)
        if fault in {"500", "503"}:
            self._refuse(int(fault))
            return
        if fault == "slow":
            time.sleep(_SLOW_S)
        connection = HTTPConnection(self.server.target, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if fault == "lost":
            self._refuse(500)
            return
        if self.command == "PUT" and answer.status == 200:
            self.server.count(urlsplit(self.path).path)
        self._answer(answer, content, is_truncated=fault == "truncated")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - as the library calls them

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        raise AssertionError("no client of ours sends chunks of unknown length")

    def _refuse(self, status: int) -> None:
        name = {500: "InternalError", 503: "SlowDown"}[status]
        content = f"<Error><Code>{name}</Code><Message>on purpose</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer(self, answer: HTTPResponse, content: bytes, *, is_truncated: bool) -> None:
        self.send_response_only(answer.status, answer.reason)
        has_length = False
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
                has_length |= name.lower() == "content-length"
        if not has_length and self.command != "HEAD" and answer.status not in {204, 304}:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.close_connection |= is_truncated
        self.wfile.write(content[: len(content) // 2] if is_truncated else content)


@contextmanager
def open_faulty_s3(address: str, target: str, seed: int) -> Iterator[FaultyS3]:
    with FaultyS3(address, target, seed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
