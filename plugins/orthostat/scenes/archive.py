"""Listing the archive: every scene that was acquired in a window, by key pattern or by STAC Item."""

import difflib
import posixpath
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from orthostat import storage
from orthostat.errors import OutageError, SceneError, StorageError
from orthostat.pipelines.allow import is_below
from orthostat.pipelines.config import Scenes
from orthostat.pipelines.window import Window
from orthostat.scenes.scene import Scene
from orthostat.storage import StoredObject

_READERS = 16


@dataclass(frozen=True)
class _Acquisition:
    """What a key or an Item says of a scene before its image is looked at."""

    scene_id: str
    acquired: datetime
    image: str | StoredObject
    """The listed object, or the URI that an Item names."""
    cloud_cover_pct: float | None = None
    platform: str | None = None


@dataclass(frozen=True)
class Listing:
    """What the archive holds."""

    scenes: tuple[Scene, ...]
    """Those acquired in the windows that were asked for, sorted by id."""
    problems: tuple[str, ...]
    """What looks like a scene and cannot be one, each with its reason; the other scenes are not stopped."""
    acquired: Mapping[str, datetime]
    """When each scene of the archive was acquired, in the windows or not, by id."""

    def within(self, window: Window) -> list[Scene]:
        """The scenes acquired in one window."""
        return [scene for scene in self.scenes if scene.acquired in window]


def list_scenes(scenes: Scenes, *windows: Window) -> Listing:
    """The archive's scenes acquired in `windows`.

    Raises SceneError when the archive is empty or holds no scene at all.
    """
    recognised = 0
    acquired: dict[str, datetime] = {}
    found: dict[str, list[Scene]] = {}
    problems = []
    for acquisition in _acquisitions(scenes):
        recognised += 1
        try:
            if isinstance(acquisition, SceneError):
                raise acquisition
            acquired[acquisition.scene_id] = acquisition.acquired
            if any(acquisition.acquired in window for window in windows):
                found.setdefault(acquisition.scene_id, []).append(_look_at(acquisition))
        except OutageError:
            raise
        except (SceneError, StorageError) as error:
            problems.append(str(error))
    if recognised == 0:
        raise SceneError(_explain_nothing(scenes))
    for scene_id, images in found.items():
        if len(images) > 1:
            uris = " and ".join(image.image_uri for image in images)
            problems.append(
                f"scene id '{scene_id}' stands for {len(images)} images, {uris}, and none is used; make the "
                "group 'scene_id' of 'scenes.pattern' tell them apart"
            )
    unique = [images[0] for _, images in sorted(found.items()) if len(images) == 1]
    return Listing(tuple(unique), tuple(problems), acquired)


def find_acquired(scenes: Scenes, scene_id: str) -> datetime:
    """When a scene of the archive was acquired. Raises SceneError when there is none of that id."""
    acquired = list_scenes(scenes).acquired
    if scene_id not in acquired:
        close = difflib.get_close_matches(scene_id, acquired, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "see the note of a run for the ids"
        raise SceneError(f"the archive {scenes.uri} has no scene '{scene_id}'; {hint}")
    return acquired[scene_id]


def _acquisitions(scenes: Scenes) -> Iterator[_Acquisition | SceneError]:
    entries = storage.list_objects(scenes.uri)
    if scenes.stac_asset is None:
        found = (_from_key(entry, scenes) for entry in entries)
        yield from (acquisition for acquisition in found if acquisition is not None)
        return
    with ThreadPoolExecutor(_READERS) as readers:  # an Item is a request, and there may be thousands
        items = [entry for entry in entries if entry.uri.endswith(".json")]
        for acquisition in readers.map(lambda entry: _from_item(entry, scenes), items):
            if acquisition is not None:
                yield acquisition


def _from_key(entry: StoredObject, scenes: Scenes) -> _Acquisition | SceneError | None:
    match = re.search(str(scenes.pattern), entry.uri.removeprefix(scenes.uri))
    if match is None:
        return None
    try:
        acquired = datetime.strptime(match["acquired"], scenes.acquired_format)
    except ValueError:
        return SceneError(
            f"{entry.uri}: '{match['acquired']}' does not fit acquired_format '{scenes.acquired_format}'; "
            "rename it, or correct the pattern or the format"
        )
    return _Acquisition(match["scene_id"], _utc(acquired), entry)


def _from_item(entry: StoredObject, scenes: Scenes) -> _Acquisition | SceneError | None:
    asset = str(scenes.stac_asset)
    try:
        item = storage.read_json(entry.uri)
        if not isinstance(item, dict) or item.get("type") != "Feature":
            return None
        href = item["assets"][asset]["href"]
        properties = item["properties"]
        acquired = datetime.fromisoformat(properties.get("datetime") or properties["start_datetime"])
        return _Acquisition(
            str(item["id"]),
            _utc(acquired),
            _resolve(href, entry.uri, scenes),
            properties.get("eo:cloud_cover"),
            properties.get("platform") or properties.get("constellation"),
        )
    except SceneError as error:
        return error
    except OutageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, StorageError) as error:
        return SceneError(
            f"{entry.uri} lacks what the pipeline needs of a STAC Item ({error!r}): assets.{asset}.href and "
            "properties.datetime; correct the Item or 'scenes.stac_asset'"
        )


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
        platform=acquisition.platform,
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _resolve(href: str, item_uri: str, scenes: Scenes) -> str:
    """The address that an Item names. Raises SceneError when the pipeline does not read from there."""
    scheme, is_address, rest = href.partition("://")
    if not is_address and not href.startswith("/"):
        scheme, is_address, rest = item_uri.rpartition("://")
        rest = f"{rest.rpartition('/')[0]}/{href}"
    uri = f"{scheme}{is_address}{posixpath.normpath(rest)}"
    home = scenes.uri
    if storage.is_s3(home):
        home = f"s3://{storage.split_s3(home)[0]}"
    if scheme not in {"s3", ""} or not is_below(uri, (f"{home.rstrip('/')}/", *scenes.image_prefixes)):
        raise SceneError(
            f"{item_uri} names the image {href:.200}, which is not below {home}; copy it there, or name its "
            "place, in S3, in 'scenes.image_prefixes'"
        )
    return uri


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
