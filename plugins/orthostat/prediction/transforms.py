"""Preparing chips for a network as Raster Vision 0.31 does, bit for bit, without it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from orthostat.errors import BundleError

_MOST_DEVIATIONS = 3.0


class Transform(Protocol):
    """What happens to a chip after it is read."""

    def __call__(self, chip: NDArray[Any]) -> NDArray[Any]:
        """Transform a chip of shape (rows, columns, channels), which is not changed; it may be returned."""

    def channels(self, given: int) -> int:
        """How many channels come out of `given`."""
        return given

    def dtype(self, given: np.dtype[Any]) -> np.dtype[Any]:
        """Which type comes out of `given`."""
        return given


@dataclass(frozen=True, eq=False)
class StatsTransform(Transform):
    """Three standard deviations about the mean span 0 to 255; uint8 passes through, zero is no data."""

    means: NDArray[np.float64]
    """One per channel, or one for all."""
    deviations: NDArray[np.float64]
    """Standard deviations, likewise."""

    def __call__(self, chip: NDArray[Any]) -> NDArray[Any]:
        """To uint8. Raises BundleError when the chip has other channels than the statistics."""
        if chip.dtype == np.uint8:
            return chip
        if len(self.means) not in (1, chip.shape[-1]):
            raise BundleError(
                f"the bundle's statistics are of {len(self.means)} channels, the image's chips have "
                f"{chip.shape[-1]}; give a channel order that picks {len(self.means)} bands"
            )
        scaled = chip.astype(np.float64)
        # Raster Vision's operations in its order: others round differently before the fraction is cut off.
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled -= self.means
            scaled /= self.deviations
            np.clip(scaled, -_MOST_DEVIATIONS, _MOST_DEVIATIONS, out=scaled)
            scaled += _MOST_DEVIATIONS
            scaled /= 2 * _MOST_DEVIATIONS
            scaled *= 255
            result = scaled.astype(np.uint8)
        result[chip == 0] = 0
        return result

    def dtype(self, given: np.dtype[Any]) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)


@dataclass(frozen=True)
class MinMaxTransform(Transform):
    """The least to the greatest value of each channel in the chip span 0 to 255."""

    def __call__(self, chip: NDArray[Any]) -> NDArray[Any]:
        """To uint8. A channel of one value is 0/0, for which numpy's cast is taken, as Raster Vision does."""
        pixels = chip.reshape(-1, chip.shape[-1])
        least, greatest = pixels.min(axis=0), pixels.max(axis=0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scaled = (chip - least) / (greatest - least)
            result: NDArray[np.uint8] = (255 * scaled).astype(np.uint8)
        return result

    def dtype(self, given: np.dtype[Any]) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)


@dataclass(frozen=True)
class CastTransform(Transform):
    """Another type, as numpy casts: fractions are cut off, integers wrap."""

    to: np.dtype[Any]

    def __call__(self, chip: NDArray[Any]) -> NDArray[Any]:
        """To the type."""
        with np.errstate(invalid="ignore", over="ignore"):
            return chip.astype(self.to)

    def dtype(self, given: np.dtype[Any]) -> np.dtype[Any]:
        """The type."""
        return self.to


@dataclass(frozen=True)
class NanTransform(Transform):
    """Another value for values that are not a number; integers pass through."""

    value: float

    def __call__(self, chip: NDArray[Any]) -> NDArray[Any]:
        """The same type."""
        if not np.issubdtype(chip.dtype, np.floating):
            return chip
        result = chip.copy()
        result[np.isnan(chip)] = self.value
        return result


@dataclass(frozen=True)
class ReclassTransform(Transform):
    """Other values for some values, all at once: a value that was written is not looked up again."""

    mapping: Mapping[int, int]

    def __call__(self, chip: NDArray[Any]) -> NDArray[Any]:
        """The same type. Raises BundleError when that cannot hold a value."""
        result = chip.copy()
        for old, new in self.mapping.items():
            try:
                result[chip == old] = new
            except OverflowError:
                raise BundleError(
                    f"the bundle's reclass_transformer turns {old} into {new}, which {chip.dtype} cannot "
                    "hold; put a cast_transformer before it and bundle the model again"
                ) from None
        return result


def normalise(chip: NDArray[Any]) -> NDArray[np.float32]:
    """From shape (rows, columns, channels) to a contiguous (channels, rows, columns) for the network.

    Unsigned integers are divided by their type's maximum, in float64; others keep their value. This is what
    Raster Vision's AlbumentationsDataset does (pytorch_learner/dataset/dataset.py).
    """
    planes = chip.transpose(2, 0, 1)
    result = np.empty(planes.shape, np.float32)
    with np.errstate(over="ignore"):
        if np.issubdtype(chip.dtype, np.unsignedinteger):
            greatest = np.float64(np.iinfo(chip.dtype).max)
            np.divide(planes, greatest, out=result, dtype=np.float64, casting="unsafe")
        else:
            result[:] = planes
    return result
