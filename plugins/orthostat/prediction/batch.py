"""Many scenes with one warm model: the next image is downloaded while this one is predicted."""

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orthostat import storage
from orthostat.errors import SceneError
from orthostat.layout import Layout
from orthostat.planning.manifest import Batch
from orthostat.prediction.bundle import fetch_bundle
from orthostat.prediction.failure import Failure
from orthostat.prediction.item import Prediction
from orthostat.prediction.scene import Work, predict_scene, record_failure

if TYPE_CHECKING:
    from orthostat.prediction.bundle import Bundle
    from orthostat.prediction.model import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What is the same for every scene of a batch."""

    bundle: str
    """URI of the model bundle."""
    sha256: str | None = None
    """The bundle's digest; None opens whatever is there."""
    chip_size: int | None = None
    """Side of the model's window in pixels; None for the bundle's own."""
    batch_size: int | None = None
    """Chips that go through the model together; None for the bundle's own."""
    fill: float | None = None
    """Value that means no data where the image does not say so itself."""


@dataclass(frozen=True)
class Summary:
    """What became of a batch."""

    predicted: int
    skipped: int
    """Scenes that were committed before."""
    failed: int


def predict_batch(batch: Batch) -> Summary:
    """Predict the scenes of a batch; those that are committed already are left alone.

    A scene that fails leaves a failure record and the batch goes on. Raises BundleError when the bundle is
    not the named one or cannot be used, StorageError when nothing can be stored.
    """
    layout = Layout(batch.output)
    work = [
        Work(s, layout.prediction(batch.bundle_sha256, batch.options_sha256, s.acquired, s.scene_id, s.etag))
        for s in batch.scenes
    ]
    waiting = work if batch.is_repredicted else [w for w in work if not _is_committed(w)]
    recipe = Recipe(batch.bundle, batch.bundle_sha256, batch.chip_size, batch.batch_size, batch.fill)
    failed = sum(isinstance(outcome, Failure) for outcome in predict_each(recipe, waiting))
    return Summary(len(waiting) - failed, len(work) - len(waiting), failed)


def predict_each(recipe: Recipe, work: Sequence[Work]) -> Iterator[Prediction | Failure]:
    """Predict one scene after another with one warm model, in the order given.

    Raises BundleError before the first scene, StorageError when a result cannot be stored.
    """
    if not work:
        return
    with tempfile.TemporaryDirectory(prefix="orthostat-") as folder:
        scratch = Path(folder)
        bundle = fetch_bundle(recipe.bundle, recipe.sha256, scratch)
        with contextlib.redirect_stdout(sys.stderr):
            model = open_model(bundle, recipe)
        for number, (item, path) in enumerate(_download_ahead(work, scratch), start=1):
            start = time.monotonic()
            with tempfile.TemporaryDirectory(dir=scratch) as scene_folder:
                outcome = _attempt(model, bundle.sha256, item, path, recipe.fill, Path(scene_folder))
            log.info("[%d/%d] %s: %s, %.1f s", number, len(work), *_told(outcome), time.monotonic() - start)
            yield outcome


def _attempt(
    model: "Model", sha256: str, work: Work, path: "Future[Path]", fill: float | None, scratch: Path
) -> Prediction | Failure:
    """The prediction, or the recorded failure: one bad image never stops the others."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results, and a bundle's code may print
            return predict_scene(model, sha256, work, path.result(), fill, scratch)
    except SceneError as error:
        return record_failure(work, "image", error)
    except Exception as error:
        log.debug("failure of %s", work.scene.scene_id, exc_info=True)
        return record_failure(work, "runtime", error)


def _download_ahead(work: Sequence[Work], scratch: Path) -> Iterator[tuple[Work, "Future[Path]"]]:
    """Each scene with its image; the next image arrives while the caller works on this one."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="download") as pool:
        upcoming = pool.submit(_download, work[0], scratch / "0.image")
        for number, item in enumerate(work):
            current = upcoming
            if number + 1 < len(work):
                upcoming = pool.submit(_download, work[number + 1], scratch / f"{number + 1}.image")
            yield item, current
            (scratch / f"{number}.image").unlink(missing_ok=True)


def _download(work: Work, path: Path) -> Path:
    storage.download(work.scene.image_uri, path, work.scene.etag)
    return path


def _is_committed(work: Work) -> bool:
    if not storage.exists(work.key.item):
        return False
    storage.delete(work.key.failure)  # a process that ended between the commit and this line left it
    return True


def open_model(bundle: "Bundle", recipe: Recipe) -> "Model":
    """Load the bundle's model; the first call imports Raster Vision. Raises BundleError when it cannot."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the package index
    os.environ.setdefault("TMPDIR", tempfile.gettempdir())  # else importing Raster Vision makes /opt/data/tmp
    from orthostat.prediction.load import load_model

    return load_model(bundle, recipe.chip_size, recipe.batch_size)


def _told(outcome: Prediction | Failure) -> tuple[str, str]:
    if isinstance(outcome, Failure):
        return outcome.scene_id, f"failed ({outcome.kind}): {outcome.reason}"
    return outcome.scene_id, f"predicted, {outcome.valid_fraction:.1%} valid"
