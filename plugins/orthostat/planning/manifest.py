"""What a pod is told: manifests in S3 that hold all it needs, so that it needs no pipeline file."""

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.scenes.scene import Scene


class Batch(BaseModel):
    """The work of one predict pod: scenes for one warm model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str
    """Root of the pipeline's keys."""
    bundle: str
    bundle_sha256: str
    chip_size: int | None
    """Side of the model's window in pixels; None for the bundle's own."""
    batch_size: int | None
    """Chips that go through the model together; None for the bundle's own."""
    fill: float | None
    """Value that means no data where the image does not say so itself."""
    options_sha256: str
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
