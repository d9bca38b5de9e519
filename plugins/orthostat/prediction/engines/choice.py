"""The engines that there are, and which of them runs a model; known without numpy, as it is for every pod."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from orthostat import settings
from orthostat.errors import BundleError
from orthostat.pipelines.options import EngineChoice, PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.description import Description
from orthostat.prediction.engines import onnx_limits
from orthostat.prediction.options import ModelOptions

if TYPE_CHECKING:
    from orthostat.prediction.engines.engine import Engine

EngineName = Literal["onnx", "raster-vision"]


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


def import_engine(name: EngineName) -> None:
    """Load the libraries of an engine, where they are installed."""
    if ENGINES[name].is_installed:
        import_module(ENGINES[name].module)


def open_engine(name: EngineName, bundle: Bundle, wanted: PredictOptions, threads: int) -> "Engine":
    """Load the model. Raises BundleError when the engine cannot."""
    engine: Engine = import_module(ENGINES[name].module).open_engine(bundle, wanted, threads)
    return engine
