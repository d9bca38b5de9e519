"""Many scenes with one warm model: while one is predicted the next is fetched and the last one is stored."""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orthostat import storage
from orthostat.errors import BundleError, ModelError, SceneError, StorageError
from orthostat.layout import Layout
from orthostat.planning.manifest import Batch, Recipe
from orthostat.prediction.description import describe_bundle
from orthostat.prediction.engines.engine import ENGINES, choose_engine, require_installed
from orthostat.prediction.facts import Facts
from orthostat.prediction.failure import Failure
from orthostat.prediction.fetch import fetch_bundle
from orthostat.prediction.item import Prediction
from orthostat.prediction.options import resolve_options
from orthostat.prediction.process import ModelProcess
from orthostat.prediction.scene import Work, commit_scene, compute_scene, download_image, record_failure

log = logging.getLogger(__name__)


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
    layout, sha256 = Layout(batch.output), batch.recipe.sha256 or ""
    work = [
        Work(s, layout.prediction(sha256, batch.options_sha256, s.acquired, s.scene_id, s.etag))
        for s in batch.scenes
    ]
    waiting = work if batch.is_repredicted else [w for w in work if not _is_committed(w)]
    failed = sum(isinstance(outcome, Failure) for outcome in predict_each(batch.recipe, waiting))
    return Summary(len(waiting) - failed, len(work) - len(waiting), failed)


@contextmanager
def open_model(recipe: Recipe) -> Iterator[ModelProcess]:
    """A process with the recipe's model, loaded. Raises BundleError when it cannot be, StorageError."""
    with tempfile.TemporaryDirectory(prefix="orthostat-") as folder:
        bundle = fetch_bundle(recipe.bundle, recipe.sha256, Path(folder))
        model = describe_bundle(bundle)
        options = resolve_options(model, recipe.options, bundle.uri)
        engine = choose_engine(recipe.engine, model, options, bundle.uri)
        why_not_onnx = ENGINES["onnx"].why_not(model, options)
        require_installed(engine, bundle.uri, why_not_onnx)
        if recipe.engine == "auto":
            log.info("engine %s: %s", engine, why_not_onnx or "the bundle holds all that it needs")
        with ModelProcess(bundle, engine, recipe.options, Path(folder)) as process:
            process.start()
            yield process


def predict_each(recipe: Recipe, work: Sequence[Work]) -> Iterator[Prediction | Failure]:
    """Predict one scene after another with one warm model, in the order given.

    Raises BundleError before the first scene, or when the model cannot be loaded again after it ended;
    StorageError when a result cannot be stored.
    """
    if not work:
        return
    with (
        open_model(recipe) as process,
        tempfile.TemporaryDirectory(prefix="orthostat-") as folder,
        ThreadPoolExecutor(1, thread_name_prefix="store") as store,
    ):
        scratch = Path(folder)
        stored: Future[Prediction | Failure] | None = None
        for number, (item, path) in enumerate(_download_ahead(recipe, work, scratch), start=1):
            start = time.monotonic()
            outcome = _attempt(process, recipe, item, path, scratch / f"{number}.files", store)
            log.info("[%d/%d] %s, %.1f s", number, len(work), item.scene.scene_id, time.monotonic() - start)
            if stored is not None:
                yield _told(stored.result())
            stored = outcome
        if stored is not None:
            yield _told(stored.result())


def _attempt(
    process: ModelProcess,
    recipe: Recipe,
    work: Work,
    path: "Future[Path]",
    folder: Path,
    store: ThreadPoolExecutor,
) -> "Future[Prediction | Failure]":
    """The prediction, stored meanwhile, or the recorded failure: one bad image never stops the others."""
    try:
        facts = compute_scene(process, recipe, work, path.result(), folder)
    except SceneError as error:
        return store.submit(record_failure, work, "image", error)
    except BundleError:
        raise
    except Exception as error:
        log.debug("failure of %s", work.scene.scene_id, exc_info=not isinstance(error, ModelError))
        return store.submit(record_failure, work, "runtime", error)
    return store.submit(_commit, process, recipe, work, facts, folder)


def _commit(
    process: ModelProcess, recipe: Recipe, work: Work, facts: Facts, folder: Path
) -> Prediction | Failure:
    try:
        return commit_scene(process, recipe, work, facts, folder)
    except StorageError as error:
        return record_failure(work, "runtime", error)


def _download_ahead(
    recipe: Recipe, work: Sequence[Work], scratch: Path
) -> Iterator[tuple[Work, "Future[Path]"]]:
    """Each scene with its image; the next image arrives while the caller works on this one."""

    def download(number: int) -> Path:
        return download_image(work[number - 1], scratch / f"{number}.image", recipe.fill)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="download") as pool:
        upcoming = pool.submit(download, 1)
        for number, item in enumerate(work, start=1):
            current = upcoming
            if number < len(work):
                upcoming = pool.submit(download, number + 1)
            yield item, current
            for path in scratch.glob(f"{number}.image*"):
                path.unlink()


def _is_committed(work: Work) -> bool:
    if not storage.exists(work.key.item):
        return False
    storage.delete(work.key.failure)  # a process that ended between the commit and this line left it
    return True


def _told(outcome: Prediction | Failure) -> Prediction | Failure:
    if isinstance(outcome, Failure):
        log.info("%s failed (%s): %s", outcome.scene_id, outcome.kind, outcome.reason)
    else:
        log.info("%s predicted, %.1f%% valid", outcome.scene_id, 100 * outcome.valid_fraction)
    return outcome
