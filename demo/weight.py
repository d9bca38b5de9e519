"""What the demo costs a newcomer: bytes fetched and on disk, and seconds."""

import os
import sys
import time
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

LOCK = Path(__file__).parents[1] / "uv.lock"


def describe_weight(began: float) -> str:
    """A sentence; `began` is when the demo's own process did, in seconds of the epoch.

    `make demo` says in DEMO_BEGAN when it began, which counts the setting up.
    """
    seconds = time.time() - float(os.environ.get("DEMO_BEGAN", began))
    if not LOCK.is_file():  # in an image
        return f"This took {seconds:.0f} s."
    fetched, packages = fetched_bytes()
    return (
        f"This took {seconds:.0f} s, setting up included. Environment: {packages} packages, "
        f"{fetched / 1e9:.2f} GB to fetch, {disk_bytes(Path(sys.prefix)) / 1e9:.2f} GB on disk."
    )


def fetched_bytes() -> tuple[int, int]:
    """Bytes of the locked wheels of what is installed here, and how many packages these are."""
    locked: dict[str, dict[str, Any]] = {
        entry["name"]: entry for entry in tomllib.loads(LOCK.read_text())["package"]
    }
    ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
    sizes = [
        size
        for found in distributions()
        if (size := _size(locked.get(canonicalize_name(found.metadata["Name"]), {}), ranks))
    ]
    return sum(sizes), len(sizes)


def disk_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _size(entry: dict[str, Any], ranks: dict[Any, int]) -> int:
    """Of the wheel that fits this machine best, else of the source."""
    fitting = []
    for wheel in entry.get("wheels", []):
        try:
            tags = parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None:
            fitting.append((rank, wheel.get("size", 0)))
    return int(min(fitting)[1] if fitting else entry.get("sdist", {}).get("size", 0))
