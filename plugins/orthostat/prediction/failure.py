"""The failure record: why a scene has no prediction."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from orthostat import __version__


class Failure(BaseModel):
    """One scene that could not be predicted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene_id: str
    image_uri: str
    etag: str
    kind: Literal["image", "runtime"]
    """`image`: these bytes fail again, wait for new ones. `runtime`: the next run tries again."""
    reason: str
    """The error's message: value, limit, cure."""
    code_version: str = __version__
