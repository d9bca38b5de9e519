"""What is said between the parent and one process of a model, from its start to its end."""

import collections
import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from orthostat.errors import LimitError, ModelError, OrthostatError
from orthostat.pipelines.limits import Limits
from orthostat.prediction.launch import Launched

log = logging.getLogger(__name__)

_LAST_LINES = 20
_CURE = "see whether `rastervision predict` runs with this bundle and image"
_LONGEST_LINE = 500
_FAREWELL_SECONDS = 5
_LOOK_SECONDS = 0.25
"""How often the process is looked at while it works."""
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class Conversation:
    """Messages to and from one process, and what it prints; it is ended when it takes more than it may."""

    def __init__(self, launched: Launched, limits: Limits):
        self.process = launched.process
        self._pipe = launched.pipe
        self._limits = limits
        self._is_closed = False
        self._printed: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def is_running(self) -> bool:
        """Whether the process can still answer."""
        return not self._is_closed and self.process.poll() is None

    @property
    def memory_mb(self) -> float:
        """What the process holds; 0 when it has ended."""
        if self._is_closed:
            return 0.0
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE_MB
        except (OSError, IndexError):
            return 0.0

    def send(self, message: dict[str, Any]) -> None:
        """Say something; that nobody hears it shows when the answer is waited for."""
        try:
            self._pipe.send_bytes(json.dumps(message).encode())
        except (BrokenPipeError, ConnectionResetError):
            log.debug("the process of the model has ended")

    def receive(self, what: str, deadline: float = float("inf")) -> dict[str, Any]:
        """The next message, before `deadline` on the monotonic clock; `what` is waited for, for the errors.

        Raises ModelError when the process ended, LimitError when it took more than it may: it is closed then.
        """
        silent = time.monotonic() + self._limits.silence_seconds
        try:
            while not self._pipe.poll(_LOOK_SECONDS):
                if self.process.poll() is not None and not self._pipe.poll():
                    raise EOFError  # what it has started may hold the pipe
                self._require_limits(what, silent, deadline)
            answer = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError, ValueError) as error:  # OSError: closed by another thread, too
            raise self._describe_end(what) from error
        if not isinstance(answer, dict):
            self.close()
            raise ModelError(f"{what}: the process of the model answered {answer!r:.100}")
        return answer

    def interrupt(self) -> None:
        """End the process from another thread: the one that waits for it gets a ModelError."""
        if not self._is_closed:
            self._kill_group()

    def kill(self) -> None:
        """End the process and whatever it has started, at once."""
        if not self._is_closed:
            self._kill_group()
            self.process.wait()

    def close(self) -> None:
        """Let the process end by itself, or else end it, with whatever it has started."""
        if self._is_closed:
            return
        self._pipe.close()
        try:
            self.process.wait(_FAREWELL_SECONDS if self.process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            log.debug("the process of the model does not end by itself")
        self.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._is_closed = True

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its children, too

    def _require_limits(self, what: str, silent: float, deadline: float) -> None:
        """Raises LimitError, after the end of the process, when it takes more than it may."""
        limits, now, memory_mb = self._limits, time.monotonic(), self.memory_mb
        if now > silent:
            limit = "silence_seconds"
            told = f"was silent for {limits.silence_seconds:.0f} s"
            cure = "raise ORTHOSTAT_SILENCE_SECONDS if one batch of chips may take longer"
        elif now > deadline:
            limit, told = "seconds", f"took more than {limits.seconds:,.0f} s"
            cure = "raise ORTHOSTAT_MAX_SECONDS, or limits.seconds in the pipeline file"
        elif memory_mb > limits.memory_mb:
            limit, told = "memory_mb", f"took {memory_mb:,.0f} MB, allowed are {limits.memory_mb:,.0f}"
            cure = "raise ORTHOSTAT_MAX_MEMORY_MB (for a pod, resources.memory), or give a smaller batch_size"
        else:
            return
        self.kill()
        self.close()
        raise LimitError(
            f"{what}: the process of the model {told} and was ended; {cure}{self._told()}",
            limit,
            getattr(limits, limit),
        )

    def _describe_end(self, what: str) -> OrthostatError:
        self.close()
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return LimitError(
                f"{what}: the process of the model was killed (SIGKILL), as by the kernel when memory runs "
                f"out; give it more memory (a pod: resources.memory), or a smaller batch_size{self._told()}",
                "memory_mb",
                self._limits.memory_mb,
            )
        end = f"ended by itself with exit code {code}"
        if code < 0:
            end = f"was ended by {signal.Signals(-code).name}"
        return ModelError(f"{what}: the process of the model {end}; {_CURE}{self._told()}")

    def _told(self) -> str:
        """What the process printed last; it has ended, and what it said to the end is waited for."""
        self._listener.join(_FAREWELL_SECONDS)
        lines = [line for line in self._printed if line.strip()]
        return f"; it printed: {lines[-1].strip()}" if lines else ""

    def _listen(self) -> None:
        """Keep the end of what the process prints: a bundle may print without end."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline(_LONGEST_LINE):
            text = line.decode(errors="replace").rstrip()
            self._printed.append(text)
            log.debug("model: %s", text)
