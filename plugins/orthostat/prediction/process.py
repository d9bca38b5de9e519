"""The parent's side of the process in which model and image meet."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from orthostat import settings
from orthostat.errors import BundleError, LimitError, MachineError, ModelError, OrthostatError, SceneError
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.conversation import Conversation
from orthostat.prediction.description import Description
from orthostat.prediction.engines.choice import EngineName
from orthostat.prediction.facts import BUNDLE, IMAGE, Facts
from orthostat.prediction.launch import Launched, launch

log = logging.getLogger(__name__)


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
        self._talk: Conversation | None = None
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
        if error is not None and self._talk is not None:
            self._talk.kill()  # whoever interrupts does not wait for a model that may hang
        self.close()

    @property
    def engine(self) -> EngineName:
        """What runs the model."""
        return self._engine

    def start(self) -> None:
        """Start the process and load the model, unless it runs.

        Raises BundleError when that fails, LimitError when it takes more than it may, MachineError.
        """
        if self._talk is not None and self._talk.is_running:
            return
        self.close()
        early, self._early = self._early, None
        started = launch(self._scratch) if early is None or early.process.poll() is not None else early
        self._talk = talk = Conversation(started, self._limits)
        talk.send(
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
            answer = talk.receive("loading the model")
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
        talk = self._talk
        assert talk is not None
        deadline = time.monotonic() + self._limits.seconds
        talk.send(
            {
                "image": str(image),
                "fill": fill,
                "folder": str(folder),
                "options": self._options.model_dump(mode="json"),
                "limits": self._limits.model_dump(mode="json"),
            }
        )
        answer = talk.receive(f"predicting {name}", deadline)
        while "share" in answer:
            log.info("%s: %.0f %% done", name, 100 * answer["share"])
            report(answer["share"])
            answer = talk.receive(f"predicting {name}", deadline)
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
        talk = self._talk
        return 0.0 if talk is None else talk.memory_mb

    def interrupt(self) -> None:
        """End the process from another thread: the one that waits for it gets a ModelError."""
        talk = self._talk
        if talk is not None:
            talk.interrupt()

    def close(self) -> None:
        """End the process and whatever it has started."""
        if self._talk is not None:
            self._talk.close()
            self._talk = None
