"""The parent's side of the process in which model and image meet."""

import collections
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

import orthostat
from orthostat import settings
from orthostat.errors import BundleError, ModelError, SceneError
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.description import Description
from orthostat.prediction.engines.engine import EngineName
from orthostat.prediction.facts import BUNDLE, IMAGE, Facts

log = logging.getLogger(__name__)

_PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "PYTHONHASHSEED")
_PASSED_ON_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OPENBLAS_", "MKL_")
"""What a model may see of the environment: where programs and libraries are, the language, the hardware."""
_ALLOCATOR = {
    # Else glibc gives the activations' memory back to the kernel after each layer, and asks for it again.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
_PROGRAM = ("-m", "orthostat.prediction.child")
_GDAL_CACHE_MB = 64
_LAST_LINES = 20
_CURE = "see whether `rastervision predict` runs with this bundle and image"
_LONGEST_LINE = 500
_FAREWELL_SECONDS = 5


class ModelProcess:
    """One warm model. It starts when it is first needed, and again after it ended; one caller at a time."""

    def __init__(self, bundle: Bundle, engine: EngineName, options: PredictOptions, scratch: Path):
        """`scratch` is the folder that the process is told to write its temporary files into."""
        self._bundle = bundle
        self._engine = engine
        self._options = options
        self._scratch = scratch
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
        """Start the process and load the model, unless it runs. Raises BundleError when that fails."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._pipe, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, *_PROGRAM, str(theirs.fileno())],
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends, however it does
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            cwd=self._scratch,
            env=clean_environment(self._scratch),
            start_new_session=True,
        )
        theirs.close()
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
        if "bundle_error" in answer:
            self.close()
            raise BundleError(answer["bundle_error"].replace(BUNDLE, self._bundle.uri))
        self.model = Description.model_validate(answer["model"])
        self.software, self.device = answer["software"], answer["device"]
        versions = ", ".join(f"{name} {number}" for name, number in self.software.items())
        log.info("model of %s loaded on %s by %s (%s)", self._bundle.uri, self.device, self._engine, versions)

    def predict(self, image: Path, name: str, fill: float | None, folder: Path) -> Facts:
        """Predict a local image, which errors call `name`, into files in `folder`.

        `fill` is the value that means no data in every band where the image does not say so itself.

        Raises SceneError when the image cannot be used, ModelError when the process failed, hung or ended
        (the next call starts another), BundleError when the model cannot be loaded.
        """
        self.start()
        self._send(
            {
                "image": str(image),
                "fill": fill,
                "folder": str(folder),
                "options": self._options.model_dump(mode="json"),
            }
        )
        answer = self._receive(f"predicting {name}")
        while "share" in answer:
            log.info("%s: %.0f %% done", name, 100 * answer["share"])
            answer = self._receive(f"predicting {name}")
        if "scene_error" in answer:
            raise SceneError(answer["scene_error"].replace(IMAGE, name).replace(BUNDLE, self._bundle.uri))
        if "model_error" in answer:
            self.close()  # whatever it raised, its state is not to be trusted
            raise ModelError(f"the model failed on {name}: {answer['model_error']}")
        try:
            return Facts.model_validate(answer["facts"])
        except (KeyError, ValidationError) as error:
            self.close()
            raise ModelError(f"the process of the model answered out of order on {name} ({error})") from error

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

    def _receive(self, what: str) -> dict[str, Any]:
        """The next message. Raises ModelError when none comes."""
        assert self._pipe is not None
        limit = settings.silence_seconds()
        try:
            if not self._pipe.poll(limit):
                self._kill()
                self.close()
                raise ModelError(
                    f"{what}: the process of the model was silent for {limit:.0f} s and was ended; raise "
                    f"ORTHOSTAT_SILENCE_SECONDS if one batch of chips may take longer{self._told()}"
                )
            answer = json.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionResetError, ValueError) as error:
            raise ModelError(f"{what}: {self._describe_end()}{self._told()}") from error
        if not isinstance(answer, dict):
            raise ModelError(f"{what}: the process of the model answered {answer!r:.100}")
        return answer

    def _describe_end(self) -> str:
        process = self._process
        assert process is not None
        self.close()
        code = process.returncode
        if code == -signal.SIGKILL:
            return (
                "the process of the model was killed (SIGKILL), as by the kernel when memory runs out; give "
                "it more memory, or a smaller batch_size or chip_size"
            )
        if code < 0:
            return f"the process of the model was ended by {signal.Signals(-code).name}; {_CURE}"
        return f"the process of the model ended by itself with exit code {code}; {_CURE}"

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


def clean_environment(scratch: Path) -> dict[str, str]:
    """The environment of a model's process: nothing in it opens a door or leads out of `scratch`."""
    threads = str(settings.threads())
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    return {
        **passed,
        **_ALLOCATOR,
        **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCH_HOME"), str(scratch)),
        "PYTHONPATH": str(Path(orthostat.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": threads,
        "GDAL_CACHEMAX": str(_GDAL_CACHE_MB),
        "GDAL_NUM_THREADS": threads,
        "NO_ALBUMENTATIONS_UPDATE": "1",  # else importing it asks the package index
    }
