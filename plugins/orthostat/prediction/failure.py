"""The failure record: why a scene has no prediction."""

from pydantic import BaseModel, ConfigDict, ValidationError

from orthostat import __version__, storage
from orthostat.errors import Cause, OutageError, StorageError
from orthostat.planning.manifest import Recipe, Room


class Failure(BaseModel):
    """One scene that could not be predicted."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # a newer version may say more

    scene_id: str
    image_uri: str
    etag: str
    kind: Cause
    """`image`, `bundle`: these bytes fail again, wait for others. `limit`: until it is raised. `storage`,
    `machine`: the next run tries again."""
    reason: str
    """The error's message: value, limit, cure."""
    limit: str | None = None
    """Of a limit that was exceeded, its field in `Limits`."""
    allowed: float | None = None
    """Its value then."""
    room: Room | None = None
    """Of a scene that took too much memory, or ended its pod: what it had."""
    generation: str | None = None
    """The re-prediction that failed; None for a first one."""
    code_version: str = __version__

    def is_final(self, recipe: Recipe) -> bool:
        """Whether predicting the same bytes in this way would fail again."""
        if self.room is not None:
            return not recipe.room.has_more_than(self.room)
        if self.kind == "limit" and self.limit is not None and self.allowed is not None:
            return bool(getattr(recipe.limits, self.limit, 0) <= self.allowed)
        return self.kind in {"image", "bundle"}


def read_failure(uri: str) -> Failure | None:
    """A failure record; None when it is gone, or none that this version understands.

    Raises OutageError when the storage does not answer.
    """
    try:
        return Failure.model_validate(storage.read_json(uri))
    except OutageError:
        raise
    except (StorageError, ValidationError):
        return None
