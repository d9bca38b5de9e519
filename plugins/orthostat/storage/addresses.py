"""Addresses of objects: `s3://bucket/key`; anything else is a local path."""

from pathlib import Path

from orthostat.errors import StorageError
from orthostat.storage.translation import translated_file


def join(uri: str, *parts: str) -> str:
    """Join URI parts with single slashes: `join("s3://b/a/", "c") == "s3://b/a/c"`."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts)])


def is_s3(uri: str) -> bool:
    """Whether `uri` names an object in S3 rather than a local path."""
    return uri.startswith("s3://")


def absolute(uri: str) -> str:
    """A local path that still means the same file when it is read elsewhere; S3 URIs as they are."""
    if is_s3(uri):
        return uri
    if "://" in uri or not uri:
        raise StorageError(f"'{uri:.200}' is no address that is known here; write s3://BUCKET/KEY or a path")
    with translated_file(uri):
        return str(Path(uri).resolve())


def is_same(uri: str, other: str) -> bool:
    """Whether two URIs mean the same object or file, also through a link."""
    if is_s3(uri) or is_s3(other):
        return uri == other
    with translated_file(uri):
        one, two = Path(uri), Path(other)
        return one.resolve() == two.resolve() or (one.exists() and two.exists() and one.samefile(two))


def split_s3(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI. Raises StorageError when it names no bucket."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not is_s3(uri) or not bucket:
        raise StorageError(f"'{uri}' is no S3 URI; write s3://BUCKET/KEY")
    return bucket, key
