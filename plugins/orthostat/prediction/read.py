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
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from orthostat.errors import SceneError
from orthostat.prediction.formats import open_image_file

_SIDE = 2048
"""Side in pixels of blocks that are read for counting alone."""
_FARTHEST_DEGREES = (361, 91, 361, 91)
"""Longitude and latitude; a degree more than there is, for pixels that are centred on the edge."""


@dataclass(frozen=True)
class Area:
    """A rectangle of pixels: rows `top` to before `bottom`, columns `left` to before `right`."""

    top: int
    left: int
    bottom: int
    right: int

    def intersection(self, other: "Area") -> "Area":
        """The part that both have; they must touch."""
        return Area(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def clip(self, rows: int, columns: int) -> "Area":
        """The part inside a raster of that shape."""
        return Area(max(self.top, 0), max(self.left, 0), min(self.bottom, rows), min(self.right, columns))

    def slices(self, top: int, left: int) -> tuple[slice, slice]:
        """Rows and columns of this area in an array whose first pixel is (top, left)."""
        return slice(self.top - top, self.bottom - top), slice(self.left - left, self.right - left)

    @property
    def window(self) -> Window:
        """For rasterio."""
        return Window(self.left, self.top, self.right - self.left, self.bottom - self.top)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True)
class Block:
    """Pixels of an image that were read together."""

    area: Area
    values: np.ma.MaskedArray[Any, Any]
    """Shape (bands, rows, columns); masked where the file says that a band holds no data."""
    valid: NDArray[np.bool_]
    """Shape (rows, columns): pixels that hold data."""
    nodata: Sequence[float | None]
    """What the file says means no data, per band."""

    def chip(self, area: Area, channels: Sequence[int]) -> NDArray[Any]:
        """Shape (rows, columns, channels), zero outside the block and where the file says no data.

        This is what Raster Vision's RasterioSource gives its transformers (core/data/utils/rasterio.py), if
        the block holds all of the image that lies in `area`.
        """
        inside = area.intersection(self.area)
        values = self.values[list(channels), *inside.slices(self.area.top, self.area.left)].filled(0)
        chip = np.zeros((area.bottom - area.top, area.right - area.left, len(channels)), values.dtype)
        for band, channel in zip(values, channels, strict=True):
            nodata = self.nodata[channel]
            if nodata is not None and nodata != 0:
                band[band == nodata] = 0
            if np.issubdtype(band.dtype, np.floating):  # one NaN would spread over all that the network sees
                band[~np.isfinite(band)] = 0
        chip[inside.slices(area.top, area.left)] = values.transpose(1, 2, 0)
        return chip

    def valid_in(self, area: Area) -> NDArray[np.bool_]:
        """Which pixels of the part of `area` inside the block hold data."""
        rows, columns = area.intersection(self.area).slices(self.area.top, self.area.left)
        return self.valid[rows, columns]


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
        self.ranges = ValueRanges(self.bands)
        self._model_bands = self.colour_bands
        self._has_nonfinite = False
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

    def count_nonfinite(self) -> int:
        """Pixels where a band that the model reads has a value that is no finite number (NaN, infinite)."""
        if not self._has_nonfinite:
            return 0
        count, (rows, columns) = 0, self.shape
        for top in range(0, rows, _SIDE):
            for left in range(0, columns, _SIDE):
                area = Area(top, left, top + _SIDE, left + _SIDE).clip(rows, columns)
                with translated(self.name, self._path):
                    values = self._dataset.read(window=area.window)
                count += int((~np.isfinite(values[self._model_bands])).any(axis=0).sum())
        return count

    def block(self, area: Area) -> Block:
        """The pixels of `area`, which lies inside the image, and which of them hold data.

        Raises SceneError when the file's bytes cannot be decoded.
        """
        with translated(self.name, self._path):
            values = self._dataset.read(window=area.window, masked=True)
        valid = np.asarray(~np.ma.getmaskarray(values)[self._model_bands].all(axis=0))
        if np.issubdtype(values.dtype, np.floating):
            finite = np.isfinite(values.data[self._model_bands]).all(axis=0)
            self._has_nonfinite |= not finite.all()
            valid &= finite
        # GDAL makes a mask of alpha only when it is the second of two bands or the fourth of four.
        valid &= (values.data[self._alpha_bands] != 0).all(axis=0)
        if self._fill is not None and not self._says_nodata:
            valid &= ~(values.data[self._model_bands] == self._fill).all(axis=0)
        block = Block(area, values, valid, self._dataset.nodatavals)
        self.ranges.add(block)
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
        if self.crs is None or self.transform.is_identity:
            return False
        bounds = tuple(self._dataset.bounds)
        try:
            to_degrees = Transformer.from_crs(self.crs.to_wkt(), "EPSG:4326", always_xy=True)
            exists = bool((np.abs(to_degrees.transform_bounds(*bounds)) <= _FARTHEST_DEGREES).all())
        except ProjError:
            exists = False
        if not exists:
            raise SceneError(
                f"{self.name} has no place on Earth: its bounds {bounds} mean nothing in its coordinate "
                f"system {crs_text(self.crs)}; write the right one into the file, e.g. with gdal_edit -a_srs"
            )
        return True


class ValueRanges:
    """Smallest and largest valid value of each band, while blocks pass by."""

    def __init__(self, bands: int):
        self._low: NDArray[np.float64] = np.full(bands, np.inf)
        self._high: NDArray[np.float64] = np.full(bands, -np.inf)

    def add(self, block: Block) -> None:
        """Take the block's valid, finite values into account."""
        missing = np.ma.getmaskarray(block.values)
        for band, values in enumerate(block.values.data):
            counted = block.valid & ~missing[band]
            if np.issubdtype(values.dtype, np.floating):
                counted &= np.isfinite(values)
            kept = values if counted.all() else values[counted]  # most blocks are whole: no copy of them
            if kept.size:
                self._low[band] = min(self._low[band], kept.min())
                self._high[band] = max(self._high[band], kept.max())

    def ranges(self) -> list[tuple[float, float] | None]:
        """Per band; None where the band has no valid value."""
        return [
            (float(low), float(high)) if low <= high else None
            for low, high in zip(self._low, self._high, strict=True)
        ]


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
    except (RasterioError, CPLE_BaseError, UnicodeError, OverflowError) as error:
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
