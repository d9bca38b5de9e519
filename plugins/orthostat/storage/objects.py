"""Objects by address: in S3 through boto3, else in local files."""

import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import HTTPClientError, IncompleteReadError

from orthostat.errors import MissingError, StorageError
from orthostat.storage.addresses import is_s3, split_s3
from orthostat.storage.translation import translated, translated_file

_LONGEST_NAME = 100
_READS = 3
"""How often an object is asked for whose bytes break off."""
_Taken = TypeVar("_Taken")

log = logging.getLogger(__name__)


class StoredObject(NamedTuple):
    """An object as a listing shows it."""

    uri: str
    etag: str
    """Entity tag without quotes; for a local file, the MD5 of its bytes (what S3 gives for one part)."""
    size_bytes: int
    last_modified: datetime
    """UTC."""


def read_bytes(uri: str) -> bytes:
    """The object's bytes. Raises StorageError when it is missing or cannot be read."""
    if not is_s3(uri):
        with translated_file(uri):
            return _local(uri).read_bytes()
    return get(uri, lambda answer: bytes(answer["Body"].read()))


def read_range(uri: str, start: int, length: int, etag: str) -> bytes:
    """Some bytes of an object in S3. Raises StorageError when it is no longer the one with that etag."""
    part = {"Range": f"bytes={start}-{start + length - 1}", "IfMatch": f'"{etag}"'}
    return get(uri, lambda answer: bytes(answer["Body"].read()), **part)


def write_bytes(uri: str, data: bytes, content_type: str = "application/octet-stream") -> None:
    """Write the whole object or nothing, replacing what was there."""
    if is_s3(uri):
        bucket, key = split_s3(uri)
        with translated(uri):
            s3().put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)
        return
    path = Path(uri)
    with translated_file(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def describe(uri: str) -> StoredObject:
    """Etag, size and time of one object. Raises StorageError when it is missing."""
    if not is_s3(uri):
        path = _local(uri)
        with translated_file(uri), path.open("rb") as file:
            etag = hashlib.file_digest(file, "md5").hexdigest()
        stat = path.stat()
        return StoredObject(uri, etag, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
    bucket, key = split_s3(uri)
    with translated(uri):
        head = s3().head_object(Bucket=bucket, Key=key)
        return StoredObject(uri, head["ETag"].strip('"'), head["ContentLength"], head["LastModified"])


def exists(uri: str) -> bool:
    """Whether the object is there. Raises StorageError when that cannot be known."""
    if not is_s3(uri):
        with translated_file(uri):
            return Path(uri).is_file()
    bucket, key = split_s3(uri)
    try:
        with translated(uri):
            s3().head_object(Bucket=bucket, Key=key)
    except MissingError:
        return False
    return True


def list_objects(uri: str, after: str = "") -> Iterator[StoredObject]:
    """Every object whose URI starts with `uri`, in the server's order, page by page whatever their number.

    With `after`, a URI, only those that come after it: an end is the caller's to find.
    """
    if not is_s3(uri):
        folder = Path(uri)
        paths = sorted(folder.rglob("*")) if folder.is_dir() else []
        yield from (describe(str(path)) for path in paths if path.is_file() and str(path) > after)
        return
    bucket, prefix = split_s3(uri)
    start = {"StartAfter": split_s3(after)[1]} if after else {}
    with translated(uri):
        for page in s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **start):
            page["Name"]  # a web page that is well-formed is no empty listing
            for entry in page.get("Contents", []):
                yield StoredObject(
                    f"s3://{bucket}/{entry['Key']}",
                    entry["ETag"].strip('"'),
                    entry["Size"],
                    entry["LastModified"],
                )


def download(uri: str, path: Path, etag: str | None = None) -> None:
    """Copy an object to a local file; with `etag`, only those very bytes.

    Raises StorageError when the object is missing or is no longer the one with that etag.
    """
    if not is_s3(uri):
        found = describe(uri).etag
        if etag is not None and found != etag:
            raise StorageError(
                f"{uri} has etag {found}, planned was {etag}: it was replaced; run the pipeline again"
            )
        with translated_file(uri):
            shutil.copyfile(uri, path)
        return
    condition = {"IfMatch": f'"{etag}"'} if etag is not None else {}

    def write(answer: Any) -> None:
        with path.open("wb") as file:
            shutil.copyfileobj(answer["Body"], file, 1 << 20)

    get(uri, write, **condition)


def local_copy(uri: str, folder: Path) -> Path:
    """Path of the object's bytes: the file itself when it is local, else a copy in `folder` under its name.

    Raises StorageError when the object is missing.
    """
    if not is_s3(uri):
        return _local(uri)
    path = folder / (uri.rsplit("/", 1)[-1][-_LONGEST_NAME:] or "copy")
    download(uri, path)
    return path


def upload(path: Path, uri: str, content_type: str = "application/octet-stream") -> None:
    """Copy a local file to `uri`, whole or not at all."""
    if not is_s3(uri):
        write_bytes(uri, path.read_bytes(), content_type)
        return
    bucket, key = split_s3(uri)
    with translated(uri), path.open("rb") as file:  # upload_file would hide the cause in an error of its own
        s3().upload_fileobj(file, bucket, key, ExtraArgs={"ContentType": content_type})


def delete(uri: str) -> None:
    """Remove one object; that it is missing already is fine."""
    if not is_s3(uri):
        with translated_file(uri):
            Path(uri).unlink(missing_ok=True)
        return
    bucket, key = split_s3(uri)
    with translated(uri):
        s3().delete_object(Bucket=bucket, Key=key)


def get(uri: str, take: Callable[[Any], _Taken], **options: str) -> _Taken:
    """What `take` makes of S3's answer. botocore asks again for an answer that fails; for a body that breaks
    off nobody would, and a pod would end for it.
    """
    bucket, key = split_s3(uri)
    with translated(uri):
        for attempt in range(1, _READS):
            answer = s3().get_object(Bucket=bucket, Key=key, **options)
            try:
                return take(answer)
            except (IncompleteReadError, HTTPClientError) as error:
                log.warning("%s broke off, reading it again: %s", uri, error)
                time.sleep(attempt)
        return take(s3().get_object(Bucket=bucket, Key=key, **options))


@cache
def s3() -> Any:
    """The S3 client; endpoint and credentials come from the standard AWS_* variables."""
    return boto3.client(
        "s3", config=Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32)
    )


def _local(uri: str) -> Path:
    path = Path(uri)
    with translated_file(uri):
        if path.is_file():
            return path
        if path.exists():  # a folder, a pipe, a device: reading it may never end
            raise StorageError(f"{uri} is no regular file; give the path of one")
    raise MissingError(f"there is no file {uri}; check the path")
