"""Objects by URI: `s3://bucket/key` through boto3, anything else as a local path."""

from orthostat.storage.addresses import absolute, is_s3, is_same, join, split_s3
from orthostat.storage.json_objects import (
    digest,
    dump_json,
    read_json,
    read_json_with_etag,
    write_json,
    write_json_if,
)
from orthostat.storage.local_files import file_sha256, write_private, write_private_json
from orthostat.storage.objects import (
    StoredObject,
    delete,
    describe,
    download,
    exists,
    list_objects,
    local_copy,
    read_bytes,
    read_range,
    s3,
    upload,
    write_bytes,
)

__all__ = [
    "StoredObject",
    "absolute",
    "delete",
    "describe",
    "digest",
    "download",
    "dump_json",
    "exists",
    "file_sha256",
    "is_s3",
    "is_same",
    "join",
    "list_objects",
    "local_copy",
    "read_bytes",
    "read_json",
    "read_json_with_etag",
    "read_range",
    "s3",
    "split_s3",
    "upload",
    "write_bytes",
    "write_json",
    "write_json_if",
    "write_private",
    "write_private_json",
]
