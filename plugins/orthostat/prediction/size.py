"""Whether an image may be read at all: what its header announces, before any of it is decoded."""

from orthostat.pipelines.limits import Limits
from orthostat.prediction.read import Image
from orthostat.prediction.windows import SPAN


def require_size(image: Image, chip_size: int, limits: Limits) -> None:
    """Raises LimitError when the image has too many pixels or bands, or too much of it is decoded at once.

    A block of a file (a tile or strip, of all bands where they are interleaved) is decoded as a whole;
    windows are read a row of them at a time, `windows.SPAN` columns wide at most.
    """
    rows, columns = image.shape
    limits.require("pixels", rows * columns, f"the pixels of {image.name} are", "cut it into scenes")
    limits.require(
        "bands", image.bands, f"the bands of {image.name} are", "leave out those that no model reads"
    )
    read = min(rows, chip_size) * min(columns, SPAN + chip_size) * image.bands * image.value_bytes
    for what, size_bytes in (("a block", image.block_bytes), ("a row of windows", read)):
        limits.require(
            "read_mb",
            size_bytes / 1e6,
            f"the megabytes of {what} of {image.name} are",
            "write it in tiles, e.g. with gdal_translate -of COG",
        )
