"""An embedded S3 server: SeaweedFS, whose objects lie in the services' folder.

It is a cluster in one process: four servers that speak to each other. So that nobody on this machine gets
past the S3 interface, which asks for the keys, the others do nothing over HTTP without a signed token, and
know each other by a certificate.
"""

import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from orthostat import storage
from orthostat.local import configuration
from orthostat.local.certificate import make_certificate
from orthostat.local.configuration import Configuration
from orthostat.local.process import Program, wait_for_end

_READY = "orthostat-ready"
"""A bucket with one object, which is there to be read: the server answers before it has its objects."""
_SERVERS = ("master", "volume", "filer", "s3")
_TEMPORARY = Path("/tmp")
"""Where the server puts its socket files, whatever TMPDIR says."""
_TOKENS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
_MISSING = {"NoSuchBucket", "NoSuchKey"}


def program(local_dir: Path) -> Program:
    """The server whose objects lie in `local_dir/s3`; on loopback only, and it reports to nobody."""
    chosen = configuration.read(local_dir)
    home = _home(local_dir)
    ports = [*chosen.s3_inner_ports, chosen.s3_port]
    options = {
        "dir": "s3/data",  # from where it runs: it takes a comma in a path for the end of it
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "disableHttp": "true",
        "filer": "true",
        "s3": "true",
        **{f"{name}.port.grpc": port for name, port in zip(_SERVERS, ports[:4], strict=True)},
        **{f"{name}.port": port for name, port in zip(_SERVERS, ports[4:], strict=True)},
        "master.telemetry": "false",
        # After a crash it elects itself; by default it waits a quarter of a minute for others.
        "master.electionTimeout": "1s",
        "master.volumeSizeLimitMB": 1024,
        # No limit but the disk's: a server that has less free takes nothing more, and says so.
        "volume.max": 10_000,
        "volume.minFreeSpace": "100MiB",
        "volume.preStopSeconds": 0,
        "s3.config": home / "identities.json",
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    weed = str(Path(sys.executable).with_name("weed"))
    command = [weed, "server", *(f"-{name}={value}" for name, value in options.items())]
    # The caller's HOME may hold options for a server of theirs.
    return Program("s3", command, local_dir, _secrets(home, chosen), {"HOME": str(home)})


def prepare(local_dir: Path) -> None:
    """Make what the server needs before it is launched: its folder, who may use it, its certificate."""
    chosen = configuration.read(local_dir)
    home = _home(local_dir)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "data").mkdir(exist_ok=True)
    keys = {"accessKey": chosen.s3_access_key, "secretKey": chosen.s3_secret_key}
    identity = {"name": "orthostat", "credentials": [keys], "actions": ["Admin"]}
    storage.write_private_json(home / "identities.json", {"identities": [identity]})
    storage.write_private(home / "tls.pem", make_certificate())
    _end_forgotten(home)
    _remove_sockets(chosen)


def release(local_dir: Path) -> None:
    """Leave nothing of a stopped server in the temporary folder."""
    _remove_sockets(configuration.read(local_dir))


def is_ready(chosen: Configuration) -> bool:
    """Whether the server takes objects and gives them back."""
    client = _client(chosen.s3_endpoint, chosen.s3_access_key, chosen.s3_secret_key)
    try:
        client.get_object(Bucket=_READY, Key=_READY)["Body"].read()
    except ClientError as error:
        return error.response["Error"]["Code"] in _MISSING and _write_probe(client)
    except BotoCoreError:
        return False
    return True


def _write_probe(client: Any) -> bool:
    try:
        client.create_bucket(Bucket=_READY)
        client.put_object(Bucket=_READY, Key=_READY, Body=b"ready")
    except (ClientError, BotoCoreError):
        return False
    return True


@cache
def _client(endpoint: str, access_key: str, secret_key: str) -> Any:
    patience = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10, proxies={})
    # A profile that the shell names may be unknown here, and leads elsewhere.
    no_profile = Session(session_vars={"profile": (None, None, None, None)})
    return boto3.Session(botocore_session=no_profile).client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=patience,
    )


def _secrets(home: Path, chosen: Configuration) -> dict[str, str]:
    """Variables that no listing of processes shows: the inner servers' keys and their certificate."""
    pem = str(home / "tls.pem")
    servers = [name.upper() for name in (*_SERVERS, "client")]
    return {
        **{f"WEED_JWT_{name}_KEY": chosen.s3_inner_secret for name in _TOKENS},
        **{f"WEED_GRPC_{name}_{part}": pem for name in servers for part in ("CERT", "KEY")},
        "WEED_GRPC_CA": pem,
        # One file to begin with for each bucket, not seven.
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
    }


def _end_forgotten(home: Path) -> None:
    """End a server on these data that nobody remembers: two would write into the same files."""
    ours = f"-s3.config={home / 'identities.json'}"
    forgotten = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if ours in process.cmdline():
                process.terminate()
                forgotten.append(process)
    for process in wait_for_end(forgotten):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _remove_sockets(chosen: Configuration) -> None:
    for port in (*chosen.s3_inner_ports, chosen.s3_port):
        for path in _TEMPORARY.glob(f"seaweedfs-*-{port}.sock"):
            path.unlink(missing_ok=True)


def _home(local_dir: Path) -> Path:
    return local_dir.resolve() / "s3"
