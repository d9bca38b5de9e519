"""What an image says of its place in text, read without GDAL: PROJ opens the files that such text names."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_NAMES_FILE = re.compile(
    rb"""PARAMETERFILE|(?:grids=|GRIDS"\s*,\s*")(?!@null(?:[\s"|]|$))[^\s"]{0,200}|\b(?:init|file|model)=[^\s"]{0,200}""",
    re.IGNORECASE,
)
"""Grids, definitions and models, in WKT and in PROJ strings. `@null` alone means no grid; a list that begins
with it does not."""
_GEO_ASCII = 34737
"""The tag GeoAsciiParams (OGC 19-008r4)."""
_MOST_BYTES, _MOST_PARTS = 1 << 20, 10_000


def find_named_file(path: Path, driver: str) -> str | None:
    """How the coordinate system of a GeoTIFF or a JPEG 2000 names a file; None when it names none."""
    parts = {"GTiff": _tiff_texts, "JP2OpenJPEG": _jp2_texts}.get(driver)
    if parts is None:
        return None
    with path.open("rb") as file:
        try:
            found = next((match for text in parts(file) if (match := _NAMES_FILE.search(text))), None)
        except (struct.error, OverflowError, OSError):
            return None  # damaged: GDAL says so
    return None if found is None else found[0].decode("utf-8", "replace")


def _tiff_texts(file: BinaryIO) -> Iterator[bytes]:
    """GeoAsciiParams of every directory, and of what is no directory nothing."""
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    is_big = struct.unpack(f"{order}H", start[2:4])[0] == 43
    word, entry, head = ("Q", "HHQQ", "Q") if is_big else ("I", "HHII", "H")
    (offset,) = struct.unpack_from(f"{order}{word}", start, 8 if is_big else 4)
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MOST_PARTS:
        seen.add(offset)
        file.seek(offset)
        (count,) = struct.unpack(f"{order}{head}", file.read(struct.calcsize(head)))
        size = struct.calcsize(f"{order}{entry}")
        entries = file.read(min(count, 65_535) * size)
        following = file.read(struct.calcsize(f"{order}{word}"))
        for place in range(0, len(entries) - size + 1, size):
            tag, _, length, value = struct.unpack_from(f"{order}{entry}", entries, place)
            if tag == _GEO_ASCII:
                file.seek(value)
                yield file.read(min(length, _MOST_BYTES))
        (offset,) = struct.unpack(f"{order}{word}", following)


def _jp2_texts(file: BinaryIO) -> Iterator[bytes]:
    """Every box but the codestream: GeoJP2 and GMLJP2 say there where the image lies."""
    for _ in range(_MOST_PARTS):
        header = file.read(8)
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header)
        taken = 8
        if length == 1:
            (length,), taken = struct.unpack(">Q", file.read(8)), 16
        if kind != b"jp2c":
            yield file.read(min(max(length - taken, 0), _MOST_BYTES) if length else _MOST_BYTES)
        if not length:
            return
        rest = length - taken if kind == b"jp2c" else max(length - taken - _MOST_BYTES, 0)
        file.seek(rest, 1)
