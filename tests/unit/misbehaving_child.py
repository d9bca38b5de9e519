"""The child of ModelProcess with a model that does what the largest value of a chip tells it to."""

import ctypes
import os
import signal
import sys
import time

import numpy as np

from orthostat.prediction import child
from orthostat.prediction.engines.onnx import OnnxEngine

EXIT, LEAVE, KILL, SEGFAULT, HANG, RAISE, INTERRUPT, TALK, TELL, BREAK, SWELL, NAN = range(60001, 60013)
segment = OnnxEngine.segment


def leave() -> None:
    print("the last words", flush=True)
    os._exit(3)


def fail(error: BaseException) -> None:
    raise error


def swell() -> None:
    kept = [np.ones(20_000_000) for _ in range(15)]  # 2.4 GB
    time.sleep(600 + len(kept))


ACTS = {
    EXIT: lambda: sys.exit(0),
    LEAVE: leave,
    KILL: lambda: os.kill(os.getpid(), signal.SIGKILL),
    SEGFAULT: lambda: ctypes.string_at(0),
    HANG: lambda: time.sleep(600),
    RAISE: lambda: fail(RuntimeError("shapes do not match")),
    INTERRUPT: lambda: fail(KeyboardInterrupt()),
    TALK: lambda: print("x" * 10_000_000, flush=True),
    TELL: lambda: fail(RuntimeError(" ".join(sorted(os.environ)))),
    BREAK: lambda: fail(RuntimeError("CUDA error: device-side assert triggered")),
    SWELL: swell,
}


def misbehave(self, chips, *, scores):
    act = round(float(chips.max()) * 65535)
    ACTS.get(act, lambda: None)()
    values = np.full_like(chips, np.nan) if act == NAN else np.asarray(chips)
    return segment(self, values, scores=scores)


if __name__ == "__main__":
    OnnxEngine.segment = misbehave
    child.main()
