"""The storage's door: whatever S3 or the disk does, one line says what to do, and by its cause."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from orthostat import storage
from orthostat.errors import MissingError, OutageError, StorageError
from orthostat.storage.translation import translated

URI = "s3://bucket/key"


@pytest.fixture
def web_server() -> Iterator[str]:
    """An address where a web page answers, whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = b"<html><body>Welcome</body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page if self.command != "HEAD" else b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def use_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    storage.s3.cache_clear()


@pytest.mark.parametrize("address", ["no address", "http://", "ftp://127.0.0.1", "http://127.0.0.1:1"])
def test_an_endpoint_that_is_none_is_an_outage(s3_bucket: str, monkeypatch, address: str) -> None:
    use_endpoint(address, monkeypatch)
    for call in (
        storage.describe,
        storage.read_bytes,
        storage.exists,
        lambda uri: list(storage.list_objects(uri)),
    ):
        with pytest.raises(OutageError, match="check AWS_ENDPOINT_URL_S3"):
            call(URI)


def test_an_endpoint_that_answers_with_a_web_page_is_an_outage(s3_bucket, monkeypatch, web_server) -> None:
    use_endpoint(web_server, monkeypatch)
    for call in (storage.describe, lambda uri: list(storage.list_objects(uri))):
        with pytest.raises(OutageError, match="check AWS_ENDPOINT_URL_S3"):
            call(URI)


@pytest.mark.parametrize("key", ["a\0b", "x" * 2000, "\ud800", "../..", ""])
def test_a_key_that_is_none_is_refused_or_not_there(s3_bucket: str, key: str) -> None:
    for call in (storage.describe, storage.read_bytes):
        with pytest.raises(StorageError):
            call(f"{s3_bucket}/{key}")


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "/".join("x" * 200 for _ in range(30))])
def test_a_path_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    uri = f"{tmp_path}/{path}"
    calls = (storage.describe, storage.read_bytes, storage.delete, lambda uri: storage.write_bytes(uri, b"x"))
    for call in calls:
        with pytest.raises(StorageError):
            call(uri)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(StorageError, match="is no regular file"):
            storage.read_bytes(str(path))
    with pytest.raises(MissingError):
        storage.read_bytes(str(tmp_path / "pipe" / "below"))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"\xff\xfe", b"1" * 5000])
def test_json_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(StorageError, match="is not valid JSON"):
        storage.read_json(str(tmp_path / "a.json"))


@pytest.mark.parametrize(("broken", "is_read"), [(2, True), (3, False)])
def test_bytes_that_break_off_are_asked_for_again(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: int, is_read: bool
) -> None:
    answers = iter([b"five "] * broken + [b"five bytes"] * 10)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.send_header("ETag", '"e"')
            self.end_headers()
            self.wfile.write(next(answers))

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setattr(storage.objects.time, "sleep", lambda _: None)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use_endpoint(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        path = tmp_path / "copy"
        try:
            if is_read:
                storage.download(URI, path)
                assert path.read_bytes() == b"five bytes"
            else:
                with pytest.raises(OutageError, match=r"5 more expected|5 read"):
                    storage.read_bytes(URI)
        finally:
            server.shutdown()
    storage.s3.cache_clear()


def test_a_machine_without_a_key_is_told_where_it_belongs() -> None:
    message = r"there is no key for S3 .* Secret that resources.environment_secret names"
    with pytest.raises(OutageError, match=message), translated("s3://b/a"):
        raise NoCredentialsError


def test_a_wrong_secret_fails_for_good() -> None:
    answer = {"Error": {"Code": "SignatureDoesNotMatch"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    with pytest.raises(OutageError, match="correct AWS_SECRET_ACCESS_KEY") as error, translated("s3://b/a"):
        raise ClientError(answer, "GetObject")
    assert error.value.is_final
