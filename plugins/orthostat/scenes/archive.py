"""Listing the archive: every scene that was acquired in a window, by key pattern or by STAC Item."""

import difflib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from orthostat import storage
from orthostat.errors import OutageError, SceneError, StorageError
from orthostat.pipelines.allow import is_below
from orthostat.pipelines.config import Scenes
from orthostat.pipelines.dated import at_date, fits, is_dated, prefixes_of
from orthostat.pipelines.window import Window
from orthostat.scenes.scene import Scene
from orthostat.storage import StoredObject

_READERS = 16
_PAGE = 1000


class _Acquisition(NamedTuple):
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
    """When each scene of the archive was acquired, in the windows or not, by id. Of an archive with dates in
    its address only what lies below the windows' dates is listed, and known."""

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
    for acquisition in _acquisitions(scenes, windows):
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
        _require_archive(scenes, windows)
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
    """When a scene of the archive was acquired, whatever its date: this lists the whole archive.

    Raises SceneError when there is none of that id.
    """
    acquired = {one.scene_id: one.acquired for one in _acquisitions(scenes) if isinstance(one, _Acquisition)}
    if scene_id not in acquired:
        close = difflib.get_close_matches(scene_id, acquired, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "see the note of a run for the ids"
        raise SceneError(f"the archive {scenes.folder} has no scene '{scene_id}'; {hint}")
    return acquired[scene_id]


def _acquisitions(scenes: Scenes, windows: Sequence[Window] = ()) -> Iterator[_Acquisition | SceneError]:
    """What lies below the dates of `windows`, or in the whole archive."""
    prefixes = prefixes_of(scenes.uri, windows) if windows else [scenes.folder]
    entries = (entry for prefix in prefixes for entry in storage.list_objects(prefix))
    if scenes.stac_asset is None:
        read = _key_reader(scenes)
        found = (read(entry) for entry in entries)
        yield from (acquisition for acquisition in found if acquisition is not None)
        return
    with ThreadPoolExecutor(_READERS) as readers:  # an Item is a request, and there may be thousands
        items = [entry for entry in entries if entry.uri.endswith(".json")]
        for acquisition in readers.map(lambda entry: _from_item(entry, scenes), items):
            if acquisition is not None:
                yield acquisition


def _key_reader(scenes: Scenes) -> Callable[[StoredObject], _Acquisition | SceneError | None]:
    """What reads keys: there may be millions, and few different dates in them."""
    search, beginning = re.compile(str(scenes.pattern)).search, len(scenes.folder)

    @lru_cache(maxsize=1 << 16)
    def parse(text: str) -> datetime:
        return _utc(datetime.strptime(text, scenes.acquired_format))

    def read(entry: StoredObject) -> _Acquisition | SceneError | None:
        match = search(entry.uri[beginning:])
        if match is None:
            return None
        scene_id, text = match["scene_id"], match["acquired"]
        try:
            acquired = parse(text)
            _require_place(entry.uri, acquired, scenes)
        except SceneError as error:
            return error
        except ValueError:
            return SceneError(
                f"{entry.uri}: '{text}' does not fit acquired_format '{scenes.acquired_format}'; "
                "rename it, or correct the pattern or the format"
            )
        return _Acquisition(scene_id, acquired, entry)

    return read


def _require_place(uri: str, acquired: datetime, scenes: Scenes) -> None:
    """Raises SceneError for an object below another date than its own: no run would look for it there."""
    if is_dated(scenes.uri) and not uri.startswith(place := at_date(scenes.uri, acquired.date())):
        raise SceneError(
            f"{uri} was acquired on {acquired:%Y-%m-%d} (UTC) and does not lie below {place}; move it there, "
            "or leave dates out of 'scenes.uri'"
        )


def _from_item(entry: StoredObject, scenes: Scenes) -> _Acquisition | SceneError | None:
    asset = str(scenes.stac_asset)
    try:
        item = storage.read_json(entry.uri)
        if not isinstance(item, dict) or item.get("type") != "Feature":
            return None
        href = item["assets"][asset]["href"]
        properties = item["properties"]
        acquired = _utc(datetime.fromisoformat(properties.get("datetime") or properties["start_datetime"]))
        _require_place(entry.uri, acquired, scenes)
        return _Acquisition(
            str(item["id"]),
            acquired,
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
    home = scenes.folder
    if storage.is_s3(home):
        home = f"s3://{storage.split_s3(home)[0]}"
    if scheme not in {"s3", ""} or not is_below(uri, (f"{home.rstrip('/')}/", *scenes.image_prefixes)):
        raise SceneError(
            f"{item_uri} names the image {href:.200}, which is not below {home}; copy it there, or name its "
            "place, in S3, in 'scenes.image_prefixes'"
        )
    return uri


def _require_archive(scenes: Scenes, windows: Sequence[Window]) -> None:
    """Raises SceneError where it is not only that nothing was acquired in `windows`."""
    wanted = (
        f"'scenes.pattern' {scenes.pattern}"
        if scenes.pattern
        else f"a STAC Item with asset '{scenes.stac_asset}'"
    )
    for prefix in prefixes_of(scenes.uri, windows):
        first = next(iter(storage.list_objects(prefix)), None)
        if first is not None:
            raise SceneError(f"no object under {prefix} matches {wanted}; the first one is {first.uri}")
    some = [entry.uri for entry in islice(storage.list_objects(scenes.folder), _PAGE)]
    if not some:
        raise SceneError(
            f"there is no object under {scenes.folder}; check 'scenes.uri', or upload the first scene"
        )
    if not any(fits(scenes.uri, uri) for uri in some):
        raise SceneError(
            f"none of the first {len(some)} objects under {scenes.folder} lies where 'scenes.uri' "
            f"{scenes.uri} says; the first one is {some[0]}; correct the date in 'scenes.uri'"
        )
