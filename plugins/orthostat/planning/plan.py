"""The plan of a run: which scenes are to be predicted, in which batches."""

import heapq
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.errors import ConfigurationError, name_some
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.outputs import require_own_output
from orthostat.pipelines.window import Window, periods_in
from orthostat.planning.manifest import Batch, Recipe, name_generation, read_batch, write_manifest
from orthostat.planning.recipe import options_sha256, pipeline_recipe, require_classes
from orthostat.prediction.failure import Failure, read_failure
from orthostat.scenes.archive import list_scenes
from orthostat.scenes.ledger import Ledger, new_scenes, read_ledger
from orthostat.scenes.scene import Scene
from orthostat.scenes.withdrawals import read_withdrawals

_READERS = 16
_MOST_PROBLEMS = 20
"""Every step reads the plan, and Airflow keeps what is said of it."""


class Plan(BaseModel):
    """What a run set out to do; it holds the pipeline as it was, so that later steps need no file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: Pipeline
    run_id: str
    start: datetime
    """First moment of acquisition that the run is about, UTC."""
    end: datetime
    """UTC, exclusive."""
    listed: int
    """Scenes in the archive that were acquired in the window and not withdrawn."""
    planned: int
    """Scenes to be predicted."""
    batches: tuple[str, ...]
    """URIs of the batches' manifests."""
    generation: str | None = None
    """Of a run that predicts again; names it, and the moment of its plan."""
    waiting: tuple[str, ...] = ()
    """Scenes that failed before and would fail again, each with the kind of its failure: the first, and how
    many."""
    problems: tuple[str, ...] = ()
    """What looks like a scene in the archive and cannot be one, with the reason: the first, and how many."""

    @property
    def window(self) -> Window:
        """The acquisitions that the run is about."""
        return Window(self.start, self.end)

    @property
    def periods(self) -> list[str]:
        """Every period that the window touches."""
        return periods_in(self.window, self.pipeline.period)

    @property
    def layout(self) -> Layout:
        """The pipeline's keys."""
        return Layout(self.pipeline.output)

    def scenes(self) -> list[Scene]:
        """The planned scenes, read from the manifests."""
        return [scene for uri in self.batches for scene in read_batch(uri).scenes]


def make_plan(
    pipeline: Pipeline,
    run_id: str,
    window: Window,
    *,
    is_repredicted: bool = False,
    others: Iterable[Pipeline] = (),
) -> Plan:
    """List the window's scenes, leave out what is committed, and write the batches and the plan to S3.

    Raises SceneError when the archive holds no scene at all, ConfigurationError when the output is another
    pipeline's or may become one of the `others`', or a class to be published is not the model's.
    """
    require_own_output(pipeline, others)
    require_classes(pipeline)
    layout = Layout(pipeline.output)
    listing, withdrawn = list_scenes(pipeline.scenes, window), read_withdrawals(layout)
    scenes = [scene for scene in listing.scenes if scene.scene_id not in withdrawn]
    recipe = pipeline_recipe(pipeline)
    ledger = read_ledger(layout, pipeline.model.sha256, options_sha256(recipe), window)
    failures = {} if is_repredicted else _final_failures(scenes, ledger, recipe)
    planned = scenes if is_repredicted else new_scenes(scenes, ledger, failures)
    generation = name_generation(run_id) if is_repredicted else None
    batches = []
    for number, batch in enumerate(balance(planned, batch_count(planned, pipeline))):
        batches.append(layout.batch(run_id, number))
        write_manifest(batches[-1], _manifest(pipeline, recipe, batch, generation))
    plan = Plan(
        pipeline=pipeline,
        run_id=run_id,
        start=window.start,
        end=window.end,
        listed=len(scenes),
        planned=len(planned),
        batches=tuple(batches),
        generation=generation,
        waiting=tuple(name_some([f"{f.scene_id} ({f.kind})" for f in failures.values()], _MOST_PROBLEMS)),
        problems=tuple(name_some(listing.problems, _MOST_PROBLEMS)),
    )
    write_manifest(layout.plan(run_id), plan)
    return plan


def read_plan(root: str, run_id: str) -> Plan:
    """The plan of a run. Raises ConfigurationError when the run made none."""
    uri = Layout(root).plan(run_id)
    if not storage.exists(uri):
        raise ConfigurationError(f"run '{run_id}' has no plan ({uri}); see what its step 'plan' says")
    return Plan.model_validate(storage.read_json(uri))


def pipeline_ledger(pipeline: Pipeline, window: Window) -> Ledger:
    """What the pipeline's present model and options have left in S3 for the window."""
    options = options_sha256(pipeline_recipe(pipeline))
    return read_ledger(Layout(pipeline.output), pipeline.model.sha256, options, window)


def batch_count(scenes: Sequence[Scene], pipeline: Pipeline) -> int:
    """As many batches as the images' bytes are worth, at most one per scene and `max_pods`."""
    megabytes = sum(scene.size_bytes for scene in scenes) / 1e6
    return min(len(scenes), pipeline.max_pods, max(1, math.ceil(megabytes / pipeline.batch_mb)))


def balance(scenes: Sequence[Scene], count: int) -> list[list[Scene]]:
    """Deal scenes into `count` batches of about equal bytes: largest first, each to the lightest batch."""
    heap: list[tuple[int, int]] = [(0, number) for number in range(count)]
    batches: list[list[Scene]] = [[] for _ in range(count)]
    for scene in sorted(scenes, key=lambda scene: (-scene.size_bytes, scene.scene_id)):
        size, number = heapq.heappop(heap)
        batches[number].append(scene)
        heapq.heappush(heap, (size + scene.size_bytes, number))
    return [batch for batch in batches if batch]


def _final_failures(scenes: Sequence[Scene], ledger: Ledger, recipe: Recipe) -> dict[str, Failure]:
    """The failure records, by URI, of scenes without a prediction that would fail again; one that cannot be
    understood says nothing.
    """
    uris = [ledger.key(scene).failure for scene in scenes if ledger.has_failed(scene)]
    with ThreadPoolExecutor(_READERS) as readers:
        failures = zip(uris, readers.map(read_failure, uris), strict=True)
        return {uri: failure for uri, failure in failures if failure and failure.is_final(recipe)}


def _manifest(pipeline: Pipeline, recipe: Recipe, scenes: Sequence[Scene], generation: str | None) -> Batch:
    return Batch(
        output=pipeline.output,
        recipe=recipe,
        options_sha256=options_sha256(recipe),
        scenes=tuple(scenes),
        generation=generation,
    )
