"""What the embedded server keeps: over a restart, a kill, a disk that is full."""

import hashlib
import os
import random
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from orthostat.local import configuration, process, s3
from tests.contract.servers import Embedded

BUCKET = "orthostat-contract"
WRITERS = 8
SIZES = (0, 40, 5_000, 300_000, 6_000_000)
"""Bytes; the server cuts what is larger than 4 MiB."""


def content(name: str, number: int) -> bytes:
    """Bytes that no other turn writes."""
    seed = hashlib.sha256(f"{name} {number}".encode()).digest()
    return (seed * (SIZES[number % len(SIZES)] // 32 + 1))[: SIZES[number % len(SIZES)]]


class Writers:
    """Threads that overwrite objects, and know which of them were acknowledged."""

    def __init__(self, client: Any):
        self.client = client
        self.acknowledged = 0
        self.may_be_there: dict[str, list[bytes | None]] = defaultdict(lambda: [None])
        """The version that was acknowledged last, and those that were begun after it."""
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(f"writer-{n}",)) for n in range(WRITERS)]

    def _write(self, name: str) -> None:
        for number in range(10_000):
            key, data = f"{name}/{number % 11}", content(name, number)
            self.may_be_there[key].append(data)
            try:
                self.client.put_object(Bucket=BUCKET, Key=key, Body=data)
            except (ClientError, BotoCoreError):
                return
            self.may_be_there[key] = [data]
            self.acknowledged += 1
            if self.acknowledged >= 200:
                self.enough.set()


def test_a_kill_in_the_midst_of_writing_loses_and_tears_nothing(embedded: Embedded) -> None:
    server = embedded.start()
    server.client().create_bucket(Bucket=BUCKET)
    for _ in range(2):
        writers = Writers(server.client())
        for thread in writers.threads:
            thread.start()
        assert writers.enough.wait(120)
        embedded.kill()
        for thread in writers.threads:
            thread.join()
        client = embedded.start().client()
        listed = {entry["Key"]: entry for entry in client.list_objects_v2(Bucket=BUCKET)["Contents"]}
        for key, versions in writers.may_be_there.items():
            if key not in listed:
                assert None in versions, f"{key} was acknowledged and is gone"
                continue
            data = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            assert data in versions, f"{key} is torn, or older than what was acknowledged"
            assert listed[key]["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
        for key in listed:
            client.delete_object(Bucket=BUCKET, Key=key)


def test_objects_stay_where_other_ports_have_to_be_taken(embedded: Embedded) -> None:
    client = embedded.start().client()
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="a", Body=b"x" * 100_000)
    embedded.kill()
    chosen = configuration.read(embedded.local_dir)
    ports = configuration.free_ports(8)
    other = {"s3_port": ports[0], "s3_inner_ports": ports[1:]}
    configuration.write(embedded.local_dir, chosen.model_copy(update=other))
    client = embedded.start().client()
    assert client.get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"x" * 100_000
    client.put_object(Bucket=BUCKET, Key="b", Body=b"y")
    embedded.kill()
    client = embedded.start().client()
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["a", "b"]
    assert client.get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"x" * 100_000


def test_a_server_that_nobody_remembers_ends_before_another_starts(embedded: Embedded) -> None:
    """Its pid file is gone, as after a disk that was full: two servers would write into the same files."""
    client = embedded.start().client()
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="a", Body=b"x")
    program = s3.program(embedded.local_dir)
    forgotten = process.find(program)
    assert forgotten is not None
    program.pid_path.unlink()
    client = embedded.start().client()
    assert not forgotten.is_running() or forgotten.status() == psutil.STATUS_ZOMBIE
    assert client.get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"x"


@pytest.fixture
def on_a_small_disk(embedded: Embedded) -> Iterator[Embedded]:
    """An embedded server whose folder is a file system of 300 MB."""
    folder = embedded.local_dir / "disk"
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk here")
    server = Embedded(folder)
    try:
        yield server
    finally:
        server.kill()
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_an_error_and_spoils_nothing(on_a_small_disk: Embedded) -> None:
    client = on_a_small_disk.start().client()
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="before", Body=b"before")
    written = {"before": b"before"}
    assert write_until_it_fails(client, "large", 8_000_000, written) >= 500
    with pytest.raises(ClientError):
        client.put_object(Bucket=BUCKET, Key="before", Body=random.Random(1).randbytes(8_000_000))
    assert write_until_it_fails(client, "small", 100_000, written) >= 500
    assert_whole(client, written)
    on_a_small_disk.kill()
    assert_whole(on_a_small_disk.start().client(), written)


def write_until_it_fails(client: Any, name: str, size: int, written: dict[str, bytes]) -> int:
    """Write objects, and remember those that were acknowledged; returns the error's status."""
    for number in range(100):
        key, data = f"{name}-{number:03d}", random.Random(number).randbytes(size)
        try:
            client.put_object(Bucket=BUCKET, Key=key, Body=data)
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        written[key] = data
    return 0


def assert_whole(client: Any, written: dict[str, bytes]) -> None:
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == sorted(written)
    for key, data in written.items():
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == data
