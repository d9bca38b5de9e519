"""Many scenes with one warm model: while one is predicted the next is fetched and the last one is stored."""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orthostat import storage
from orthostat.errors import BundleError, MachineError, OrthostatError, OutageError
from orthostat.layout import Layout
from orthostat.planning.manifest import Batch, Recipe
from orthostat.prediction.description import describe_bundle
from orthostat.prediction.engines.choice import ENGINES, choose_engine, require_installed
from orthostat.prediction.failure import Failure, read_failure
from orthostat.prediction.fetch import fetch_bundle
from orthostat.prediction.item import Prediction
from orthostat.prediction.launch import Launched
from orthostat.prediction.options import resolve_options
from orthostat.prediction.overload import explain_overload, is_overload, mark_attempt, unmark_attempt
from orthostat.prediction.process import ModelProcess
from orthostat.prediction.scene import Work, commit_scene, compute_scene, download_image, record_failure
from orthostat.prediction.stac import read_since
from orthostat.scratch import scratch_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What became of a batch."""

    predicted: int
    skipped: int
    """Scenes that were committed before."""
    failed: int


def predict_batch(batch: Batch, overloads: int = 0, early: Launched | None = None) -> Summary:
    """Predict the scenes of a batch; those that are committed already are left alone.

    `overloads` pods of this batch were killed for want of memory or scratch: after the first, each scene has
    a model to itself, and the one at which that is killed, too, is recorded as failed. `early` is a process
    for the model that was started already.

    A scene that fails leaves a failure record and the batch goes on; a second attempt goes on where the first
    ended. Raises BundleError when the bundle is not the named one or cannot be used, OutageError and
    MachineError when no other scene would fare better: those leave no record.
    """
    layout, sha256 = Layout(batch.output), batch.recipe.sha256 or ""
    work = [
        Work(
            scene,
            layout.prediction(sha256, batch.options_sha256, scene.acquired, scene.scene_id, scene.etag),
            generation=batch.generation,
        )
        for scene in batch.scenes
    ]
    todo = [one for one in work if not _is_committed(one)]
    waiting = [one for one in todo if not _has_failed(one, batch.recipe)]
    if overloads and early is not None:
        early.kill()  # it would take memory from those that had too little
    outcomes = (
        predict_apart(batch.recipe, waiting, overloads)
        if overloads
        else predict_each(batch.recipe, waiting, early=early)
    )
    skipped, failed = len(work) - len(todo), len(todo) - len(waiting)
    with closing(outcomes):  # whatever interrupts this loop, its model ends first
        for number, outcome in enumerate(outcomes, start=len(work) - len(waiting) + 1):
            failed += isinstance(outcome, Failure)
            log.info("%d of %d scenes done, %d failed", number, len(work), failed)
    return Summary(len(work) - skipped - failed, skipped, failed)


def prepare_model(recipe: Recipe, folder: Path, early: Launched | None = None) -> ModelProcess:
    """The recipe's model, fetched into `folder` and checked, in a process that is still to be started.

    Raises BundleError when it is not the named one or cannot be used, LimitError, StorageError.
    """
    bundle = fetch_bundle(recipe.bundle, recipe.sha256, folder, recipe.limits)
    model = describe_bundle(bundle)
    options = resolve_options(model, recipe.options, bundle.uri)
    engine = choose_engine(recipe.engine, model, options, bundle.uri)
    why_not_onnx = ENGINES["onnx"].why_not(model, options)
    require_installed(engine, bundle.uri, why_not_onnx)
    if recipe.engine == "auto":
        log.info("engine %s: %s", engine, why_not_onnx or "the bundle holds all that it needs")
    return ModelProcess(bundle, engine, recipe.options, folder, recipe.limits, early)


@contextmanager
def open_model(recipe: Recipe, early: Launched | None = None) -> Iterator[ModelProcess]:
    """A process with the recipe's model, loaded. Raises BundleError when it cannot be, StorageError."""
    with scratch_folder() as folder, prepare_model(recipe, folder, early) as process:
        process.start()
        yield process


def predict_each(
    recipe: Recipe,
    work: Sequence[Work],
    begin: Callable[[Work], None] = lambda work: None,
    early: Launched | None = None,
) -> Generator[Prediction | Failure]:
    """Predict one scene after another with one warm model, in the order given; `begin` is told of each.

    Raises BundleError before the first scene, or when the model cannot be loaded again after it ended;
    StorageError when a result cannot be stored, OutageError, MachineError.
    """
    if not work:
        return
    with (
        open_model(recipe, early) as process,
        scratch_folder() as folder,
        ThreadPoolExecutor(1, thread_name_prefix="store") as store,
    ):
        scratch = folder
        stored: Future[Prediction | Failure] | None = None
        for number, (item, path) in enumerate(_download_ahead(recipe, work, scratch), start=1):
            start = time.monotonic()
            begin(item)
            outcome = _attempt(process, recipe, item, path, scratch / f"{number}.files", store)
            log.info("[%d/%d] %s, %.1f s", number, len(work), item.scene.scene_id, time.monotonic() - start)
            if stored is not None:
                yield _told(stored.result())
            stored = outcome
        if stored is not None:
            yield _told(stored.result())


def predict_apart(recipe: Recipe, work: Sequence[Work], overloads: int) -> Generator[Prediction | Failure]:
    """Predict each scene with a model of its own; raises as `predict_each` does."""
    if overloads == 1:  # marks of another run, whose pods were not killed for memory
        for one in work:
            unmark_attempt(one)
    for one in work:
        if is_overload(one, recipe, overloads):
            yield _told(record_failure(one, explain_overload(one, recipe), recipe))
        else:
            # After the model is loaded: if that is too much, it is no scene's doing.
            yield from predict_each(recipe, [one], lambda it: mark_attempt(it, recipe, overloads))
        unmark_attempt(one)


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
    except (BundleError, OutageError, MachineError):
        raise  # no other scene would fare better
    except OrthostatError as error:
        return store.submit(record_failure, work, error, recipe)
    return store.submit(commit_scene, process, recipe, work, facts, folder)


def _download_ahead(
    recipe: Recipe, work: Sequence[Work], scratch: Path
) -> Iterator[tuple[Work, "Future[Path]"]]:
    """Each scene with its image; the next image arrives while the caller works on this one."""

    def download(number: int) -> Path:
        return download_image(work[number - 1], scratch / f"{number}.image", recipe.fill, recipe.limits)

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
    if work.generation is not None and read_since(work.key.item, work.generation) is None:
        return False
    storage.delete(work.key.failure)  # a process that ended between the commit and this line left it
    return True


def _has_failed(work: Work, recipe: Recipe) -> bool:
    """Whether an earlier attempt at this batch left a record that says that it will fail again."""
    failure = read_failure(work.key.failure) if storage.exists(work.key.failure) else None
    return failure is not None and failure.generation == work.generation and failure.is_final(recipe)


def _told(outcome: Prediction | Failure) -> Prediction | Failure:
    if isinstance(outcome, Failure):
        log.info("%s failed (%s): %s", outcome.scene_id, outcome.kind, outcome.reason)
    else:
        log.info("%s predicted, %.1f%% valid", outcome.scene_id, 100 * outcome.valid_fraction)
    return outcome
