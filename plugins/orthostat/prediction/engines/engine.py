"""What an engine is to the rest, and the list of those that there are."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from orthostat import settings
from orthostat.errors import BundleError, ModelError
from orthostat.pipelines.options import EngineChoice, PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.description import Description
from orthostat.prediction.engines import onnx_limits
from orthostat.prediction.options import ModelOptions

EngineName = Literal["onnx", "raster-vision"]


@dataclass(frozen=True)
class Boxes:
    """Objects in one chip, as the network sees them."""

    corners: NDArray[np.float32]
    """Shape (objects, 4): top, left, bottom, right in pixels of the chip."""
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]

    def pick(self, chosen: NDArray[np.bool_]) -> "Boxes":
        """Those that are chosen."""
        return Boxes(self.corners[chosen], self.class_ids[chosen], self.scores[chosen])


class Confidence:
    """How sure a network is of what it says: the mean of the winning classes' scores, over all of its chips.

    A fact to compare images by, and no more: overlaps and edges of windows count as the network saw them.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was added, before another image."""
        self._sum, self._count = 0.0, 0

    def add(self, best_sum: float, count: int) -> None:
        """Add so many winning scores and their sum."""
        self._sum += best_sum
        self._count += count

    @property
    def mean(self) -> float | None:
        """None when nothing was added."""
        return self._sum / self._count if self._count else None


class Engine(Protocol):
    """A loaded model."""

    confidence: Confidence

    description: Description
    options: ModelOptions
    software: dict[str, str]
    """Versions of what computes the labels, by name."""
    device: str
    """`cpu`, or the accelerator."""

    def channels(self, given: int) -> int:
        """Channels of a prepared chip made of `given` bands. Raises BundleError when that can't be."""
        ...

    def use_statistics(self, means: list[float], deviations: list[float]) -> None:
        """Scale pixels by these from now on, one of each per channel, instead of by the bundle's."""
        ...

    def prepare(self, chip: NDArray[Any]) -> NDArray[np.float32]:
        """From a chip as it is read, (rows, columns, bands), to the network's (channels, rows, columns).

        Called by the thread that reads.
        """
        ...

    def segment(self, chips: NDArray[np.float32], *, scores: bool) -> NDArray[Any]:
        """Class ids (chips, rows, columns), or with `scores` float32 (chips, classes, rows, columns)."""
        ...

    def classify(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output, shape (chips, classes)."""
        ...

    def detect(self, chips: NDArray[np.float32]) -> list[Boxes]:
        """The objects in each chip."""
        ...


@dataclass(frozen=True)
class EngineKind:
    """An engine before any model is loaded."""

    module: str
    """Has the function `open_engine(bundle, wanted, threads) -> Engine`."""
    needs: tuple[str, ...]
    """Python modules that must be there."""
    install: str
    """What installs them."""
    why_not: Callable[[Description, ModelOptions], str | None]
    """Why it cannot run a model; None when it can."""

    @property
    def is_installed(self) -> bool:
        """Whether the modules are there."""
        return all(find_spec(name) is not None for name in self.needs)


def _no_weights(model: Description, options: ModelOptions) -> str | None:
    return None if model.has_weights else "the bundle holds no model.pth"


ENGINES: dict[EngineName, EngineKind] = {
    "onnx": EngineKind(
        "orthostat.prediction.engines.onnx",
        ("onnxruntime",),
        "pip install 'orthostat[predict]' (or `make setup`)",
        onnx_limits.why_not,
    ),
    "raster-vision": EngineKind(
        "orthostat.prediction.engines.raster_vision",
        ("torch", "rastervision.pytorch_learner"),
        "pip install 'orthostat[predict,raster-vision]' (or `make setup`)",
        _no_weights,
    ),
}
"""In the order in which `auto` takes them."""


def require_numbers(are_numbers: bool) -> None:
    """Raises ModelError unless what a network gave are numbers: of NaN, the first class would be made."""
    if not are_numbers:
        raise ModelError(
            "the network gives values that are no numbers (NaN), so there are no labels; see whether its "
            "weights and the bundle's statistics are whole, and the image's values those of training"
        )


def choose_engine(wanted: EngineChoice, model: Description, options: ModelOptions, uri: str) -> EngineName:
    """The engine to run the model with: by what the bundle holds, not by what is installed here.

    Raises BundleError when the wanted one, or none, can.
    """
    only = settings.only_engine()
    reasons = {
        name: kind.why_not(model, options) if only in (None, name) else f"only {only} runs here"
        for name, kind in ENGINES.items()
    }
    if wanted != "auto":
        if reasons[wanted] is not None:
            raise BundleError(f"the engine {wanted} cannot run {uri}: {reasons[wanted]}")
        return wanted
    for name, reason in reasons.items():
        if reason is None:
            return name
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise BundleError(f"no engine can run {uri} ({told}); bundle the model again")


def require_installed(name: EngineName, uri: str, why_not_onnx: str | None) -> None:
    """Raises BundleError, saying what to install, when the engine is not there."""
    kind = ENGINES[name]
    if kind.is_installed:
        return
    cure = f"install it with {kind.install}"
    if name != "onnx" and why_not_onnx is not None:
        cure += (
            f", or make the bundle one for the engine onnx, which cannot run it yet ({why_not_onnx}): "
            "`orthostat bundle add-onnx` adds the ONNX model where that is all it lacks"
        )
    raise BundleError(f"{uri} needs the engine {name}, which is not installed here; {cure}")


def open_engine(name: EngineName, bundle: Bundle, wanted: PredictOptions, threads: int) -> Engine:
    """Load the model. Raises BundleError when the engine cannot."""
    engine: Engine = import_module(ENGINES[name].module).open_engine(bundle, wanted, threads)
    return engine
