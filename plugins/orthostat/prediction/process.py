"""The parent's side of the process in which model and image meet."""

import collections
import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from orthostat import settings
from orthostat.errors import BundleError, LimitError, MachineError, ModelError, OrthostatError, SceneError
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.description import Description
from orthostat.prediction.engines.engine import EngineName
from orthostat.prediction.facts import BUNDLE, IMAGE, Facts
from orthostat.prediction.launch import Launched, launch

log = logging.getLogger(__name__)

_LAST_LINES = 20
_CURE = "see whether `rastervision predict` runs with this bundle and image"
_LONGEST_LINE = 500
_FAREWELL_SECONDS = 5
_LOOK_SECONDS = 0.25
"""How often the process is looked at while it works."""
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class ModelProcess:
    """One warm model. It starts when it is first needed, and again after it ended; one caller at a time."""

    def __init__(
        self,
        bundle: Bundle,
        engine: EngineName,
        options: PredictOptions,
        scratch: Path,
        limits: Limits | None = None,
        early: Launched | None = None,
    ):
        """`scratch` is the folder that the process is told to write its temporary files into; `early` is one
        that was started already, to be the first.
        """
        self._limits = limits or Limits()
        self._bundle = bundle
        self._engine = engine
        self._options = options
        self._scratch = scratch
        self._early = early
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._printed: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self._listener: threading.Thread | None = None
        self.sha256 = bundle.sha256
        self.model: Description | None = None
        """What the process says of the model, once it has started."""
        self.software: dict[str, str] = {}
        self.device = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._process is not None:
            self._kill()  # whoever interrupts does not wait for a model that may hang
        self.close()

    @property
    def engine(self) -> EngineName:
        """What runs the model."""
        return self._engine

    def start(self) -> None:
        """Start the process and load the model, unless it runs.

        Raises BundleError when that fails, LimitError when it takes more than it may, MachineError.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        early, self._early = self._early, None
        started = launch(self._scratch) if early is None or early.process.poll() is not None else early
        self._process, self._pipe = started.process, started.pipe
        self._printed.clear()
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()
        self._send(
            {
                "engine": self._engine,
                "folder": str(self._bundle.folder),
                "model_folder": str(self._bundle.model_folder),
                "sha256": self._bundle.sha256,
                "options": self._options.model_dump(mode="json"),
                "threads": settings.threads(),
            }
        )
        try:
            answer = self._receive("loading the model")
        except ModelError as error:
            raise BundleError(
                f"the model of {self._bundle.uri} cannot be loaded with {self._engine}: {error}"
            ) from error
        if "failed" in answer:
            self.close()
            kind = BundleError if answer["failed"] == "bundle" else MachineError
            raise kind(f"the engine {self._engine} cannot load {self._bundle.uri}: {self._reason(answer)}")
        self.model = Description.model_validate(answer["model"])
        self.software, self.device = answer["software"], answer["device"]
        versions = ", ".join(f"{name} {number}" for name, number in self.software.items())
        log.info("model of %s loaded on %s by %s (%s)", self._bundle.uri, self.device, self._engine, versions)

    def predict(
        self,
        image: Path,
        name: str,
        fill: float | None,
        folder: Path,
        report: Callable[[float], None] = lambda share: None,
    ) -> Facts:
        """Predict a local image, which errors call `name`, into files in `folder`.

        `fill` is the value that means no data in every band where the image does not say so itself; `report`
        gets the share that is done.

        Raises SceneError when the image cannot be used, LimitError when it takes more than it may, ModelError
        when the model failed or ended (the next call starts another), MachineError when no other image would
        fare better, BundleError when the model cannot be loaded.
        """
        self.start()
        deadline = time.monotonic() + self._limits.seconds
        self._send(
            {
                "image": str(image),
                "fill": fill,
                "folder": str(folder),
                "options": self._options.model_dump(mode="json"),
                "limits": self._limits.model_dump(mode="json"),
            }
        )
        answer = self._receive(f"predicting {name}", deadline)
        while "share" in answer:
            log.info("%s: %.0f %% done", name, 100 * answer["share"])
            report(answer["share"])
            answer = self._receive(f"predicting {name}", deadline)
        if "failed" in answer:
            raise self._failure(answer, name)
        try:
            return Facts.model_validate(answer["facts"])
        except (KeyError, ValidationError) as error:
            self.close()
            raise ModelError(f"the process of the model answered out of order on {name} ({error})") from error

    def _reason(self, answer: dict[str, Any]) -> str:
        return str(answer.get("reason")).replace(BUNDLE, self._bundle.uri)

    def _failure(self, answer: dict[str, Any], name: str) -> OrthostatError:
        """What the process says has failed, by its cause."""
        reason = self._reason(answer).replace(IMAGE, name)
        if answer["failed"] == "image":
            return SceneError(reason)
        if answer["failed"] == "limit":
            allowed = answer.get("allowed", self._limits.memory_mb)
            return LimitError(reason, answer.get("limit", "memory_mb"), allowed)
        self.close()  # whatever it raised, its state is not to be trusted
        kind = MachineError if answer["failed"] == "machine" else ModelError
        return kind(f"the model failed on {name}: {reason}")

    @property
    def memory_mb(self) -> float:
        """What the process holds; 0 when none runs."""
        process = self._process
        return 0.0 if process is None else _resident_mb(process.pid)

    def interrupt(self) -> None:
        """End the process from another thread: the one that waits for it gets a ModelError."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and whatever it has started."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            try:
                self._process.wait(_FAREWELL_SECONDS if self._process.poll() is None else 0)
            except subprocess.TimeoutExpired:
                log.debug("the process of the model does not end by itself")
            self._kill()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None

    def _kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its children, too
        self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._pipe is not None
        try:
            self._pipe.send_bytes(json.dumps(message).encode())
        except (BrokenPipeError, ConnectionResetError):
            log.debug("the process of the model has ended")  # what it died of is told when its answer fails

    def _receive(self, what: str, deadline: float = float("inf")) -> dict[str, Any]:
        """The next message, before `deadline` on the monotonic clock. Raises ModelError, LimitError."""
        assert self._pipe is not None
        silent = time.monotonic() + self._limits.silence_seconds
        try:
            while not self._pipe.poll(_LOOK_SECONDS):
                self._require_limits(what, silent, deadline)
            answer = json.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionResetError, ValueError) as error:
            raise self._describe_end(what) from error
        if not isinstance(answer, dict):
            raise ModelError(f"{what}: the process of the model answered {answer!r:.100}")
        return answer

    def _require_limits(self, what: str, silent: float, deadline: float) -> None:
        """Raises LimitError, after the end of the process, when it takes more than it may."""
        assert self._process is not None
        limits, now = self._limits, time.monotonic()
        memory_mb = _resident_mb(self._process.pid)
        if now > silent:
            limit = "silence_seconds"
            told = f"was silent for {limits.silence_seconds:.0f} s"
            cure = "raise ORTHOSTAT_SILENCE_SECONDS if one batch of chips may take longer"
        elif now > deadline:
            limit, told = "seconds", f"took more than {limits.seconds:,.0f} s"
            cure = "raise ORTHOSTAT_MAX_SECONDS, or limits.seconds in the pipeline file"
        elif memory_mb > limits.memory_mb:
            limit, told = "memory_mb", f"took {memory_mb:,.0f} MB, allowed are {limits.memory_mb:,.0f}"
            cure = "raise ORTHOSTAT_MAX_MEMORY_MB, or give a smaller batch_size or chip_size"
        else:
            return
        self._kill()
        self.close()
        raise LimitError(
            f"{what}: the process of the model {told} and was ended; {cure}{self._told()}",
            limit,
            getattr(limits, limit),
        )

    def _describe_end(self, what: str) -> OrthostatError:
        process = self._process
        assert process is not None
        self.close()
        code = process.returncode
        if code == -signal.SIGKILL:
            return LimitError(
                f"{what}: the process of the model was killed (SIGKILL), as by the kernel when memory runs "
                f"out; give it more memory, or a smaller batch_size or chip_size{self._told()}",
                "memory_mb",
                self._limits.memory_mb,
            )
        end = f"ended by itself with exit code {code}"
        if code < 0:
            end = f"was ended by {signal.Signals(-code).name}"
        return ModelError(f"{what}: the process of the model {end}; {_CURE}{self._told()}")

    def _told(self) -> str:
        """What the process printed last; it has ended, and what it said to the end is waited for."""
        if self._listener is not None:
            self._listener.join(_FAREWELL_SECONDS)
        lines = [line for line in self._printed if line.strip()]
        return f"; it printed: {lines[-1].strip()}" if lines else ""

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Keep the end of what the process prints: a bundle may print without end."""
        assert process.stdout is not None
        while line := process.stdout.readline(_LONGEST_LINE):
            text = line.decode(errors="replace").rstrip()
            self._printed.append(text)
            log.debug("model: %s", text)


def _resident_mb(pid: int) -> float:
    """Memory that a process holds; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    except (OSError, IndexError):
        return 0.0
