"""Writing a class raster block by block, and as a cloud-optimised GeoTIFF."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.shutil import copy as copy_raster

from orthostat.prediction.item import NODATA, LabelClass
from orthostat.prediction.read import Area, Image, crs_text

_TILE = 512


class LabelRaster:
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
def create_labels(path: Path, image: Image, classes: tuple[LabelClass, ...]) -> Iterator[LabelRaster]:
    """A class raster on the image's grid, at `path`, uncompressed: `write_cog` makes the final file of it."""
    rows, columns = image.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=columns,
        height=rows,
        count=1,
        dtype="uint8",
        crs=image.crs,
        transform=image.transform,
        nodata=NODATA,
        tiled=True,
        blockxsize=_TILE,
        blockysize=_TILE,
        BIGTIFF="IF_SAFER",
    ) as dataset:
        dataset.write_colormap(1, _colormap(classes))
        yield LabelRaster(dataset)


def write_cog(path: Path, cog_path: Path) -> None:
    """Copy a finished class raster as COG: tiles, deflate, overviews by the most frequent class."""
    copy_raster(
        path,
        cog_path,
        driver="COG",
        COMPRESS="DEFLATE",
        BLOCKSIZE=str(_TILE),
        OVERVIEW_RESAMPLING="MODE",
        BIGTIFF="IF_SAFER",
    )


@dataclass(frozen=True)
class WrittenGrid:
    """Where a class raster lies, as its file says."""

    crs: str
    shape: tuple[int, int]
    """Rows and columns."""
    transform: tuple[float, float, float, float, float, float]


def read_grid(path: Path) -> WrittenGrid:
    """Read back what was written: the Item tells facts of the file, not intentions."""
    with rasterio.open(path) as dataset:
        a, b, c, d, e, f = tuple(dataset.transform)[:6]
        return WrittenGrid(crs_text(dataset.crs), dataset.shape, (a, b, c, d, e, f))


def _colormap(classes: tuple[LabelClass, ...]) -> dict[int, tuple[int, int, int, int]]:
    colors = {c.class_id: (*bytes.fromhex(c.color), 255) for c in classes}
    return {**colors, NODATA: (0, 0, 0, 0)}
