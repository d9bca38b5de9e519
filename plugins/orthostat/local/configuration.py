"""What the local services keep from one start to the next: ports and secrets."""

import base64
import random
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orthostat import storage
from orthostat.errors import ServiceError
from orthostat.statistics import AIRFLOW, READER, WORKER

INNER_PORTS = 7
USER = "admin"
"""The one user of the local Airflow."""
OWNER = "postgres"
"""Owns the databases of the embedded PostgreSQL."""
_PORTS_TRIED = 100
_RANDOM_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections."""


def is_free(port: int) -> bool:
    """Whether nobody listens to a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens to; at random, so that two folders that start at once take others."""
    tried = random.sample(_RANDOM_PORTS, len(_RANDOM_PORTS))
    return list(islice(filter(is_free, tried), number))


class Configuration(BaseModel):
    """The content of `config.json` in the services' folder (mode 0600)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_port: int = 8080
    """Airflow's UI and API."""
    s3_port: int = Field(default_factory=lambda: free_ports(1)[0])
    s3_inner_ports: list[int] = Field(default_factory=lambda: free_ports(INNER_PORTS))
    """Of the parts of the embedded S3 server."""
    s3_access_key: str = Field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = Field(default_factory=lambda: secrets.token_urlsafe(30))
    """Of the embedded S3 server's one user."""
    s3_inner_secret: str = Field(default_factory=lambda: secrets.token_hex(32))
    """By which the parts of the embedded S3 server trust each other."""
    s3: dict[str, str] | None = None
    """The AWS_* variables that lead to an S3 that is there already; None for the embedded server."""
    postgres: str | None = None
    """URL of a PostgreSQL server that is there already, without a database; None for the embedded one."""
    kubeconfig: str | None = None
    """File that leads to the cluster in which pods run; None for no cluster."""
    engine: Literal["auto", "onnx", "raster-vision"] = "auto"
    """What `engine: auto` in a pipeline file means."""
    password: str = Field(default_factory=lambda: secrets.token_urlsafe(12))
    """Of the user `admin`."""
    database_passwords: dict[str, str] = Field(
        default_factory=lambda: {user: secrets.token_hex(16) for user in (OWNER, AIRFLOW, WORKER, READER)}
    )
    """Of the users of PostgreSQL; the owner's for the embedded one alone."""
    fernet_key: str = Field(
        default_factory=lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    )
    """Encrypts the connections and variables in Airflow's database."""
    jwt_secret: str = Field(default_factory=lambda: secrets.token_hex(48))
    """Signs API tokens; SHA-512 asks for 64 bytes or more."""
    session_secret: str = Field(default_factory=lambda: secrets.token_hex(32))
    """Signs the UI's cookies."""

    @property
    def address(self) -> str:
        """URL of Airflow's UI."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def s3_endpoint(self) -> str:
        """URL of the S3 server."""
        given = self.s3 or {}
        endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
        if self.s3 is not None:
            return endpoint or "https://s3.amazonaws.com"
        return f"http://127.0.0.1:{self.s3_port}"


def read(local_dir: Path) -> Configuration:
    """The configuration in `local_dir`, made on first use. Raises ServiceError when its file is damaged."""
    path = local_dir / "config.json"
    if not path.is_file():
        configuration = Configuration()
        write(local_dir, configuration)
        return configuration
    try:
        configuration = Configuration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ServiceError(
            f"{path} is damaged ({error}); run `orthostat local down` and delete it"
        ) from error
    if configuration.model_fields_set != Configuration.model_fields.keys():
        write(local_dir, configuration)  # secrets that the version before did not have are made once
    return configuration


def write(local_dir: Path, configuration: Configuration) -> None:
    """Keep `configuration`, readable by its owner only."""
    local_dir.mkdir(parents=True, exist_ok=True)
    # Whoever reads meanwhile sees the whole old file or the whole new one; new files are of mode 0600.
    storage.write_private_json(local_dir / "config.json", configuration.model_dump())


@contextmanager
def claimed_port(port: int) -> Iterator[bool]:
    """Let nobody here take a port while its server starts, or starts again; False when somebody has it."""
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0orthostat-port-{port}")  # no file: it goes with this process
        except OSError:
            yield False
        else:
            yield True


@contextmanager
def free_port(wanted: int) -> Iterator[int]:
    """The first port from `wanted` on that nobody listens to on 127.0.0.1, nor gets from here meanwhile: of
    two folders that start at once, one would take the other's server for its own.

    Raises ServiceError when a hundred ports in a row are taken.
    """
    for port in range(wanted, wanted + _PORTS_TRIED):
        with claimed_port(port) as is_claimed:
            if is_claimed and is_free(port):
                yield port
                return
    raise ServiceError(f"ports {wanted} to {wanted + _PORTS_TRIED - 1} of 127.0.0.1 are all taken; free one")
