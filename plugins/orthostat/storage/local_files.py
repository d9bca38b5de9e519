"""Files of this machine alone."""

import hashlib
from pathlib import Path
from typing import Any

from orthostat.storage.json_objects import dump_json


def write_private_json(path: Path, value: Any) -> None:
    """Write `value` as JSON into a local file that only its owner can read."""
    write_private(path, dump_json(value))


def write_private(path: Path, data: bytes) -> None:
    """Write a local file that only its owner can read, from its first byte on."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_bytes(data)
    part.replace(path)


def file_sha256(path: Path) -> str:
    """SHA-256 in hex of a local file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
