"""Temporary folders that leave nothing behind: not after an end by a signal, nor for long after SIGKILL."""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
"""What the file system says when it takes nothing at all."""
_PREFIX, _LOCK = "orthostat-scratch-", ".lock"
_open: set[Path] = set()
"""The folders of this process."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder below TMPDIR that is gone afterwards.

    Its lock lies beside it, made before and removed after it: whatever is left, a lock shows it.
    """
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
    _open.add(folder)
    with _lock(folder):  # held until this process ends, however it does
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            _remove(folder)
            _open.discard(folder)


def remove_leftovers() -> None:
    """Remove the folders of processes that were killed: nobody holds their locks any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{_LOCK}"):
        with contextlib.suppress(OSError), path.open("r+") as lock:  # in use, or another user's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = path.with_suffix("")
            log.info("removed %s, which a killed process left", folder)
            _remove(folder)


def leave(code: int) -> None:
    """End this process at once, without waiting for threads, and without its folders."""
    for folder in list(_open):
        _remove(folder)
    os._exit(code)


def _lock(folder: Path) -> IO[str]:
    """The folder's lock; one that was taken for a leftover before it was held is made again."""
    path = folder.with_name(folder.name + _LOCK)
    while True:
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                return lock
        lock.close()


def _remove(folder: Path) -> None:
    """The folder, then its lock; that stays while anything is left."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        folder.with_name(folder.name + _LOCK).unlink(missing_ok=True)
