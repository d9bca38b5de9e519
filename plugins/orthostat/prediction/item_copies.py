"""Many Items in few requests: a compact copy for each day of acquisition, which the Items prove."""

import gzip
import logging
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from pydantic import TypeAdapter, ValidationError

from orthostat import storage
from orthostat.errors import MissingError, OutageError, StorageError
from orthostat.prediction.failure import Failure
from orthostat.prediction.item import Prediction
from orthostat.prediction.stac import from_stac
from orthostat.scenes.ledger import Ledger

log = logging.getLogger(__name__)

_READERS = 16
_FOREIGN = "foreign.json"
_Copies = dict[str, tuple[str, Prediction]]
"""Etag and content of Items, by URI."""
_FORMAT = TypeAdapter(_Copies)


def read_items(ledger: Ledger) -> Iterator[tuple[str, Prediction]]:
    """URI and content of every Item in the ledger, by day of acquisition and URI.

    The Items stay the truth: a copy counts only for an Item whose etag it holds. Those that a day's copy
    lacks are read one by one, and the copy is written again; what is no Item of ours is set aside. Raises
    StorageError when one cannot be read.
    """
    days = list(_group_by_day(ledger).items())
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(days), _READERS):  # so many at once, and no more in memory
            some = days[start : start + _READERS]
            copies = readers.map(_read_copies, [_uri(folder) for folder, _ in some])
            for (folder, etags), found in zip(some, copies, strict=True):
                yield from _bring_up_to_date(folder, etags, found)


def _bring_up_to_date(
    folder: str, etags: Mapping[str, str], copies: _Copies
) -> Iterator[tuple[str, Prediction]]:
    """The Items of a day, from its copies where these are theirs."""
    fresh = {item: copies[item] for item, etag in etags.items() if copies.get(item, ("",))[0] == etag}
    lacking = sorted(etags.keys() - fresh.keys())
    if lacking:
        with ThreadPoolExecutor(_READERS) as readers:
            found = zip(lacking, readers.map(_read_own, lacking), strict=True)
            fresh |= {item: (etags[item], prediction) for item, prediction in found if prediction}
        data = gzip.compress(_FORMAT.dump_json(fresh), 6, mtime=0)
        storage.write_bytes(_uri(folder), data, "application/gzip")
    yield from ((item, fresh[item][1]) for item in sorted(fresh))


def _uri(folder: str) -> str:
    return storage.join(folder, "items.json.gz")


def _group_by_day(ledger: Ledger) -> Mapping[str, dict[str, str]]:
    """Etags of Items by URI, by the folder of their day (.../DAY/SCENE/ETAG/item.json)."""
    days: dict[str, dict[str, str]] = {}
    for item in ledger.items():
        days.setdefault(item.rsplit("/", 3)[0], {})[item] = ledger.marks[item]
    return dict(sorted(days.items()))


def _read_copies(uri: str) -> _Copies:
    """What a day's copy holds; nothing when there is none, or when it cannot be read as one."""
    try:
        return _FORMAT.validate_json(gzip.decompress(storage.read_bytes(uri)))
    except (MissingError, OSError, EOFError, zlib.error, ValidationError):
        return {}


def _read_own(uri: str) -> Prediction | None:
    """The prediction behind an Item; one that Orthostat did not write is set aside, and said to be.

    In its place comes a failure record: the next run predicts the scene again, and nobody waits for it.
    """
    try:
        return from_stac(storage.read_json(uri), uri)
    except (MissingError, OutageError):
        raise
    except StorageError as error:
        log.warning("%s; it lies in %s now, and its scene is predicted again", error, _FOREIGN)
    folder = uri.removesuffix("/item.json")
    *_, scene_id, etag = folder.split("/")
    failure = Failure(
        scene_id=scene_id,
        image_uri="",
        etag=etag,
        kind="storage",
        reason=f"{uri} was no Item of a prediction",
    )
    storage.write_bytes(storage.join(folder, _FOREIGN), storage.read_bytes(uri))
    storage.write_json(storage.join(folder, "failure.json"), failure.model_dump(mode="json"))
    storage.delete(uri)
    return None
