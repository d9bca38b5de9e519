"""Class rasters by anyone: several on one grid are read as one, in which every ground pixel stands once."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from orthostat import storage
from orthostat.aggregation.areas import check_measurable, measure_polygons, split_rows
from orthostat.aggregation.borders import project_zones
from orthostat.aggregation.grid import find_offset
from orthostat.aggregation.table import ZoneAreas
from orthostat.aggregation.tabulate import clip_zones, measure_values
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import GridError, ZonesError
from orthostat.prediction.formats import open_image_file
from orthostat.projection import parse_crs
from orthostat.scratch import scratch_folder

_BLOCK = 2048
_TYPES = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"}


def tabulate_labels(uris: Sequence[str], zones: ZoneSet, nodata: int | None = None) -> dict[str, ZoneAreas]:
    """Class areas per zone id, ids rising, from single-band integer rasters, local or in S3.

    `nodata` replaces what the files themselves mark as nodata (tag, mask, alpha). Several rasters must lie on
    one grid; valid pixels beat nodata, then the file with the greatest name wins (the greatest URI among
    equal names). Memory does not grow with the rasters. Raises GridError for rasters that have no
    usable or not the same grid, ZonesError, StorageError.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(scratch_folder()))
        sources = []
        for number, uri in enumerate(sorted(set(uris), key=lambda uri: (uri.rsplit("/", 1)[-1], uri))):
            (folder / str(number)).mkdir()
            path = storage.local_copy(uri, folder / str(number))
            sources.append(stack.enter_context(_open(uri, path)))
        return _tabulate(_Mosaic(tuple(sources), nodata), zones)


def _tabulate(mosaic: "_Mosaic", zones: ZoneSet) -> dict[str, ZoneAreas]:
    projected = project_zones(zones, mosaic.crs, abs(mosaic.transform.a))
    areas: dict[int, dict[int | None, list[float]]] = defaultdict(lambda: defaultdict(list))
    copies = [(copy, shapely.STRtree(copy.geometries)) for copy in _around_the_earth(projected)]
    for window in mosaic.windows():
        transform = mosaic.transform * Affine.translation(window.col_off, window.row_off)
        west, north = transform * (0, 0)
        east, south = transform * (window.width, window.height)
        box = shapely.box(west, south, east, north)
        found = [clip_zones(copy, tree, box) for copy, tree in copies]
        indices = [index for touching, _ in found for index in touching]
        if not indices:
            continue
        labels, gap = mosaic.read(window)
        parts = np.concatenate([parts for _, parts in found])
        counted = measure_values(labels, transform, mosaic.crs, parts, projected.crs)
        for index, values in zip(indices, counted, strict=True):
            for value, area_m2 in values.items():
                areas[index][None if value == gap else value].append(area_m2)
    if not areas:
        raise ZonesError(
            f"no zone touches the rasters: zones lie within {tuple(shapely.total_bounds(zones.geometries))} "
            f"in {zones.crs.name}, rasters within {mosaic.bounds} in {mosaic.crs.name}; check the coordinate "
            "systems, and that longitude comes first"
        )
    zone_areas = measure_polygons(mosaic.crs, projected.geometries).tolist()
    rows = zip(zones.ids, zones.names, zones.parents, zone_areas, strict=True)
    return {row[0]: _sum_zone(*row, areas[index]) for index, row in enumerate(rows)}


def _sum_zone(
    zone_id: str, name: str, parent_id: str | None, area_m2: float, found: dict[int | None, list[float]]
) -> ZoneAreas:
    """Sums of a zone's parts; what has neither a class nor a pixel without one is unobserved."""
    nodata_m2 = math.fsum(found.get(None, []))
    values = sorted(value for value in found if value is not None)
    classes = {value: math.fsum(found[value]) for value in values}
    return ZoneAreas(
        zone_id=zone_id,
        name=name,
        parent_id=parent_id,
        zone_area_m2=area_m2,
        classes=classes,
        nodata_m2=nodata_m2,
        unobserved_m2=max(0.0, area_m2 - nodata_m2 - math.fsum(classes.values())),
    )


def _around_the_earth(zones: ZoneSet) -> list[ZoneSet]:
    """The zones where they are drawn and, in degrees, a turn to the west and one to the east."""
    if not zones.crs.is_geographic:
        return [zones]
    turn = 2 * math.pi / float(zones.crs.axis_info[0].unit_conversion_factor)
    shifts = (np.array([by, 0.0]) for by in (0.0, -turn, turn))
    moved = (shapely.transform(zones.geometries, shift.__add__) for shift in shifts)
    return [replace(zones, geometries=geometries) for geometries in moved]


