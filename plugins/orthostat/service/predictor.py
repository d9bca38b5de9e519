"""What is done for a job: fetch the image, borrow the model, predict, store, commit by the Item."""

import logging
import time
from pathlib import PurePosixPath
from typing import Any

from orthostat import storage
from orthostat.layout import PredictionKey
from orthostat.pipelines.options import EngineChoice
from orthostat.planning.manifest import Recipe
from orthostat.prediction.images import describe_work, remove_outdated
from orthostat.prediction.scene import (
    Work,
    commit_scene,
    compute_scene,
    download_image,
    refuse_inputs_as_outputs,
)
from orthostat.prediction.stac import to_stac
from orthostat.scratch import scratch_folder
from orthostat.service.job import Job, Ticket
from orthostat.service.models import WarmModels
from orthostat.service.request import PredictionRequest

log = logging.getLogger(__name__)


class Predictor:
    """Predicts with warm models."""

    def __init__(self, models: WarmModels, engine: EngineChoice = "auto"):
        """`engine` runs every model."""
        self._models = models
        self._engine = engine

    def describe(self, request: PredictionRequest) -> Work:
        """The image as it is now, and where its prediction goes.

        Raises MissingError when there is no image, ConfigurationError when it would be written over.
        """
        key = PredictionKey(request.output.rstrip("/"))
        refuse_inputs_as_outputs([request.model, request.image], key)
        return describe_work([request.image], PurePosixPath(request.image).stem, key)

    def recipe(self, job: Job) -> Recipe:
        """How the job's image is predicted."""
        request = job.request
        return Recipe(bundle=request.model, sha256=job.sha256, engine=self._engine, fill=request.fill)

    def predict(self, ticket: Ticket, *, is_large: bool) -> dict[str, Any]:
        """The Item of the job's image, which is committed by then.

        Raises OrthostatError, by its cause, and DismissedError.
        """
        work, recipe = ticket.work, self.recipe(ticket.job)
        started = time.monotonic()
        last_told = started

        def report(share: float) -> None:
            nonlocal last_told
            if time.monotonic() - last_told > _TELL_SECONDS:
                last_told = time.monotonic()
                ticket.tell(int(100 * share))

        with scratch_folder() as folder:
            path = download_image(work, folder / "image", recipe.fill, recipe.limits)
            ticket.require_wanted()
            with self._models.borrow(recipe, is_large=is_large) as process:
                ticket.use(process)
                try:
                    facts = compute_scene(process, recipe, work, path, folder / "files", report)
                finally:
                    ticket.release()
            ticket.require_wanted()
            remove_outdated(work.scene, work.key)
            prediction = commit_scene(process, recipe, work, facts, folder / "files")
        log.info("%s predicted, %.1f s", work.scene.image_uri, time.monotonic() - started)
        return to_stac(prediction)

    @staticmethod
    def is_committed(work: Work, job: Job) -> dict[str, Any] | None:
        """The Item that an earlier attempt at the same job has committed."""
        if not job.attempts or not storage.exists(work.key.item):
            return None
        item: dict[str, Any] = storage.read_json(work.key.item)
        properties, assets = item.get("properties") or {}, item.get("assets") or {}
        digest = (assets.get("model") or {}).get("file:checksum", "")
        is_same = properties.get("orthostat:source_etag") == work.scene.etag and digest.endswith(job.sha256)
        return item if is_same else None


_TELL_SECONDS = 5.0
"""Progress is told no more often: each time is a write in S3."""
