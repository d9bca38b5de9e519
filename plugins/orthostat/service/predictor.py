"""One warm model, kept from one request to the next."""

import logging
import tempfile
import threading
import time
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from orthostat import storage
from orthostat.errors import RefusedError
from orthostat.layout import PredictionKey
from orthostat.prediction.batch import Recipe, open_model
from orthostat.prediction.bundle import fetch_bundle
from orthostat.prediction.images import describe_image
from orthostat.prediction.scene import Work, predict_scene

if TYPE_CHECKING:
    from orthostat.prediction.model import Model

log = logging.getLogger(__name__)


class Predictor:
    """Predicts one image at a time; whoever comes meanwhile waits."""

    def __init__(self, allowed: Collection[str] = ()):
        """Open only bundles whose sha256 is among `allowed`, or any that is asked for when that is empty."""
        self._allowed = frozenset(digest.lower() for digest in allowed)
        self._lock = threading.Lock()
        self._model: Model | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.loaded_sha256: str | None = None
        """Digest of the bundle whose model is warm."""

    @property
    def is_busy(self) -> bool:
        """Whether a prediction runs."""
        return self._lock.locked()

    def predict(self, recipe: Recipe, image: str, output: str) -> dict[str, Any]:
        """Predict one image; `labels.tif` and `item.json` lie straight under `output`. Returns the Item.

        Raises RefusedError when the bundle is not an allowed one, BundleError when it cannot be used,
        SceneError when the image cannot, StorageError when something cannot be read or stored.
        """
        sha256 = (recipe.sha256 or "").lower()
        if self._allowed and sha256 not in self._allowed:
            raise RefusedError(
                f"bundle {recipe.bundle} with sha256 {sha256} is none of the {len(self._allowed)} that this "
                "service opens; start it with --sha256 for this one too"
            )
        started = time.monotonic()
        with self._lock:
            model = self._warm_model(recipe, sha256)
            with tempfile.TemporaryDirectory(prefix="orthostat-") as folder:
                name = PurePosixPath(image).stem
                work = Work(describe_image(image, name), PredictionKey(output), is_dated_by_file=True)
                path = Path(folder) / "image"
                storage.download(work.scene.image_uri, path, work.scene.etag)
                prediction = predict_scene(model, sha256, work, path, recipe.fill, Path(folder))
        log.info("%s predicted, %.1f s with waiting", image, time.monotonic() - started)
        return prediction.to_stac()

    def close(self) -> None:
        """Let the model go, and its files."""
        self._model = self.loaded_sha256 = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _warm_model(self, recipe: Recipe, sha256: str) -> "Model":
        """The model of the bundle with that digest, loaded unless it is the one that was used last."""
        if self._model is None or self.loaded_sha256 != sha256:
            self.close()  # before the next is loaded: a GPU may not hold two
            self._folder = tempfile.TemporaryDirectory(prefix="orthostat-")
            bundle = fetch_bundle(recipe.bundle, sha256, Path(self._folder.name))
            self._model = open_model(bundle, recipe)
            self.loaded_sha256 = sha256
        return self._model
