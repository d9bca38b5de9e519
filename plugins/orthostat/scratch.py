"""Temporary folders that leave nothing behind: not after an end by a signal, nor for long after SIGKILL."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX, _LOCK = "orthostat-scratch-", ".lock"
_YOUNG_SECONDS = 60
_open: set[Path] = set()
"""The folders of this process."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder below TMPDIR that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _open.add(folder)
    try:
        with (folder / "new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held until this process ends, however it does
            (folder / "new").rename(folder / _LOCK)
            inside = folder / "files"
            inside.mkdir()
            yield inside
    finally:
        _remove(folder)
        _open.discard(folder)


def remove_leftovers() -> None:
    """Remove the folders of processes that were killed: nobody holds their locks any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is in use, or another user's
            if not (folder / _LOCK).exists():  # being made or removed; or its process was killed meanwhile
                if time.time() - folder.stat().st_mtime > _YOUNG_SECONDS:
                    _remove(folder)
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                log.info("removed %s, which a killed process left", folder)
                _remove(folder)


def leave(code: int) -> None:
    """End this process at once, without waiting for threads, and without its folders."""
    for folder in list(_open):
        _remove(folder)
    os._exit(code)


def _remove(folder: Path) -> None:
    """Its lock last: a process that is killed meanwhile leaves a folder that shows what it is."""
    shutil.rmtree(folder / "files", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
