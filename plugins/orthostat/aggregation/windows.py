"""Rasters in S3, of which only the parts that are asked for are fetched."""

import io
import logging
from typing import Any

import rasterio
from rasterio.abc import FileContainer
from rasterio.io import DatasetReader

from orthostat import storage
from orthostat.errors import StorageError

logger = logging.getLogger(__name__)

_AT_ONCE = 256 * 1024
"""Bytes of a request; a block of a class raster takes less."""


def open_raster(uri: str) -> DatasetReader:
    """A GeoTIFF, local or in S3; of a remote one, reading a window fetches its blocks.

    Raises StorageError when it is missing. Reading raises RasterioIOError when S3 does not answer, or the
    object was replaced meanwhile; the log says which.
    """
    if not storage.is_s3(uri):
        return rasterio.open(uri, driver="GTiff")
    return rasterio.open(uri, driver="GTiff", opener=_OneFile(uri))


class _OneFile(FileContainer):  # type: ignore[misc]
    """What GDAL sees of the bucket: this object, and none beside it."""

    def __init__(self, uri: str) -> None:
        self._object = storage.describe(uri)

    def open(self, path: str, mode: str = "rb", **options: Any) -> io.BufferedReader:
        """The object, to be read from any place."""
        return io.BufferedReader(_Ranges(self._object), _AT_ONCE)

    def isfile(self, path: str) -> bool:
        """Whether it is this object."""
        return path == self._object.uri

    def isdir(self, path: str) -> bool:
        """There is no folder."""
        return False

    def ls(self, path: str) -> list[str]:
        """There is nothing to list."""
        return []

    def mtime(self, path: str) -> int:
        """When the object was written."""
        return int(self._object.last_modified.timestamp())

    def size(self, path: str) -> int:
        """Its bytes."""
        return self._object.size_bytes

    def rm(self, path: str) -> None:
        """Nothing is removed."""
        raise PermissionError(path)


class _Ranges(io.RawIOBase):
    """An object read by ranges."""

    def __init__(self, found: storage.StoredObject) -> None:
        self._object = found
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._object.size_bytes}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what is there."""
        length = min(len(buffer), self._object.size_bytes - self._place)
        if length <= 0:
            return 0
        try:
            data = storage.read_range(self._object.uri, self._place, length, self._object.etag)
        except StorageError as error:  # GDAL knows no exceptions: for it, the file ends here
            logger.warning("%s", error)
            return 0
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
