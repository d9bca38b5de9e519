"""Objects that hold JSON, in one canonical form."""

import hashlib
import json
from typing import Any

from orthostat.errors import StorageError
from orthostat.storage.addresses import split_s3
from orthostat.storage.objects import get, read_bytes, s3, write_bytes
from orthostat.storage.translation import translated


def read_json(uri: str) -> Any:
    """The object parsed as JSON. Raises StorageError when it is missing or no JSON."""
    data = read_bytes(uri)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{uri} is not valid JSON ({error}); write it again") from error


def read_json_with_etag(uri: str) -> tuple[Any, str]:
    """An object in S3 parsed as JSON, and its etag. Raises StorageError when it is missing or no JSON."""
    data, etag = get(uri, lambda answer: (answer["Body"].read(), str(answer["ETag"]).strip('"')))
    try:
        return json.loads(data), etag
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{uri} is not valid JSON ({error}); write it again") from error


def write_json(uri: str, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values are equal bytes."""
    write_bytes(uri, dump_json(value), "application/json")


def write_json_if(uri: str, value: Any, etag: str | None) -> str:
    """Write JSON to S3 only over the object with that etag, or where `etag` is None only as a new one.

    Returns the new etag. Raises ReplacedError when somebody else was first.
    """
    bucket, key = split_s3(uri)
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": f'"{etag}"'}
    body, kind = dump_json(value), "application/json"
    with translated(uri):
        answer = s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType=kind, **condition)
        return str(answer["ETag"]).strip('"')


def dump_json(value: Any) -> bytes:
    """`value` as canonical JSON: sorted keys, two spaces, a newline at the end."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def digest(value: Any) -> str:
    """SHA-256 in hex of a JSON value's canonical form."""
    return hashlib.sha256(dump_json(value)).hexdigest()
