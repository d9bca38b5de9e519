"""Unpacking a model bundle: only entries that stay inside its folder."""

import lzma
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from orthostat.errors import BundleError, MachineError
from orthostat.pipelines.limits import Limits
from orthostat.scratch import FULL

CONFIG_NAME = "pipeline-config.json"
MODEL_NAME = "model-bundle.zip"
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_SMALL_MB = 100
"""Up to so much, it does not matter how well a bundle is packed."""


@dataclass(frozen=True)
class Bundle:
    """An unpacked model bundle."""

    uri: str
    sha256: str
    folder: Path
    """Holds the configuration, the packed model and the statistics, as Raster Vision lays them out."""
    model_folder: Path
    """Holds the unpacked model: the learner's configuration, the weights and the code."""


def unpack_bundle(path: Path, uri: str, sha256: str, scratch: Path, limits: Limits | None = None) -> Bundle:
    """Unpack the zip file at `path` below `scratch`.

    Raises BundleError when it is no Raster Vision bundle or an unsafe one, LimitError when it is too large.
    """
    limits = limits or Limits()
    bundle = Bundle(uri, sha256, scratch / "bundle", scratch / "model-bundle")
    _unpack(path, bundle.folder, uri, limits)
    for name in (CONFIG_NAME, MODEL_NAME):
        if not (bundle.folder / name).is_file():
            raise BundleError(
                f"bundle {uri} holds no {name}; give the file that `rastervision run ... bundle` wrote"
            )
    _unpack(bundle.folder / MODEL_NAME, bundle.model_folder, f"{MODEL_NAME} in {uri}", limits)
    return bundle


def _unpack(path: Path, folder: Path, name: str, limits: Limits) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_size(path, entries, name, limits)
            for entry in entries:
                _check_entry(entry, name)
            archive.extractall(folder)
    except OSError as error:
        if error.errno in FULL:
            raise MachineError(f"{name} cannot be unpacked ({error.strerror}); give more scratch") from error
        raise _damaged(name, error) from error
    # An encrypted entry is a RuntimeError, a NUL in a name a ValueError.
    except (*_UNREADABLE, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> BundleError:
    return BundleError(f"{name} is no readable zip file ({error!s:.200}); upload the bundle again")


def _check_size(path: Path, entries: list[zipfile.ZipInfo], name: str, limits: Limits) -> None:
    """Nothing is unpacked before this: zipfile writes no more of an entry than its header says."""
    unpacked_mb = sum(entry.file_size for entry in entries) / 1e6
    cure = "raise the limit if you trust this bundle"
    limits.require("bundle_entries", len(entries), f"the number of files in {name} is", cure)
    limits.require("bundle_mb", unpacked_mb, f"the megabytes of {name}, unpacked, are", cure)
    if unpacked_mb > _SMALL_MB:
        ratio = unpacked_mb * 1e6 / path.stat().st_size
        limits.require("bundle_ratio", ratio, f"unpacking multiplies the size of {name} by", cure)


def _check_entry(entry: zipfile.ZipInfo, name: str) -> None:
    """Raises BundleError unless the entry is a plain file or folder below the archive's root."""
    written = entry.orig_filename
    path, windows_path = PurePosixPath(written), PureWindowsPath(written)
    mode = entry.external_attr >> 16
    is_plain = stat.S_IFMT(mode) in {0, stat.S_IFREG, stat.S_IFDIR}
    if path.is_absolute() or windows_path.anchor or ".." in windows_path.parts or not is_plain:
        raise BundleError(
            f"{name} holds the entry '{written}', which could reach outside its folder; "
            "only plain files with relative paths are allowed: pack the bundle again"
        )
