"""Temporary folders that leave nothing behind: not after an end by a signal, nor for long after SIGKILL."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX, _LOCK = "orthostat-scratch-", ".lock"
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
        shutil.rmtree(folder, ignore_errors=True)
        _open.discard(folder)


def remove_leftovers() -> None:
    """Remove the folders of processes that were killed: nobody holds their locks any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # One without a lock is being made, or being removed; one of another user cannot be opened.
        with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            log.info("removed %s, which a killed process left", folder)
            shutil.rmtree(folder, ignore_errors=True)


def leave(code: int) -> None:
    """End this process at once, without waiting for threads, and without its folders."""
    for folder in list(_open):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)
