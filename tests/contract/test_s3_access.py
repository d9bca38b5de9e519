"""Who may use the server, and from where."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from orthostat.local import configuration
from orthostat.local.process import find
from orthostat.local.s3 import program
from tests.contract.servers import Embedded, Server

EXAMPLE = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
STRANGERS: dict[str, tuple[dict[str, Any], str]] = {
    "anonymous": ({"config": Config(signature_version=UNSIGNED)}, "AccessDenied"),
    "wrong secret": ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
    "wrong key": ({"aws_access_key_id": "wrong"}, "InvalidAccessKeyId"),
    "the keys of examples": (EXAMPLE, "InvalidAccessKeyId"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_refused(server: Server, s3, bucket, name: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"mine")
    stranger = server.client(**STRANGERS[name][0])
    calls = (
        lambda: stranger.get_object(Bucket=bucket, Key="a"),
        lambda: stranger.head_object(Bucket=bucket, Key="a"),
        lambda: stranger.put_object(Bucket=bucket, Key="a", Body=b"theirs"),
        lambda: stranger.delete_object(Bucket=bucket, Key="a"),
        lambda: stranger.list_objects_v2(Bucket=bucket),
        lambda: stranger.list_buckets(),
        lambda: stranger.create_bucket(Bucket=f"{bucket}-theirs"),
    )
    for call in calls:
        with pytest.raises(ClientError):
            call()
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"mine"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a"]


@pytest.mark.parametrize("name", STRANGERS)
def test_a_refusal_says_why(server: Server, bucket, name: str) -> None:
    """A refusal that read as *not found* would pass for an object that is not there yet."""
    changes, code = STRANGERS[name]
    stranger = server.client(**changes)
    with pytest.raises(ClientError) as error:
        stranger.get_object(Bucket=bucket, Key="a")
    assert error.value.response["Error"]["Code"] == code
    with pytest.raises(ClientError) as error:
        stranger.head_object(Bucket=bucket, Key="a")
    assert error.value.response["Error"]["Code"] == "403"


def test_the_embedded_server_is_reached_by_its_keys_alone(embedded: Embedded) -> None:
    """It is several servers in one: none lets anybody past the keys, and none listens to the network."""
    embedded.start()
    process = find(program(embedded.local_dir))
    assert process is not None
    listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    chosen = configuration.read(embedded.local_dir)
    assert {address.port for address in listening} == {chosen.s3_port, *chosen.s3_inner_ports}
    assert not [c for c in process.net_connections("inet") if c.raddr and c.raddr.ip != "127.0.0.1"]
    for port in chosen.s3_inner_ports:
        for path in (
            "/dir/assign",
            "/dir/lookup?volumeId=1",
            "/vol/grow",
            "/submit",
            "/buckets/",
            "/1,01234567",
        ):
            for method in ("GET", "POST", "DELETE"):
                assert not is_served(port, method, path), (port, method, path)


def is_served(port: int, method: str, path: str) -> bool:
    try:
        return httpx.request(method, f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=5).is_success
    except httpx.HTTPError:
        return False


def test_the_keys_of_the_embedded_server_are_its_owners(embedded: Embedded) -> None:
    first, again = embedded.start(), configuration.read(embedded.local_dir)
    assert (first.access_key, first.secret_key) == (again.s3_access_key, again.s3_secret_key)
    assert len(first.secret_key) >= 40
    private = [embedded.local_dir / "config.json", embedded.local_dir / "s3"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)
    shown = " ".join(find(program(embedded.local_dir)).cmdline())
    assert first.secret_key not in shown
    assert again.s3_inner_secret not in shown


@pytest.mark.parametrize(
    ("asked", "shown"), [("volume.list", "DataNode"), ("fs.ls /buckets", "orthostat-ready")]
)
def test_the_embedded_servers_own_tool_is_a_stranger(embedded: Embedded, asked: str, shown: str) -> None:
    """Its administrator's shell reads everything where no certificate is asked for."""
    embedded.start()
    assert shown in ask_shell(embedded, asked, 120, **program(embedded.local_dir).settings)
    assert shown not in ask_shell(embedded, asked, 8)


def ask_shell(embedded: Embedded, command: str, timeout_s: float, **secrets: str) -> str:
    """What `weed shell` prints within that time; without the certificate it would wait for ever."""
    ports = configuration.read(embedded.local_dir).s3_inner_ports
    places = [f"-master=127.0.0.1:{ports[4]}.{ports[0]}", f"-filer=127.0.0.1:{ports[6]}.{ports[2]}"]
    try:
        done = subprocess.run(
            [Path(sys.executable).with_name("weed"), "shell", *places],
            input=f"{command}\n".encode(),
            capture_output=True,
            timeout=timeout_s,
            check=False,
            cwd=embedded.local_dir,
            env={**os.environ, "TMPDIR": str(embedded.local_dir), **secrets},  # where it logs
        )
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode()
    return done.stdout.decode()
