"""Reading an image in blocks: values as Raster Vision sees them, and which pixels hold data."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform

from orthostat.errors import SceneError
from orthostat.prediction.bands import BandValues
from orthostat.prediction.blocks import Area, Block, is_finite
from orthostat.prediction.facts import BandFacts
from orthostat.prediction.formats import open_image_file

_FARTHEST_DEGREES = (361, 91)
"""Longitude and latitude; a degree more than there is, for pixels that are centred on the edge."""


class Image:
    """An open image; one thread at a time may read it."""

    def __init__(self, dataset: Any, name: str, fill: float | None, path: Path):
        self._dataset = dataset
        self._path = path
        self.name = name
        self._fill = fill
        self.shape: tuple[int, int] = dataset.shape
        self.bands: int = dataset.count
        self.colour_bands = [i for i, c in enumerate(dataset.colorinterp) if c != ColorInterp.alpha]
        self.transform: rasterio.Affine = dataset.transform
        self.crs: rasterio.CRS = dataset.crs
        self._alpha_bands = [i for i in range(self.bands) if i not in self.colour_bands]
        self._says_nodata = bool(self._alpha_bands) or any(
            MaskFlags.all_valid not in flags for flags in dataset.mask_flag_enums
        )
        self._model_bands = self.colour_bands
        self.names: tuple[str | None, ...] = dataset.descriptions
        self.values = BandValues(self.bands)
        types = [np.dtype(name) for name in dataset.dtypes]
        self.value_bytes = max(kind.itemsize for kind in types)
        """Of one value."""
        together = self.bands if dataset.interleaving == Interleaving.pixel else 1
        self.block_bytes = max(map(math.prod, dataset.block_shapes)) * self.value_bytes * together
        """Of what is decoded together."""
        self.is_placed = self._find_place()

    def use_bands(self, bands: Sequence[int]) -> None:
        """From now on a pixel holds data where one of these, from 0, does, and each has a finite value."""
        self._model_bands = list(bands)

    def facts(self) -> list[BandFacts]:
        """What is known of the values of each of these bands, once the image has been read."""
        return [
            BandFacts(self.names[band], *self.values.mean_and_deviation(band)) for band in self._model_bands
        ]

    def block(self, area: Area, *, is_counted: bool = True) -> Block:
        """The pixels of `area`, which lies inside the image, and which of them hold data.

        Values count in `values` unless they are read for another purpose; each pixel counts once.
        Raises SceneError when the file's bytes cannot be decoded.
        """
        with translated(self.name, self._path):
            values = self._dataset.read(window=area.window, masked=True)
        valid = np.asarray(~np.ma.getmaskarray(values)[self._model_bands].all(axis=0))
        if np.issubdtype(values.dtype, np.floating):
            finite = is_finite(values.data[self._model_bands]).all(axis=0)
            valid &= finite
        # GDAL makes a mask of alpha only when it is the second of two bands or the fourth of four.
        valid &= (values.data[self._alpha_bands] != 0).all(axis=0)
        if self._fill is not None and not self._says_nodata:
            valid &= ~(values.data[self._model_bands] == self._fill).all(axis=0)
        block = Block(area, values, valid, self._dataset.nodatavals)
        if is_counted:
            self.values.add(block, self._model_bands)
        return block

    def thumbnail(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """The first three bands (or the first, thrice) as uint8 (rows, columns, 3), 2 % cut off each end."""
        bands = [i + 1 for i in self.colour_bands]
        with translated(self.name, self._path):
            values = self._dataset.read(
                bands[:3] if len(bands) >= 3 else [bands[0]] * 3, out_shape=(3, *shape)
            )
        picture = np.zeros((*shape, 3), np.uint8)
        for band in range(3):
            finite = np.nan_to_num(values[band].astype(np.float64))
            low, high = np.percentile(finite, (2, 98))
            picture[..., band] = np.clip((finite - low) / max(high - low, 1e-9) * 255, 0, 255)
        return picture

    def acquired(self) -> datetime | None:
        """TIFFTAG_DATETIME, taken as UTC, where the file has a readable one."""
        try:
            written = self._dataset.tags().get("TIFFTAG_DATETIME", "")
            return datetime.strptime(written, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            return None

    def _find_place(self) -> bool:
        """Whether the image has a place on Earth. Raises SceneError when it names one that does not exist."""
        if not np.isfinite(tuple(self.transform)).all():
            raise SceneError(
                f"{self.name} has no place on Earth: its transform is {tuple(self.transform)[:6]}; write the "
                "right one into the file, e.g. with gdal_edit -a_ullr"
            )
        if self.crs is None or self.transform.is_identity:
            return False
        bounds = tuple(self._dataset.bounds)
        try:
            west, south, east, north = bounds
            corners = [west, east, east, west], [south, south, north, north]
            degrees = np.transpose(transform(self.crs, "EPSG:4326", *corners))
            exists = bool((np.abs(degrees) <= _FARTHEST_DEGREES).all())
        except (CRSError, RasterioError, CPLE_BaseError):
            exists = False
        if not exists:
            raise SceneError(
                f"{self.name} has no place on Earth: its bounds {bounds} have a corner that is nowhere "
                f"in its coordinate system {crs_text(self.crs)}; write the right one into the file, "
                "e.g. with gdal_edit -a_srs, or cut the image to what lies on Earth"
            )
        return True


def crs_text(crs: rasterio.CRS) -> str:
    """`EPSG:code` where the coordinate system is exactly that one, else WKT."""
    code = crs.to_epsg()
    is_same = code is not None and rasterio.CRS.from_epsg(code) == crs
    return f"EPSG:{code}" if is_same else str(crs.to_wkt())


@contextmanager
def open_image(path: Path, name: str, fill: float | None) -> Iterator[Image]:
    """Open a local file; `name` is what errors call it.

    `fill` is the value that means no data in every band where neither a nodata tag, a mask nor an alpha band
    says so. Raises SceneError when the file is no image (`formats.open_image_file`), or lies where there is
    no Earth.
    """
    with translated(name, path):
        dataset = open_image_file(path)
    with dataset:
        if any(kind.startswith("complex") for kind in dataset.dtypes):
            raise SceneError(
                f"{name} holds complex numbers ({dataset.dtypes[0]}), and a model takes real ones; write "
                "their amplitude, as the model was trained on"
            )
        with translated(name, path):
            image = Image(dataset, name, fill, path)
        yield image


@contextmanager
def translated(name: str, path: Path) -> Iterator[None]:
    """Turn what rasterio raises about a file's bytes into a SceneError that tells no local path."""
    try:
        yield
    except (RasterioError, CRSError, CPLE_BaseError, UnicodeError, OverflowError) as error:
        reason = str(error.__cause__ or error).replace(str(path), "file").replace(path.name, "file")
        raise SceneError(
            f"{name} cannot be read as an image ({reason}); it is damaged or no image: upload it again"
        ) from error


@dataclass(frozen=True)
class WrittenGrid:
    """Where a raster lies, as its file says."""

    crs: str | None
    shape: tuple[int, int]
    """Rows and columns."""
    transform: tuple[float, float, float, float, float, float]


def read_grid(path: Path) -> WrittenGrid:
    """Read back what was written: the Item tells facts of the file, not intentions."""
    with rasterio.open(path) as dataset:
        a, b, c, d, e, f = tuple(dataset.transform)[:6]
        return WrittenGrid(crs_text(dataset.crs) if dataset.crs else None, dataset.shape, (a, b, c, d, e, f))
