"""A scene: one acquisition, the unit of fan-out."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Scene(BaseModel):
    """One image in the archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene_id: str
    """Equals the STAC Item id."""
    image_uri: str
    etag: str
    """Entity tag of the image's bytes: a replaced image is another source."""
    size_bytes: int
    last_modified: datetime
    """When these bytes arrived, UTC."""
    acquired: datetime
    """When the image was taken, UTC."""
    platform: str | None = None
    """What took it, where the archive says so."""
    cloud_cover_pct: float | None = None
    """Per cent of the scene under cloud, where the archive says so."""
