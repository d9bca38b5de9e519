"""Fetching a model bundle: only the named bytes are opened."""

import logging
from pathlib import Path

from orthostat import storage
from orthostat.errors import BundleError
from orthostat.pipelines.limits import Limits
from orthostat.prediction.bundle import Bundle, unpack_bundle

log = logging.getLogger(__name__)


def fetch_bundle(uri: str, sha256: str | None, scratch: Path, limits: Limits | None = None) -> Bundle:
    """Download the bundle, check its digest and its entries, and unpack it below `scratch`.

    Without `sha256` the digest is only logged. Raises BundleError when the digest is another one, or the file
    is no Raster Vision bundle or an unsafe one; LimitError when it is too large; StorageError when it cannot
    be read.
    """
    limits = limits or Limits()
    size_mb = storage.describe(uri).size_bytes / 1e6
    limits.require("bundle_mb", size_mb, f"the megabytes of {uri} are", "raise the limit if you trust it")
    path = scratch / "bundle.zip"
    storage.download(uri, path)
    found = storage.file_sha256(path)
    if sha256 is None:
        log.info("bundle %s has sha256 %s; no digest was given to check it against", uri, found)
    elif found != sha256.lower():
        raise BundleError(
            f"bundle {uri} has sha256 {found}, named was {sha256.lower()}; a bundle is code, so it was not "
            "opened: upload the named bundle again, or review this one and name its sha256"
        )
    return unpack_bundle(path, uri, found, scratch, limits)