class _Mosaic:
    """Rasters on one grid, the later ones on top."""

    def __init__(self, sources: tuple[DatasetReader, ...], nodata: int | None) -> None:
        first = sources[0]
        self.transform: Affine = first.transform
        self.crs: CRS = parse_crs(first.crs).to_2d()
        self._sources = [(source, self._offset(source, first.name)) for source in sources]
        self._nodata = nodata
        for source in sources:
            check_measurable(self.crs, tuple(source.bounds))
        self._refuse_double_turn(first.name)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of all rasters."""
        each = np.array([tuple(source.bounds) for source, _ in self._sources])
        return (*each[:, :2].min(axis=0).tolist(), *each[:, 2:].max(axis=0).tolist())

    def _refuse_double_turn(self, name: str) -> None:
        """Raises GridError where rasters in degrees go around the Earth more than once."""
        west, _, east, _ = self.bounds
        if self.crs.is_geographic:
            turn = 2 * math.pi / float(self.crs.axis_info[0].unit_conversion_factor)
            if east - west > turn * (1 + 1e-9):
                raise GridError(
                    f"{name} spans longitudes {west:.10g} to {east:.10g}, the limit is one turn of "
                    f"{turn:.6g}: ground would count twice; crop it"
                )

    def windows(self) -> Iterator[Window]:
        """Blocks that some raster touches, counted from the first raster's corner."""
        height = max(1, _BLOCK // split_rows(self.crs, self.transform))
        blocks = {
            (row, column)
            for source, (left, top) in self._sources
            for row in range(top // height, -(-(top + source.height) // height))
            for column in range(left // _BLOCK, -(-(left + source.width) // _BLOCK))
        }
        first_column = min(left for _, (left, _) in self._sources)
        first_row = min(top for _, (_, top) in self._sources)
        right = max(left + source.width for source, (left, _) in self._sources)
        bottom = max(top + source.height for source, (_, top) in self._sources)
        for row, column in sorted(blocks):  # not beyond the rasters: the projection may have an end there
            left, top = max(column * _BLOCK, first_column), max(row * height, first_row)
            width = min((column + 1) * _BLOCK, right) - left
            yield Window(left, top, width, min((row + 1) * height, bottom) - top)

    def read(self, window: Window) -> tuple[npt.NDArray[Any], int]:
        """Labels of a block, int32 or int64 of shape (height, width), and the value that means no label."""
        is_small = all(np.dtype(source.dtypes[0]).itemsize <= 2 for source, _ in self._sources)
        gap = int(np.iinfo(np.int32 if is_small else np.int64).min)
        labels = np.full((window.height, window.width), gap, dtype=np.int32 if is_small else np.int64)
        for source, (left, top) in self._sources:
            first_column, first_row = max(left, window.col_off), max(top, window.row_off)
            columns = min(left + source.width, window.col_off + window.width) - first_column
            rows = min(top + source.height, window.row_off + window.height) - first_row
            if columns <= 0 or rows <= 0:
                continue
            part = Window(first_column - left, first_row - top, columns, rows)
            values, is_valid = self._read_source(source, part)
            row, column = first_row - window.row_off, first_column - window.col_off
            np.copyto(labels[row : row + rows, column : column + columns], values, where=is_valid)
        return labels, gap

    def _read_source(
        self, source: DatasetReader, window: Window
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        try:
            values = source.read(1, window=window)
        except RasterioError as error:
            raise GridError(
                f"{source.name} cannot be read to its end ({error}); it may be truncated: write it again"
            ) from error
        if self._nodata is not None:
            return values, values != self._nodata
        is_valid = source.read_masks(1, window=window) != 0
        unobserved = source.tags().get(
            "UNOBSERVED"
        )  # Orthostat's own composites have two values without a class
        return values, is_valid if unobserved is None else is_valid & (values != int(unobserved))

    def _offset(self, source: DatasetReader, first: str) -> tuple[int, int]:
        crs = parse_crs(source.crs).to_2d()
        if not crs.equals(self.crs, ignore_axis_order=True):
            raise GridError(
                f"{source.name} is in {crs.name}, {first} in {self.crs.name}; warp them to one grid first"
            )
        offset = find_offset(self.transform, source.transform, source.shape)
        if offset is None:
            raise GridError(
                f"{source.name} has pixels of {_grid_of(source.transform)}, {first} of "
                f"{_grid_of(self.transform)}: they are not on one grid; warp them to one (gdalwarp -tap), or "
                "tabulate them one by one"
            )
        return offset


def _open(uri: str, path: Path) -> DatasetReader:
    """Raises GridError unless the file is a single-band integer raster, north up, in a known system."""
    try:
        source = open_image_file(path)
    except RasterioError as error:
        raise GridError(f"{uri} cannot be read as a raster ({error}); give a GeoTIFF of class ids") from error
    problem = _problem(source)
    if problem:
        source.close()
        raise GridError(f"{uri} {problem}")
    return source


def _problem(source: DatasetReader) -> str | None:
    transform = source.transform
    if source.count != 1:
        return f"has {source.count} bands, class ids are 1 band; write the class band alone"
    if source.dtypes[0] not in _TYPES:
        return f"holds {source.dtypes[0]}, class ids are integers ({', '.join(sorted(_TYPES))}); convert it"
    if source.crs is None:
        return "has no coordinate system; write it into the file, e.g. gdal_edit.py -a_srs EPSG:32621"
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        return f"is rotated or not north up ({tuple(transform)[:6]}); warp it with gdalwarp"
    return None


def _grid_of(transform: Affine) -> str:
    return f"{transform.a} by {-transform.e} with a corner at ({transform.c}, {transform.f})"
