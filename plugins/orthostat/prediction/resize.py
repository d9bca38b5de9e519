"""Resizing as Raster Vision does it, without what it uses: chips as OpenCV, scores as torch."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orthostat.errors import BundleError

_ONE = 2048
"""OpenCV's weights are integers; this is 1."""
_SMALL = 64
"""Up to this size torch multiplies the weights of both axes first (`_use_vectorized_kernel_cond_2d`)."""
_OPENCV_TYPES = frozenset(map(np.dtype, ("uint16", "int16", "float32", "float64")))
"""Besides uint8."""

Axis = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any], NDArray[Any]]
"""Where along an axis each result lies: the place before and after it, and the weight of each."""


def can_resize(dtype: np.dtype[Any], chip_size: int, image_size: int) -> str | None:
    """Why chips of that type and size in pixels cannot be resized to `image_size`; None when they can."""
    if chip_size == image_size or dtype == np.uint8:
        return None
    if dtype not in _OPENCV_TYPES:
        return (
            f"chips of {chip_size} pixels would have to be resized to {image_size}, which neither OpenCV nor "
            f"this can do for {dtype}, only for uint8; predict with chips of {image_size} pixels, or bundle "
            "the model with a transformer that makes uint8"
        )
    # OpenCV leaves these to Intel's closed library, whose last digits depend on the number of channels.
    return (
        f"chips of {chip_size} pixels would have to be resized to {image_size}, which can be done equal to "
        f"Raster Vision only for uint8, not for {dtype}; predict with the engine raster-vision or with chips "
        f"of {image_size} pixels"
    )


def resize(chip: NDArray[Any], size: int) -> NDArray[Any]:
    """Resize a uint8 chip of shape (rows, columns, channels) to `size` rows and columns.

    Equal, bit for bit, to `albumentations.Resize(size, size)`, that is `cv2.resize` with INTER_LINEAR, whose
    integer arithmetic this follows (modules/imgproc/src/resize.cpp). A chip that has that size already is
    returned, whatever its type. Raises BundleError for other types.
    """
    rows, columns, channels = chip.shape
    if (rows, columns) == (size, size):
        return chip
    reason = can_resize(chip.dtype, columns if rows == size else rows, size)
    if reason is not None:
        raise BundleError(reason)
    if (rows, columns) == (2 * size, 2 * size):
        return _halve(chip)
    left, right, left_weight, right_weight = _chip_axis(columns, size, channels)
    flat = chip.reshape(rows, columns * channels).astype(np.int32)
    wide = np.take(flat, left, axis=1)
    wide *= left_weight
    other = np.take(flat, right, axis=1)
    other *= right_weight
    wide += other
    wide >>= 4
    above, below, above_weight, below_weight = _chip_axis(rows, size, None)
    result = np.take(wide, above, axis=0)
    result *= above_weight[:, np.newaxis]
    result >>= 16
    other = np.take(wide, below, axis=0)
    other *= below_weight[:, np.newaxis]
    other >>= 16
    result += other
    result += 2
    result >>= 2
    return result.astype(np.uint8).reshape(size, size, channels)


