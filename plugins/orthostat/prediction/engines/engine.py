"""What a loaded model is to the rest, whichever engine runs it."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orthostat.errors import ModelError
from orthostat.prediction.description import Description
from orthostat.prediction.options import ModelOptions


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


def require_numbers(are_numbers: bool) -> None:
    """Raises ModelError unless what a network gave are numbers: of NaN, the first class would be made."""
    if not are_numbers:
        raise ModelError(
            "the network gives values that are no numbers (NaN), so there are no labels; see whether its "
            "weights and the bundle's statistics are whole, and the image's values those of training"
        )
