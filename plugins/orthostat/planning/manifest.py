"""What a pod is told: manifests in S3 that hold all it needs, so that it needs no pipeline file."""

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.pipelines.options import EngineChoice, PredictOptions
from orthostat.scenes.scene import Scene

PREDICT_VERSION = 1
"""Rises when equal images give other labels."""


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
    fill: float | None = None
    """Value that means no data in every band where the image does not say so itself."""

    @property
    def decisions(self) -> dict[str, object]:
        """Everything besides model and image that decides the labels."""
        options = self.options.model_dump(mode="json")
        return {**options, "engine": self.engine, "fill": self.fill, "version": PREDICT_VERSION}


class Batch(BaseModel):
    """The work of one predict pod: scenes for one warm model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str
    """Root of the pipeline's keys."""
    recipe: Recipe
    options_sha256: str
    """Digest of the recipe's decisions, part of every key."""
    scenes: tuple[Scene, ...]
    is_repredicted: bool = False
    """Predict again what is already committed."""

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