def bilinear(scores: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Resize scores of shape (chips, classes, rows, columns) to `size` rows and columns.

    As `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` on a CPU that has fused
    multiply-add (ATen/native/cpu/UpSampleKernel.cpp): bit for bit above 64 pixels, below it at least within
    float32's rounding.
    """
    chips, classes, rows, columns = scores.shape
    if (rows, columns) == (size, size):
        return scores
    result = np.empty((chips * classes, size, size), np.float32)
    for plane, resized in zip(scores.reshape(-1, rows, columns), result, strict=True):  # fits the cache
        (_resize_plane if size > _SMALL else _resize_small_plane)(plane, resized)
    return result.reshape(chips, classes, size, size)


def _resize_plane(plane: NDArray[np.float32], resized: NDArray[np.float32]) -> None:
    """One axis after the other."""
    size = len(resized)
    left, right, left_weight, right_weight = _score_axis(plane.shape[1], size)
    above, below, above_weight, below_weight = _score_axis(plane.shape[0], size)
    other = np.take(plane, right, axis=1)
    other *= right_weight
    wide = _fused(np.take(plane, left, axis=1), left_weight, other)
    other = np.take(wide, below, axis=0)
    other *= below_weight[:, np.newaxis]
    resized[:] = _fused(np.take(wide, above, axis=0), above_weight[:, np.newaxis], other)


def _resize_small_plane(plane: NDArray[np.float32], resized: NDArray[np.float32]) -> None:
    """Four neighbours at a time."""
    size = len(resized)
    left, right, left_weight, right_weight = _score_axis(plane.shape[1], size)
    above, below, above_weight, below_weight = _score_axis(plane.shape[0], size)
    above_weight, below_weight = above_weight[:, np.newaxis], below_weight[:, np.newaxis]
    upper, lower = plane[above], plane[below]
    total = upper[:, right] * (above_weight * right_weight)
    total = _fused(upper[:, left], above_weight * left_weight, total)
    total = _fused(lower[:, left], below_weight * left_weight, total)
    resized[:] = _fused(lower[:, right], below_weight * right_weight, total)


def _halve(chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of four pixels, which OpenCV takes here instead (INTER_AREA); halves go up."""
    total = chip[::2, ::2].astype(np.uint16)
    total += chip[1::2, ::2]
    total += chip[::2, 1::2]
    total += chip[1::2, 1::2]
    if chip.shape[2] == 2:
        # Two channels alone take OpenCV's general way, which rounds halves to even: albumentations cuts more
        # than four into fours, and a rest of two into single ones.
        return np.rint(total / 4).astype(np.uint8)
    return ((total + 2) >> 2).astype(np.uint8)


@lru_cache(maxsize=8)
def _chip_axis(given: int, size: int, channels: int | None) -> Axis:
    """OpenCV's places and integer weights: of rows without `channels`, else of columns times channels.

    Places before the first and after the last pixel are moved onto it. Columns there get the whole weight,
    rows keep both weights, whose products are cut off separately: it can make a difference of 1.
    """
    exact = (np.arange(size) + 0.5) * (1 / (size / given)) - 0.5
    place = exact.astype(np.float32)
    first = np.floor(place).astype(np.intp)
    second_part = place - first.astype(np.float32)
    if channels is not None:
        second_part[(first < 0) | (first >= given - 1)] = 0
    weights = [np.rint(part * np.float32(_ONE)).astype(np.int32) for part in (1 - second_part, second_part)]
    places = [np.clip(first, 0, given - 1), np.clip(first + 1, 0, given - 1)]
    if channels is not None:
        places = [(p[:, np.newaxis] * channels + np.arange(channels)).ravel() for p in places]
        weights = [np.repeat(weight, channels) for weight in weights]
    return places[0], places[1], weights[0], weights[1]


@lru_cache(maxsize=8)
def _score_axis(given: int, size: int) -> Axis:
    """Torch's places and float32 weights; a place before the first pixel is moved onto it."""
    scale = np.float32(given) / np.float32(size)
    middles = np.arange(size, dtype=np.float32) + np.float32(0.5)
    half = np.float32(0.5)
    place = _fused(middles, scale, -half) if size <= _SMALL else middles * scale - half
    place = np.maximum(place, np.float32(0))
    first = np.minimum(place.astype(np.intp), given - 1)
    second_weight = np.clip(place - first.astype(np.float32), 0, 1)
    return first, np.minimum(first + 1, given - 1), 1 - second_weight, second_weight


def _fused(
    a: NDArray[np.float32], b: NDArray[np.float32] | np.float32, c: NDArray[np.float32] | np.float32
) -> NDArray[np.float32]:
    """`a * b + c` of float32 with one rounding at the end: the product of two is exact in float64."""
    result = np.multiply(a, b, dtype=np.float64)
    result += c
    return result.astype(np.float32)
