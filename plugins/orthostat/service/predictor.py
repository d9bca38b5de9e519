"""One warm model, kept from one request to the next."""

import logging
import threading
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any

from orthostat.errors import RefusedError
from orthostat.layout import PredictionKey
from orthostat.pipelines.options import PredictOptions
from orthostat.planning.manifest import Recipe
from orthostat.prediction.batch import open_model
from orthostat.prediction.images import describe_work
from orthostat.prediction.process import ModelProcess
from orthostat.prediction.scene import download_image, predict_scene, refuse_inputs_as_outputs
from orthostat.prediction.stac import to_stac
from orthostat.scratch import scratch_folder

log = logging.getLogger(__name__)


class Predictor:
    """Predicts one image at a time; whoever comes meanwhile waits."""

    def __init__(self, allowed: Collection[str] = ()):
        """Open only bundles whose sha256 is among `allowed`, or any that is asked for when that is empty."""
        self._allowed = frozenset(digest.lower() for digest in allowed)
        self._lock = threading.Lock()
        self._process: ModelProcess | None = None
        self._key: tuple[str, str, PredictOptions] | None = None
        self._open = ExitStack()

    @property
    def is_busy(self) -> bool:
        """Whether a prediction runs."""
        return self._lock.locked()

    @property
    def loaded_sha256(self) -> str | None:
        """Digest of the bundle whose model is warm."""
        return None if self._process is None else self._process.sha256

    def predict(self, recipe: Recipe, image: str, output: str) -> dict[str, Any]:
        """Predict one image; its files and `item.json` lie straight under `output`. Returns the Item.

        Raises RefusedError when the bundle is not an allowed one, BundleError when it cannot be used,
        SceneError when the image cannot, ModelError when the model's process failed, StorageError when
        something cannot be read or stored.
        """
        sha256 = (recipe.sha256 or "").lower()
        if self._allowed and sha256 not in self._allowed:
            raise RefusedError(
                f"bundle {recipe.bundle} with sha256 {sha256} is none of the {len(self._allowed)} that this "
                "service opens; start it with --sha256 for this one too"
            )
        refuse_inputs_as_outputs([recipe.bundle, image], PredictionKey(output))
        started = time.monotonic()
        with self._lock:
            process = self._warm_process(recipe)
            with scratch_folder() as folder:
                name = PurePosixPath(image).stem
                work = describe_work([image], name, PredictionKey(output))
                path = folder / "image"
                path = download_image(work, path, recipe.fill, recipe.limits)
                prediction = predict_scene(process, recipe, work, path, folder / "files")
        log.info("%s predicted, %.1f s with waiting", image, time.monotonic() - started)
        return to_stac(prediction)

    def close(self) -> None:
        """Let the model go, and its files."""
        self._process = self._key = None
        self._open.close()

    def _warm_process(self, recipe: Recipe) -> ModelProcess:
        """The process of the recipe's model: the one that was used last, if it is the same."""
        key = ((recipe.sha256 or "").lower(), recipe.engine, recipe.options)
        if self._process is None or self._key != key:
            self.close()  # before the next is loaded: a GPU may not hold two
            self._process = self._open.enter_context(open_model(recipe))
            self._key = key
        return self._process
