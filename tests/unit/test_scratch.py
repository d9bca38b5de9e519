"""Scratch: empty after any end, and what SIGKILL leaves goes with the next start."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orthostat import scratch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_is_gone_afterwards(folder: Path) -> None:
    with suppress(ValueError), scratch.scratch_folder() as inside:
        assert list(inside.iterdir()) == []
        (inside / "large.tif").write_text("x")
        raise ValueError("any")
    assert list(folder.iterdir()) == []


def test_a_folder_in_use_is_no_leftover(folder: Path) -> None:
    with scratch.scratch_folder() as inside:
        subprocess.run(
            [sys.executable, "-m", "orthostat", "pipelines", "check"], env=environment(folder), check=True
        )
        assert inside.is_dir()


@pytest.fixture
def endless() -> Iterator[tuple[str, threading.Event]]:
    """An S3 server that answers at once and never ends its answer, and whether it was asked."""
    asked = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            held.append(connection)
            request = connection.recv(65536)
            lines = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nETag: "e"\r\n'
            lines += b"Last-Modified: Wed, 01 May 2024 00:00:00 GMT\r\n\r\n"
            connection.sendall(lines)
            if request.startswith(b"GET"):
                connection.sendall(b"x" * 1000)
                asked.set()
            else:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for connection in held:
        connection.close()


def environment(folder: Path, endpoint: str = "") -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "plugins"),
        "TMPDIR": str(folder),
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }


def download(folder: Path, endpoint: str, asked: threading.Event) -> "subprocess.Popen[bytes]":
    """A command in the middle of a download that will not end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orthostat", "bundle", "show", "s3://bucket/bundle.zip"],
        env=environment(folder, endpoint),
        stderr=subprocess.PIPE,
    )
    assert asked.wait(60)
    while not list(folder.glob("orthostat-scratch-*/bundle.zip")):
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_sigterm_ends_a_download_within_the_grace_period(folder: Path, endless) -> None:
    process = download(folder, *endless)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=25)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in errors
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_start(folder: Path, endless) -> None:
    process = download(folder, *endless)
    process.kill()
    process.communicate()
    assert len(list(folder.iterdir())) == 2  # the folder and its lock
    subprocess.run(
        [sys.executable, "-m", "orthostat", "pipelines", "check"], env=environment(folder), check=True
    )
    assert list(folder.iterdir()) == []


def test_no_moment_of_a_kill_leaves_what_the_next_start_does_not_find(folder: Path) -> None:
    program = (
        "import tempfile; from orthostat.scratch import scratch_folder\n"
        "print(tempfile.gettempdir(), flush=True)\n"  # which tries the folder with a file of Python's own
        "while True:\n    with scratch_folder() as f: (f / 'a').touch()"
    )
    for number in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=environment(folder), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.0007 * number)
        process.kill()
        process.communicate()
    scratch.remove_leftovers()
    assert list(folder.iterdir()) == []
