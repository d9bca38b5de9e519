"""What a pod is told: manifests in S3 that hold all it needs, so that it needs no pipeline file."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from orthostat import storage
from orthostat.pipelines.limits import Limits
from orthostat.pipelines.options import EngineChoice, PredictOptions
from orthostat.scenes.scene import Scene

PREDICT_VERSION = 2
"""Rises when equal images give other labels."""


class Room(BaseModel):
    """What decides whether a scene is too much for the model's process, or for its pod."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_mb: float
    scratch_mb: float | None = None
    """What a pod may write; None outside of pods."""
    batch_size: int | None = None
    """Chips that go through the model together; None: as many as the bundle says."""

    def has_more_than(self, other: "Room") -> bool:
        """Whether a scene may pass here that was too much there."""
        has_smaller_batches = self.batch_size is not None and (
            other.batch_size is None or self.batch_size < other.batch_size
        )
        has_scratch = (self.scratch_mb or 0) > (other.scratch_mb or 0)
        return self.memory_mb > other.memory_mb or has_scratch or has_smaller_batches


class Recipe(BaseModel):
    """How scenes are predicted, whichever they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str
    """URI of the model bundle."""
    sha256: str | None = None
    """The bundle's digest; None opens whatever is there."""
    engine: EngineChoice = "auto"
    """What runs the model; `auto` is decided by the bundle."""
    options: PredictOptions = PredictOptions()
    fill: FiniteFloat | None = None
    """Value that means no data in every band where the image does not say so itself."""
    limits: Limits = Field(default_factory=Limits)
    """How much an image, the bundle and their process may take."""
    scratch_mb: float | None = None
    """Megabytes (10^6 bytes) that the pod may write before its node evicts it; None outside of pods."""

    @property
    def room(self) -> Room:
        """What a scene may take."""
        return Room(
            memory_mb=self.limits.memory_mb, scratch_mb=self.scratch_mb, batch_size=self.options.batch_size
        )

    @property
    def decisions(self) -> dict[str, object]:
        """Everything besides model and image that decides the labels, and which files there are."""
        options = self.options.model_dump(mode="json", exclude={"batch_size"})
        return {**options, "engine": self.engine, "fill": self.fill, "version": PREDICT_VERSION}

    def told(self) -> dict[str, object]:
        """What an Item says besides the model's options."""
        wanted = self.options.model_dump(include={"scene_group", "update_stats", "scores", "polygons"})
        return {**wanted, "fill": self.fill, "version": PREDICT_VERSION}


class Batch(BaseModel):
    """The work of one predict pod: scenes for one warm model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str
    """Root of the pipeline's keys."""
    recipe: Recipe
    options_sha256: str
    """Digest of the recipe's decisions, part of every key."""
    scenes: tuple[Scene, ...]
    generation: str | None = None
    """Set to predict again what is committed: names the re-prediction, so that a retry goes on with it."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all images."""
        return sum(scene.size_bytes for scene in self.scenes)


def write_manifest(uri: str, manifest: BaseModel) -> None:
    """Write a manifest as canonical JSON."""
    storage.write_json(uri, manifest.model_dump(mode="json"))


def read_batch(uri: str) -> Batch:
    """The batch at `uri`. Raises StorageError when it is missing."""
    return Batch.model_validate(storage.read_json(uri))


def name_generation(run_id: str) -> str:
    """Names a run that predicts again, and the moment of its plan."""
    return f"{run_id} of {datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def is_since(generation: str | None, wanted: str) -> bool:
    """Whether a prediction is of the generation that is wanted, or of a run that was planned later: of two
    that predict the same scenes again at once, one is as good as the other.
    """
    return generation is not None and generation.rpartition(" of ")[2] >= wanted.rpartition(" of ")[2]
