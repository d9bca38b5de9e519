"""Writing class and score rasters piece by piece, and as cloud-optimised GeoTIFFs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy as copy_raster

from orthostat.prediction.blocks import Area
from orthostat.prediction.classes import NODATA, LabelClass
from orthostat.prediction.read import Image

_TILE = 512
SCORE_STEPS = 254
"""A score of 1 in a score raster; 255 means no data."""


class ClassRaster:
    """A class raster being filled; counts what it is filled with."""

    def __init__(self, dataset: Any):
        self._dataset = dataset
        self._counts = np.zeros(256, dtype=np.int64)

    def write(self, area: Area, labels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> None:
        """Write class ids, shape (rows, columns), into `area`; nodata where they are not valid.

        Areas must not overlap: each pixel is counted when it is written.
        """
        kept = np.where(valid, labels, np.uint8(NODATA))
        self._counts += np.bincount(kept.ravel(), minlength=256)
        self._dataset.write(kept, 1, window=area.window)

    def histogram(self) -> dict[int, int]:
        """Valid pixels per class id, of the classes that occur."""
        return {int(i): int(self._counts[i]) for i in np.flatnonzero(self._counts) if i != NODATA}


@contextmanager
def create_classes(path: Path, image: Image, classes: tuple[LabelClass, ...]) -> Iterator[ClassRaster]:
    """A class raster on the image's grid, at `path`: `write_cog` makes the final file of it."""
    with _create(path, image, 1) as dataset:
        dataset.write_colormap(1, _colormap(classes))
        yield ClassRaster(dataset)


class ScoreRaster:
    """A raster of class scores being filled, a band per class."""

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def write(self, area: Area, scores: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Write scores from 0 to 1, shape (classes, rows, columns), in steps of 1/254."""
        steps = np.clip(np.nan_to_num(scores) * SCORE_STEPS + 0.5, 0, SCORE_STEPS).astype(np.uint8)
        self._dataset.write(np.where(valid, steps, np.uint8(NODATA)), window=area.window)


@contextmanager
def create_scores(path: Path, image: Image, classes: tuple[LabelClass, ...]) -> Iterator[ScoreRaster]:
    """A raster of scores on the image's grid: value x scale is the score, and each band says its class."""
    with _create(path, image, len(classes)) as dataset:
        dataset.scales = [1 / SCORE_STEPS] * len(classes)
        for band, entry in enumerate(classes, start=1):
            dataset.set_band_description(band, entry.name)
        yield ScoreRaster(dataset)


def write_cog(path: Path, cog_path: Path, resampling: str = "MODE") -> None:
    """Copy a finished raster as COG: tiles, deflate, overviews (by the most frequent class, unless told)."""
    copy_raster(
        path,
        cog_path,
        driver="COG",
        COMPRESS="DEFLATE",
        BLOCKSIZE=str(_TILE),
        OVERVIEW_RESAMPLING=resampling,
        BIGTIFF="IF_SAFER",
    )


@contextmanager
def _create(path: Path, image: Image, count: int) -> Iterator[Any]:
    rows, columns = image.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=columns,
        height=rows,
        count=count,
        dtype="uint8",
        crs=image.crs if image.is_placed else None,
        transform=image.transform,
        nodata=NODATA,
        tiled=True,
        blockxsize=_TILE,
        blockysize=_TILE,
        compress="deflate",
        zlevel=1,  # nothing large is ever there uncompressed, and what is written again costs little
        BIGTIFF="IF_SAFER",
    ) as dataset:
        yield dataset


def _colormap(classes: tuple[LabelClass, ...]) -> dict[int, tuple[int, int, int, int]]:
    return {**{c.class_id: (*c.rgb, 255) for c in classes}, NODATA: (0, 0, 0, 0)}
