"""Reading an image in blocks: values as Raster Vision sees them, and which pixels hold data."""

from collections import deque
from collections.abc import Iterator
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
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from orthostat.errors import SceneError

_CACHE_MB = 256
_FARTHEST_DEGREES = (361, 91, 361, 91)
"""Longitude and latitude; a degree more than there is, for pixels that are centred on the edge."""
_KEPT_BLOCKS = 3
"""A batch of chips ends one row of chips and begins the next: it touches at most three full blocks' worth."""


@dataclass(frozen=True)
class Area:
    """A rectangle of pixels: rows `top` to before `bottom`, columns `left` to before `right`."""

    top: int
    left: int
    bottom: int
    right: int

    def holds(self, other: "Area") -> bool:
        """Whether `other` lies inside."""
        return (
            self.top <= other.top
            and self.left <= other.left
            and self.bottom >= other.bottom
            and self.right >= other.right
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

    def cut(self, area: Area) -> "Block":
        """The part of the block in `area`, without a copy."""
        rows, columns = area.slices(self.area.top, self.area.left)
        return Block(area, self.values[:, rows, columns], self.valid[rows, columns])


class Image:
    """An open image. Blocks wider than they were asked for are kept for the chips that come next."""

    def __init__(self, dataset: Any, name: str, fill: float | None, path: Path):
        self._dataset = dataset
        self._path = path
        self.name = name
        self._fill = fill
        self._blocks: deque[Block] = deque()
        self._kept_pixels = 0
        self.shape: tuple[int, int] = dataset.shape
        self.bands: int = dataset.count
        self.colour_bands = [i for i, c in enumerate(dataset.colorinterp) if c != ColorInterp.alpha]
        self.transform: rasterio.Affine = dataset.transform
        self.crs: rasterio.CRS = dataset.crs
        self._alpha_bands = [i for i in range(self.bands) if i not in self.colour_bands]
        self._says_nodata = bool(self._alpha_bands) or any(
            MaskFlags.all_valid not in flags for flags in dataset.mask_flag_enums
        )
        self._check_place()

    def block(self, area: Area, ahead: int = 0) -> Block:
        """The pixels of `area`, which lies inside the image; read together with `ahead` columns to its right.

        Raises SceneError when the file's bytes cannot be decoded.
        """
        for block in self._blocks:
            if block.area.holds(area):
                return block.cut(area)
        wide = Area(area.top, area.left, area.bottom, area.right + ahead)
        self._kept_pixels = max(self._kept_pixels, _KEPT_BLOCKS * wide.pixels)
        block = self._read(wide.clip(*self.shape))
        self._blocks.append(block)
        while sum(b.area.pixels for b in self._blocks) > self._kept_pixels:
            self._blocks.popleft()
        return block.cut(area)

    def chip(self, area: Area, channels: list[int], ahead: int = 0) -> NDArray[Any]:
        """Shape (rows, columns, channels), zero outside the image and where the file says no data.

        This is what Raster Vision's RasterioSource gives its transformers (core/data/utils/rasterio.py).
        """
        inside = area.clip(*self.shape)
        values = self.block(inside, ahead).values[channels]
        chip = np.zeros((area.bottom - area.top, area.right - area.left, len(channels)), values.dtype)
        filled = values.filled(0)
        for band, channel in zip(filled, channels, strict=True):
            nodata = self._dataset.nodatavals[channel]
            if nodata is not None and nodata != 0:
                band[band == nodata] = 0
        chip[inside.slices(area.top, area.left)] = filled.transpose(1, 2, 0)
        return chip

    def acquired(self) -> datetime | None:
        """TIFFTAG_DATETIME, taken as UTC, where the file has a readable one."""
        written = self._dataset.tags().get("TIFFTAG_DATETIME", "")
        try:
            return datetime.strptime(written, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            return None

    def _read(self, area: Area) -> Block:
        with _translated(self.name, self._path):
            values = self._dataset.read(window=area.window, masked=True)
        missing = np.ma.getmaskarray(values)[self.colour_bands]
        if np.issubdtype(values.dtype, np.floating):
            missing = missing | np.isnan(values.data[self.colour_bands])
        valid = np.asarray(~missing.all(axis=0))
        # GDAL makes a mask of alpha only when it is the second of two bands or the fourth of four.
        valid &= (values.data[self._alpha_bands] != 0).all(axis=0)
        if self._fill is not None and not self._says_nodata:
            valid &= ~(values.data[self.colour_bands] == self._fill).all(axis=0)
        return Block(area, values, valid)

    def _check_place(self) -> None:
        if self.crs is None or self.transform.is_identity:
            raise SceneError(
                f"{self.name} is not georeferenced (coordinate system {self.crs}, transform "
                f"{tuple(self.transform)[:6]}); write both into the file, e.g. with gdal_edit -a_srs -a_ullr"
            )
        bounds = tuple(self._dataset.bounds)
        try:
            to_degrees = Transformer.from_crs(self.crs.to_wkt(), "EPSG:4326", always_xy=True)
            is_placed = bool((np.abs(to_degrees.transform_bounds(*bounds)) <= _FARTHEST_DEGREES).all())
        except ProjError:
            is_placed = False
        if not is_placed:
            raise SceneError(
                f"{self.name} has no place on Earth: its bounds {bounds} mean nothing in its coordinate "
                f"system {crs_text(self.crs)}; write the right one into the file, e.g. with gdal_edit -a_srs"
            )


def crs_text(crs: rasterio.CRS) -> str:
    """`EPSG:code` where the coordinate system is exactly that one, else WKT."""
    code = crs.to_epsg()
    is_same = code is not None and rasterio.CRS.from_epsg(code) == crs
    return f"EPSG:{code}" if is_same else str(crs.to_wkt())


@contextmanager
def open_image(path: Path, name: str, fill: float | None) -> Iterator[Image]:
    """Open a local file; `name` is what errors call it.

    `fill` is the value that means no data in every band where neither a nodata tag, a mask nor an alpha band
    says so. Raises SceneError when the file is no image or has no place on Earth.
    """
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
        with _translated(name, path):
            dataset = rasterio.open(path)
        with dataset:
            yield Image(dataset, name, fill, path)


@contextmanager
def _translated(name: str, path: Path) -> Iterator[None]:
    """Turn what rasterio raises about the file's bytes into a SceneError that tells no local path."""
    try:
        yield
    except RasterioError as error:
        reason = str(error.__cause__ or error).replace(str(path), "file").replace(path.name, "file")
        raise SceneError(
            f"{name} cannot be read as an image ({reason}); it is damaged or no image: upload it again"
        ) from error
