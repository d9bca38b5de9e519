"""Finding the one scene of a batch that takes more memory or scratch than its pod has.

What kills a whole pod cannot be caught in it. So the next pod goes scene by scene and leaves a mark before
each; the mark that a killed pod leaves names the scene. It counts only when that very pod was killed for such
a want, not when its spot node went: a mark bears the number of pods killed before.
"""

from pydantic import BaseModel, ConfigDict, ValidationError

from orthostat import storage
from orthostat.errors import LimitError
from orthostat.planning.manifest import Recipe, Room
from orthostat.prediction.scene import Work


class Attempt(BaseModel):
    """The mark of a scene that has a pod's memory to itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overloads: int
    """How many pods of the batch were killed before."""
    room: Room
    """What the scene had."""


def mark_attempt(work: Work, recipe: Recipe, overloads: int) -> None:
    """Say that this scene is tried now, and nothing beside it."""
    mark = Attempt(overloads=overloads, room=recipe.room)
    storage.write_json(work.key.attempt, mark.model_dump())


def unmark_attempt(work: Work) -> None:
    """The scene has its Item or its failure record."""
    storage.delete(work.key.attempt)


def is_overload(work: Work, recipe: Recipe, overloads: int) -> bool:
    """Whether the last pod that was killed was killed at this scene, alone, with no less room than now."""
    if not storage.exists(work.key.attempt):
        return False
    try:
        mark = Attempt.model_validate(storage.read_json(work.key.attempt))
    except ValidationError:
        return False  # another version wrote it
    return mark.overloads == overloads - 1 and not recipe.room.has_more_than(mark.room)


def explain_overload(work: Work, recipe: Recipe) -> LimitError:
    """The failure of such a scene, which waits until its pod has more room."""
    room = recipe.room
    scratch = "" if room.scratch_mb is None else f" and {room.scratch_mb:,.0f} MB of scratch"
    return LimitError(
        f"{work.scene.image_uri} takes more memory or scratch than its pod has, also alone: the pod was "
        f"killed, with {room.memory_mb:,.0f} MB for the model{scratch}; raise resources.memory or "
        "resources.scratch, whichever the run's note says, lower model.batch_size, or cut the image into "
        "scenes",
        "memory_mb",
        room.memory_mb,
    )
