"""Unpacking a model bundle: only entries that stay inside its folder."""

import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from orthostat.errors import BundleError

CONFIG_NAME = "pipeline-config.json"
MODEL_NAME = "model-bundle.zip"


@dataclass(frozen=True)
class Bundle:
    """An unpacked model bundle."""

    uri: str
    sha256: str
    folder: Path
    """Holds the configuration, the packed model and the statistics, as Raster Vision lays them out."""
    model_folder: Path
    """Holds the unpacked model: the learner's configuration, the weights and the code."""


def unpack_bundle(path: Path, uri: str, sha256: str, scratch: Path) -> Bundle:
    """Unpack the zip file at `path` below `scratch`.

    Raises BundleError when it is no Raster Vision bundle or an unsafe one.
    """
    bundle = Bundle(uri, sha256, scratch / "bundle", scratch / "model-bundle")
    _unpack(path, bundle.folder, uri)
    for name in (CONFIG_NAME, MODEL_NAME):
        if not (bundle.folder / name).is_file():
            raise BundleError(
                f"bundle {uri} holds no {name}; give the file that `rastervision run ... bundle` wrote"
            )
    _unpack(bundle.folder / MODEL_NAME, bundle.model_folder, f"{MODEL_NAME} in {uri}")
    return bundle


def _unpack(path: Path, folder: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _check_entry(entry, name)
            archive.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise BundleError(f"{name} is no readable zip file ({error}); upload the bundle again") from error


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
