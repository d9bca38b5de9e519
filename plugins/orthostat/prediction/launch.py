"""A model's process, which may start before it is known which model: it imports meanwhile."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from orthostat.prediction.environment import clean_environment
from orthostat.scratch import scratch_folder

_PROGRAM = ("-m", "orthostat.prediction.child")
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True)
class Launched:
    """A process of `orthostat.prediction.child` and the pipe to it."""

    process: "subprocess.Popen[bytes]"
    pipe: Connection

    def kill(self) -> None:
        """End it and whatever it has started, unless it has ended: its number may be another's by now."""
        self.pipe.close()
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def launch(scratch: Path) -> Launched:
    """Start a process that writes its temporary files into `scratch` and waits for its first message."""
    _hide_environment()
    ours, theirs = Pipe()
    process = subprocess.Popen(
        [sys.executable, *_PROGRAM, str(theirs.fileno())],
        stdin=subprocess.PIPE,  # never written to: it closes when this process ends, however it does
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[theirs.fileno()],
        cwd=scratch,
        env=clean_environment(scratch),
        start_new_session=True,
    )
    theirs.close()
    return Launched(process, ours)


@contextmanager
def launched_early() -> Iterator[Launched]:
    """A process to be used for the first model; at the end it is none any more, whether or not it was."""
    with scratch_folder() as folder:
        early = launch(folder)
        try:
            yield early
        finally:
            early.kill()


def _hide_environment() -> None:
    """Let no process of the same user read this one's environment and memory in /proc: a bundle is code."""
    with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
