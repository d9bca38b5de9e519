"""Adding the ONNX model to a bundle, and proving on an image that both engines say the same."""

import logging
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from orthostat import storage
from orthostat.errors import BundleError, ConfigurationError, ModelError
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction.bundle import MODEL_NAME, Bundle, unpack_bundle
from orthostat.prediction.compare import Difference, compare
from orthostat.prediction.description import ONNX_NAME, describe_bundle
from orthostat.prediction.engines.choice import EngineName, choose_engine, require_installed
from orthostat.prediction.environment import clean_environment
from orthostat.prediction.fetch import fetch_bundle
from orthostat.prediction.options import resolve_options
from orthostat.prediction.process import ModelProcess
from orthostat.scratch import scratch_folder

log = logging.getLogger(__name__)

_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Added:
    """A bundle with its ONNX model."""

    sha256: str
    difference: Difference


def add_onnx(
    uri: str, sha256: str | None, image: str, output: str, limit: float, fill: float | None = None
) -> Added:
    """Write the bundle with `model.onnx` to `output`, if the engines agree on the image.

    `limit` is the share of pixels, cells or boxes that may differ, and the most by which a score may. Raises
    BundleError when the bundle cannot be exported or the engines differ by more, SceneError when the image
    cannot be used, StorageError; nothing is written then.
    """
    if output in (uri, image):
        raise ConfigurationError(f"the output {output} is the input; give another place")
    with scratch_folder() as folder:
        bundle = fetch_bundle(uri, sha256, folder)
        for engine in ("onnx", "raster-vision"):
            require_installed(engine, uri, None)
        path = _export(bundle, folder)
        packed = _pack(bundle, folder / "bundle.zip", path, folder / "packed.zip")
        (folder / "new").mkdir()
        digest = storage.file_sha256(packed)
        made = unpack_bundle(packed, output, digest, folder / "new")
        difference = _compare(made, image, fill, folder)
        log.info("%s", difference.told)
        if difference.share > limit or difference.score > limit:
            raise BundleError(
                f"the ONNX model of {uri} differs from the original on {image} by more than {limit:g}: "
                f"{difference.told}; nothing was written: predict with the engine raster-vision, or give a "
                "--limit that you can answer for"
            )
        storage.upload(packed, output, "application/zip")
        return Added(digest, difference)


def _export(bundle: Bundle, scratch: Path) -> Path:
    """The network as ONNX: the bundle's code runs in a process of its own."""
    path = scratch / "export" / ONNX_NAME
    path.parent.mkdir()
    model = describe_bundle(bundle)
    size = resolve_options(model, PredictOptions(), bundle.uri).batch_size
    done = subprocess.run(
        [
            *(sys.executable, "-m", "orthostat.prediction.engines.export"),
            *(str(bundle.folder), str(bundle.model_folder), str(size), str(path)),
        ],
        env=clean_environment(scratch),
        cwd=scratch,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode or not path.is_file():
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise BundleError(
            f"the network of {bundle.uri} cannot be exported ({last[0][:500]}); change what torch cannot "
            "trace, or predict with the engine raster-vision"
        )
    beside = sorted(file.name for file in path.parent.iterdir() if file != path)
    if beside:
        raise BundleError(
            f"the network of {bundle.uri} is too large for one ONNX file: {beside} lie beside it"
        )
    return path


def _pack(bundle: Bundle, original: Path, onnx: Path, packed: Path) -> Path:
    """The bundle's zip file with the ONNX model in its model bundle; equal content gives equal bytes."""
    inner = packed.with_name("packed-model.zip")
    _copy(bundle.folder / MODEL_NAME, inner, {ONNX_NAME: onnx.read_bytes()})
    _copy(original, packed, {MODEL_NAME: inner.read_bytes()})
    return packed


def _copy(source: Path, target: Path, changes: dict[str, bytes]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = {name for name in old.namelist() if not name.endswith("/")} | set(changes)
        for name in sorted(names):
            entry = zipfile.ZipInfo(name, date_time=_DATE)
            entry.external_attr = 0o644 << 16
            data = changes[name] if name in changes else old.read(name)
            new.writestr(entry, data, compress_type=zipfile.ZIP_DEFLATED)


def _compare(bundle: Bundle, image: str, fill: float | None, scratch: Path) -> Difference:
    path = scratch / "image"
    storage.download(image, path)
    is_segmentation = describe_bundle(bundle).task == "semantic_segmentation"
    options = PredictOptions(smooth=True, scores=True) if is_segmentation else PredictOptions()
    model = describe_bundle(bundle)
    choose_engine("onnx", model, resolve_options(model, options, bundle.uri), bundle.uri)
    folders = {}
    engines: tuple[EngineName, ...] = ("onnx", "raster-vision")
    for engine in engines:
        folders[engine] = scratch / engine
        folders[engine].mkdir()
        with ModelProcess(bundle, engine, options, scratch) as process:
            try:
                process.predict(path, image, fill, folders[engine])
            except ModelError as error:
                raise BundleError(f"the engine {engine} cannot run {bundle.uri}: {error}") from error
    return compare(model.task, folders["raster-vision"], folders["onnx"])
