"""Proof from S3 that every planned scene has an Item or a failure record, whatever the tasks' states say."""

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.errors import ToleranceError, name_some
from orthostat.planning.manifest import is_since, write_manifest
from orthostat.planning.plan import Plan, pipeline_ledger
from orthostat.prediction.failure import Failure, read_failure
from orthostat.prediction.item import Prediction
from orthostat.prediction.item_copies import read_items
from orthostat.scenes.scene import Scene


class Verification(BaseModel):
    """What became of a run's planned scenes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    committed: tuple[str, ...]
    """Ids of the scenes whose Item is there."""
    failures: tuple[Failure, ...]
    """The others, each with its reason; they stand on the list of scenes to run again."""

    @property
    def planned(self) -> int:
        """Number of planned scenes."""
        return len(self.committed) + len(self.failures)

    @property
    def failed_share(self) -> float:
        """Failed scenes per planned scene, 0 when none was planned."""
        return len(self.failures) / self.planned if self.planned else 0.0


def verify(plan: Plan) -> Verification:
    """Compare the plan with what lies in S3 and store the result beside the plan."""
    ledger = pipeline_ledger(plan.pipeline, plan.window)
    committed, failures = [], []
    items = {} if plan.generation is None else dict(read_items(ledger))
    for scene in plan.scenes():
        key = ledger.key(scene)
        failure = read_failure(key.failure) if key.failure in ledger.marks else None
        if failure is not None:
            failures.append(failure)
        elif key.item not in ledger.marks:
            failures.append(_missing(scene, "neither Item nor failure record"))
        elif plan.generation is not None and not _is_of(plan.generation, items.get(key.item)):
            failures.append(_missing(scene, "its Item is of an earlier prediction"))
        else:
            committed.append(scene.scene_id)
    verification = Verification(committed=tuple(sorted(committed)), failures=tuple(failures))
    write_manifest(plan.layout.run(plan.run_id, "verification.json"), verification)
    return verification


def _is_of(generation: str, prediction: Prediction | None) -> bool:
    return prediction is not None and is_since(prediction.generation, generation)


def _missing(scene: Scene, what: str) -> Failure:
    return Failure(
        scene_id=scene.scene_id,
        image_uri=scene.image_uri,
        etag=scene.etag,
        kind="machine",
        reason=f"{what}: its task ended before the scene was done; see the log of predict",
    )


def read_verification(plan: Plan) -> Verification:
    """The run's verification. Raises StorageError when it was not made."""
    return Verification.model_validate(storage.read_json(plan.layout.run(plan.run_id, "verification.json")))


def require_tolerance(plan: Plan) -> str:
    """The gate at the end of a run; returns a sentence that says how it ended.

    Raises ToleranceError when the share of failed scenes exceeds the pipeline's `max_failed_share`.
    """
    if plan.planned == 0:  # then there was nothing to verify
        return "no scene was to be predicted"
    verification, limit = read_verification(plan), plan.pipeline.max_failed_share
    if verification.failed_share > limit:
        raise ToleranceError(
            f"{len(verification.failures)} of {verification.planned} scenes failed "
            f"({verification.failed_share:.0%}), tolerated are {limit:.0%} (max_failed_share); "
            "verify says of each why"
        )
    return f"{len(verification.committed)} of {verification.planned} planned scenes predicted"


def describe_failures(verification: Verification, most: int = 5) -> str:
    """The failed scenes with their reasons, in one line; empty when none failed."""
    lines = [f"{failure.scene_id}: {failure.reason}" for failure in verification.failures]
    return "; ".join(name_some(lines, most))
