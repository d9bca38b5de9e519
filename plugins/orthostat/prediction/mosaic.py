"""Several files of one scene, seen as one image: nothing is copied, a GDAL virtual raster names the parts."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rasterio.enums import MaskFlags

from orthostat.errors import SceneError
from orthostat.prediction.formats import open_image_file
from orthostat.prediction.read import translated

_MOST_EMPTY = 100
"""A scene may have so many times the pixels of its parts."""
_OFF_GRID = 1e-3
"""Pixels by which a part may miss the grid of the first."""
_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
"""What GDAL calls them."""

_Part = tuple[Any, tuple[int, int]]
"""An open file, and the column and row of its first pixel in the whole."""


def write_mosaic(parts: Mapping[str, Path], path: Path, fill: float | None) -> None:
    """Write a virtual raster of local files, by the names that errors call them; later ones lie on top.

    It covers all parts. What no part covers holds no data, nor what each part says so of itself: by nodata
    value, mask or alpha band, else by `fill`. Raises SceneError when a part is no image, is no north-up
    raster, or differs from the first in coordinate system, pixel size, grid, bands, type or nodata value.
    """
    with ExitStack() as stack:
        datasets = []
        for name, part in parts.items():
            with translated(name, part):
                datasets.append(stack.enter_context(open_image_file(part)))
        first = datasets[0]
        for name, dataset in zip(parts, datasets, strict=True):
            _require_same(next(iter(parts)), first, name, dataset)
        _refuse_hidden_data(list(parts), datasets, fill)
        path.write_bytes(ElementTree.tostring(_virtual_raster(datasets, fill), encoding="utf-8"))


def _require_same(first_name: str, first: Any, name: str, dataset: Any) -> None:
    transform = dataset.transform
    if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        raise SceneError(
            f"{name} is not north-up (transform {tuple(transform)[:6]}), and parts of one scene are joined "
            "along rows and columns; warp it first, e.g. with gdalwarp"
        )
    column, row = ~first.transform * (transform.c, transform.f)
    facts = {
        "coordinate system": (first.crs, dataset.crs),
        "pixel size": (first.res, dataset.res),
        "place on the grid": ((0.0, 0.0), (_off_grid(column), _off_grid(row))),
        "number of bands": (first.count, dataset.count),
        "bands' meaning": (first.colorinterp, dataset.colorinterp),
        "type": (first.dtypes, dataset.dtypes),
        "nodata": (str(first.nodatavals), str(dataset.nodatavals)),  # as text: NaN is not equal to itself
    }
    for what, (wanted, given) in facts.items():
        if wanted != given:
            raise SceneError(
                f"{name} is no part of one scene with {first_name}: its {what} is {given}, not {wanted}; "
                "warp it to the grid of the others, or predict it as a scene of its own"
            )
    if not set(dataset.dtypes) <= _TYPES.keys():
        raise SceneError(f"{name} holds {dataset.dtypes[0]}; parts of a scene may hold {', '.join(_TYPES)}")


def _refuse_hidden_data(names: Sequence[str], datasets: Sequence[Any], fill: float | None) -> None:
    """`fill` means no data in all bands together, which a virtual raster cannot tell where parts overlap."""
    flags = {flag for dataset in datasets for band in dataset.mask_flag_enums for flag in band}
    if fill is None or flags & {MaskFlags.nodata, MaskFlags.per_dataset}:
        return
    for (name, one), (other, two) in combinations(zip(names, datasets, strict=True), 2):
        if _overlap(one.bounds, two.bounds):
            raise SceneError(
                f"{name} and {other} overlap, and {fill:g} (--fill) in the one would hide data of the other; "
                f"tag it as nodata in the files, e.g. with gdal_edit.py -a_nodata {fill:g}"
            )


def _refuse_emptiness(pixels: int, of_parts: int) -> None:
    """One wrong coordinate would make a scene of nothing but gaps."""
    if pixels > _MOST_EMPTY * of_parts:
        raise SceneError(
            f"the parts lie so far from one another that the scene would have {pixels:,} pixels, they have "
            f"{of_parts:,} together, allowed are {_MOST_EMPTY} times as many; check their places, or predict "
            "them as scenes of their own"
        )


def _overlap(one: Any, two: Any) -> bool:
    """Whether two bounds share some area, and not an edge alone."""
    wide = min(one.right, two.right) - max(one.left, two.left)
    high = min(one.top, two.top) - max(one.bottom, two.bottom)
    return bool(wide > 0 and high > 0)


def _off_grid(pixels: float) -> float:
    """Distance in pixels from the nearest whole one, 0 where it is only rounding."""
    distance = abs(pixels - round(pixels))
    return 0.0 if distance < _OFF_GRID else round(distance, 3)


def _virtual_raster(datasets: Sequence[Any], fill: float | None) -> ElementTree.Element:
    first = datasets[0]
    left = min(dataset.bounds.left for dataset in datasets)
    top = max(dataset.bounds.top for dataset in datasets)
    width, height = first.res
    parts = [
        (d, (round((d.bounds.left - left) / width), round((top - d.bounds.top) / height))) for d in datasets
    ]
    columns = max(column + d.width for d, (column, _) in parts)
    rows = max(row + d.height for d, (_, row) in parts)
    _refuse_emptiness(columns * rows, sum(d.width * d.height for d, _ in parts))
    root = ElementTree.Element("VRTDataset", rasterXSize=str(columns), rasterYSize=str(rows))
    if first.crs is not None:
        _add(root, "SRS", first.crs.to_wkt(), dataAxisToSRSAxisMapping="1,2")
    _add(root, "GeoTransform", f"{left!r}, {width!r}, 0, {top!r}, 0, {-height!r}")
    if "TIFFTAG_DATETIME" in first.tags():
        metadata = ElementTree.SubElement(root, "Metadata")
        _add(metadata, "MDI", first.tags()["TIFFTAG_DATETIME"], key="TIFFTAG_DATETIME")
    flags = [flag for dataset in datasets for band in dataset.mask_flag_enums for flag in band]
    is_masked = MaskFlags.per_dataset in flags
    is_silent = MaskFlags.nodata not in flags and not is_masked
    for number in range(1, first.count + 1):
        _add_band(root, parts, number, fill if is_silent else None, is_masked=is_masked)
    if is_masked or (is_silent and fill is None):
        mask = ElementTree.SubElement(
            ElementTree.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte"
        )
        for part in parts:
            _add(_add_source(mask, part, "mask,1"), "NODATA", "0")
    return root


def _add_band(
    root: ElementTree.Element, parts: Sequence[_Part], number: int, fill: float | None, *, is_masked: bool
) -> None:
    first = parts[0][0]
    nodata = first.nodatavals[number - 1]
    band = ElementTree.SubElement(
        root, "VRTRasterBand", dataType=_TYPES[first.dtypes[number - 1]], band=str(number)
    )
    _add(band, "ColorInterp", first.colorinterp[number - 1].name.capitalize())
    if nodata is not None:
        _add(band, "NoDataValue", repr(nodata))
    elif fill is not None:
        _add(
            band, "NoDataValue", repr(fill)
        )  # the gaps hold it; whether it means no data, the reader decides
        _add(band, "HideNoDataValue", "1")
    for part in parts:
        source = _add_source(band, part, str(number))
        if nodata is not None:
            _add(source, "NODATA", repr(nodata))
        elif is_masked:
            _add(source, "UseMaskBand", "true")
        elif first.dtypes[number - 1].startswith("float"):
            _add(source, "NODATA", "nan")


def _add_source(band: ElementTree.Element, part: _Part, number: str) -> ElementTree.Element:
    dataset, (column, row) = part
    size = {"xSize": str(dataset.width), "ySize": str(dataset.height)}
    source = ElementTree.SubElement(band, "ComplexSource")
    _add(source, "SourceFilename", dataset.name, relativeToVRT="0")
    _add(source, "SourceBand", number)
    ElementTree.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ElementTree.SubElement(source, "DstRect", {"xOff": str(column), "yOff": str(row), **size})
    return source


def _add(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
