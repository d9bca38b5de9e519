"""Listing the archive: every scene that was acquired in a window, by key pattern or by STAC Item."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from orthostat import storage
from orthostat.errors import SceneError
from orthostat.pipelines.config import Scenes
from orthostat.pipelines.window import Window
from orthostat.scenes.scene import Scene
from orthostat.storage import StoredObject


@dataclass(frozen=True)
class _Acquisition:
    """What a key or an Item says of a scene before its image is looked at."""

    scene_id: str
    acquired: datetime
    image: str | StoredObject
    """The listed object, or the URI that an Item names."""
    cloud_cover_pct: float | None = None


def list_scenes(scenes: Scenes, window: Window) -> list[Scene]:
    """The archive's scenes acquired in `window`, sorted by id.

    Raises SceneError when the archive is empty, holds no scene, or has two images for one id.
    """
    recognised = 0
    found: dict[str, Scene] = {}
    for acquisition in _acquisitions(scenes):
        recognised += 1
        if acquisition.acquired not in window:
            continue
        scene = _look_at(acquisition)
        if scene.scene_id in found:
            raise SceneError(
                f"scene id '{scene.scene_id}' stands for two images, {found[scene.scene_id].image_uri} and "
                f"{scene.image_uri}; make the pattern's group 'scene_id' tell them apart"
            )
        found[scene.scene_id] = scene
    if recognised == 0:
        raise SceneError(_explain_nothing(scenes))
    return [found[scene_id] for scene_id in sorted(found)]


def _acquisitions(scenes: Scenes) -> Iterator[_Acquisition]:
    for entry in storage.list_objects(scenes.uri):
        found = _from_item(entry, scenes.stac_asset) if scenes.stac_asset else _from_key(entry, scenes)
        if found is not None:
            yield found


def _from_key(entry: StoredObject, scenes: Scenes) -> _Acquisition | None:
    match = re.search(str(scenes.pattern), entry.uri.removeprefix(scenes.uri))
    if match is None:
        return None
    try:
        acquired = datetime.strptime(match["acquired"], scenes.acquired_format)
    except ValueError as error:
        raise SceneError(
            f"{entry.uri}: '{match['acquired']}' does not fit acquired_format '{scenes.acquired_format}'; "
            "correct the pattern or the format"
        ) from error
    return _Acquisition(match["scene_id"], _utc(acquired), entry)


def _from_item(entry: StoredObject, asset: str) -> _Acquisition | None:
    if not entry.uri.endswith(".json"):
        return None
    item = storage.read_json(entry.uri)
    if not isinstance(item, dict) or item.get("type") != "Feature":
        return None
    try:
        href = item["assets"][asset]["href"]
        properties = item["properties"]
        acquired = datetime.fromisoformat(properties.get("datetime") or properties["start_datetime"])
        return _Acquisition(
            item["id"], _utc(acquired), _absolute(href, entry.uri), properties.get("eo:cloud_cover")
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SceneError(
            f"{entry.uri} lacks what the pipeline needs of a STAC Item ({error!r}): assets.{asset}.href and "
            "properties.datetime; correct the Item or 'scenes.stac_asset'"
        ) from error


def _look_at(acquisition: _Acquisition) -> Scene:
    image = acquisition.image
    if isinstance(image, str):
        image = storage.describe(image)
    return Scene(
        scene_id=acquisition.scene_id,
        image_uri=image.uri,
        etag=image.etag,
        size_bytes=image.size_bytes,
        last_modified=image.last_modified,
        acquired=acquisition.acquired,
        cloud_cover_pct=acquisition.cloud_cover_pct,
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _absolute(href: str, item_uri: str) -> str:
    if "://" in href or href.startswith("/"):
        return href
    return storage.join(item_uri.rpartition("/")[0], href.removeprefix("./"))


def _explain_nothing(scenes: Scenes) -> str:
    first = next(iter(storage.list_objects(scenes.uri)), None)
    if first is None:
        return f"there is no object under {scenes.uri}; check 'scenes.uri', or upload the first scene"
    wanted = (
        f"'scenes.pattern' {scenes.pattern}"
        if scenes.pattern
        else f"a STAC Item with asset '{scenes.stac_asset}'"
    )
    return f"no object under {scenes.uri} matches {wanted}; the first one is {first.uri}"
