"""The engine onnx: ONNX Runtime on a bundle's `model.onnx`, numpy before and after; none of its code."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from orthostat.errors import BundleError
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.description import ONNX_NAME, Description, describe_bundle
from orthostat.prediction.engines.engine import Boxes, Confidence, require_numbers
from orthostat.prediction.options import ModelOptions, resolve_options
from orthostat.prediction.resize import bilinear, resize
from orthostat.prediction.transformers import make_transforms
from orthostat.prediction.transforms import StatsTransform, Transform, normalise

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""Those that give Raster Vision's labels; TensorRT and others choose kernels of another precision."""


def open_engine(bundle: Bundle, wanted: PredictOptions, threads: int) -> "OnnxEngine":
    """Load the bundle's ONNX model, on the GPU when ONNX Runtime has one.

    Raises BundleError when it is no model that this engine can run.
    """
    description = describe_bundle(bundle)
    options = resolve_options(description, wanted, bundle.uri)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # Its threads would spin while numpy works between two batches: a tenth of all CPU time, for nothing.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = onnxruntime.get_available_providers()
    providers = [name for name in _PROVIDERS if name in available]
    try:
        session = onnxruntime.InferenceSession(
            str(bundle.model_folder / ONNX_NAME), settings, providers=providers
        )
    except Exception as error:  # ONNX Runtime's exceptions have no root of their own
        raise BundleError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {ONNX_NAME} of {bundle.uri} "
            f"({str(error).strip()}); make it anew with `orthostat bundle add-onnx`"
        ) from error
    transforms = make_transforms(_with_group(description, wanted), bundle.folder, options.channel_order)
    return OnnxEngine(description, options, session, transforms, bundle.uri)


class OnnxEngine:
    """An ONNX model with the bundle's transforms."""

    def __init__(
        self,
        description: Description,
        options: ModelOptions,
        session: onnxruntime.InferenceSession,
        transforms: list[Transform],
        uri: str,
    ):
        self.description = description
        self.confidence = Confidence()
        self.options = options
        provider = session.get_providers()[0]
        self.software = {"onnxruntime": onnxruntime.__version__, "provider": provider}
        self.device = "cuda" if provider.startswith("CUDA") else "cpu"
        self._session = session
        self._transforms = transforms
        taken = session.get_inputs()
        if len(taken) != 1 or len(taken[0].shape) != 4:
            raise BundleError(
                f"{ONNX_NAME} of {uri} takes {[(t.name, t.shape) for t in taken]}; one input of shape "
                "(chips, channels, rows, columns) is expected: make it anew with `orthostat bundle add-onnx`"
            )
        self._input = taken[0].name
        batch, _, rows, columns = taken[0].shape
        self._batch: int | None = batch if isinstance(batch, int) else None
        size = description.image_size
        if any(isinstance(side, int) and side != size for side in (rows, columns)):
            raise BundleError(
                f"{ONNX_NAME} of {uri} takes chips of {rows} x {columns} pixels, the bundle's are resized to "
                f"{size}; make it anew with `orthostat bundle add-onnx`"
            )

    def channels(self, given: int) -> int:
        """Channels of a chip of `given` bands after the transforms."""
        for transform in self._transforms:
            given = transform.channels(given)
        return given

    def use_statistics(self, means: list[float], deviations: list[float]) -> None:
        """Scale by these statistics, one of each per channel, instead of the bundle's."""
        self._transforms = [
            StatsTransform(np.array(means), np.array(deviations)) if isinstance(t, StatsTransform) else t
            for t in self._transforms
        ]

    def prepare(self, chip: NDArray[Any]) -> NDArray[np.float32]:
        """The bundle's transforms, resizing, and values from 0 to 1."""
        for transform in self._transforms:
            chip = transform(chip)
        return normalise(resize(chip, self.description.image_size))

    def segment(self, chips: NDArray[np.float32], *, scores: bool) -> NDArray[Any]:
        """Class ids, or scores."""
        size = self.options.chip_size
        found = np.concatenate([outputs[0][:count] for outputs, count in self._run(chips)])
        probabilities = softmax(found)
        require_numbers(not np.isnan(probabilities).any())
        self._note(probabilities)
        if found.shape[-2:] != (size, size):
            probabilities = bilinear(probabilities, size)
        return probabilities if scores else first_largest(probabilities)

    def classify(self, chips: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output."""
        output: NDArray[np.float32] = np.concatenate(
            [outputs[0][:count] for outputs, count in self._run(chips)]
        )
        require_numbers(not np.isnan(output).any())
        self._note(softmax(output))
        return output

    def _note(self, probabilities: NDArray[np.float32]) -> None:
        best = probabilities.max(axis=1)
        self.confidence.add(float(best.sum(dtype=np.float64)), best.size)

    def detect(self, chips: NDArray[np.float32]) -> list[Boxes]:
        """The objects in each chip."""
        ignored = {0} if not self.description.is_builtin else {0, len(self.description.classes) + 1}
        scale = np.float32(self.options.chip_size / self.description.image_size)
        found: list[Boxes] = []
        for outputs, count in self._run(chips):
            found += [_boxes(outputs[3 * i : 3 * i + 3], ignored, scale) for i in range(count)]
        return found

    def _run(self, chips: NDArray[np.float32]) -> Iterator[tuple[list[NDArray[Any]], int]]:
        """The model's outputs and how many chips they are of; a fixed batch is filled up with zeros."""
        if self._batch is None:
            yield self._session.run(None, {self._input: chips}), len(chips)
            return
        for start in range(0, len(chips), self._batch):
            part = chips[start : start + self._batch]
            filled = np.zeros((self._batch, *chips.shape[1:]), np.float32)
            filled[: len(part)] = part
            yield self._session.run(None, {self._input: filled}), len(part)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the axis of the classes, as torch's."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def first_largest(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Shape (chips, classes, rows, columns) to class ids; the first of equals, as argmax, but contiguous."""
    best = scores[:, 0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for class_id in range(1, scores.shape[1]):
        larger = scores[:, class_id] > best
        labels[larger] = class_id
        np.maximum(best, scores[:, class_id], out=best)
    return labels


def _boxes(outputs: list[NDArray[Any]], ignored: set[int], scale: np.float32) -> Boxes:
    """One chip's boxes, classes and scores, told apart by what they hold: networks differ in order."""
    labels = next(output for output in outputs if np.issubdtype(output.dtype, np.integer))
    corners = next(output for output in outputs if output.ndim == 2 and output.dtype == np.float32)
    scores = next(output for output in outputs if output.ndim == 1 and output.dtype == np.float32)
    kept = ~np.isin(labels, list(ignored))
    require_numbers(not (np.isnan(corners).any() or np.isnan(scores).any()))
    left, top, right, bottom = (corners[kept] * scale).T
    return Boxes(np.stack([top, left, bottom, right], axis=1), labels[kept] - 1, scores[kept])


def _with_group(description: Description, wanted: PredictOptions) -> list[dict[str, Any]]:
    """The transformers, with the wanted group of scenes in those that have one."""
    if wanted.scene_group is None:
        return list(description.transformers)
    return [
        {**t, "scene_group": wanted.scene_group} if "scene_group" in t else t
        for t in description.transformers
    ]
