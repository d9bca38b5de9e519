"""Which files are opened as images: by what stands in their first bytes, never by what GDAL might guess."""

from pathlib import Path

import rasterio
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

from orthostat.prediction.geo_text import find_named_file

FORMATS = "GeoTIFF, JPEG 2000, PNG or JPEG"
MOSAIC_SUFFIX = ".vrt"
"""Of a file that we wrote ourselves (`mosaic.write_mosaic`); what is fetched never gets it."""
_MAGIC = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
"""GDAL's driver by the first bytes of a file. None of these formats opens another file, or an address."""


def open_image_file(path: Path) -> DatasetReader:
    """A local file in one of FORMATS, or a mosaic of ours.

    Raises RasterioError when it is neither, or cannot be read. An image is hostile: a file that is called
    .tif and is a list of other files or addresses must not be followed.
    """
    if path.suffix == MOSAIC_SUFFIX:
        return rasterio.open(path, driver="VRT")
    with path.open("rb") as file:
        first = file.read(16)
    for magic, driver in _MAGIC.items():
        if first.startswith(magic):
            named = find_named_file(path, driver)
            if named is not None:  # already opening it would make PROJ open that file
                raise RasterioIOError(
                    f"its coordinate system names a file ({named}); warp it to one with a code"
                )
            return rasterio.open(path, driver=driver)
    raise RasterioIOError(f"its first bytes are those of no {FORMATS}")
