"""The storage's door: what boto3 and the file system raise, in our words and by its cause."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from orthostat.errors import KeyRefusedError, MissingError, OutageError, ReplacedError, StorageError
from orthostat.scratch import FULL

_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_REPLACED = {"412", "PreconditionFailed", "ConditionalRequestConflict"}
_BUSY = {"SlowDown", "RequestTimeout", "TooManyRequests", "InvalidAccessKeyId", "ExpiredToken"}
"""Of the client's errors those that every other object would meet as well."""
_OF_A_POD = "for a pod in the Secret that resources.environment_secret names"


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn what boto3 raises about `uri` into a StorageError."""
    try:
        yield
    except ClientError as error:
        raise _refusal(uri, error) from error
    except ParamValidationError as error:
        raise StorageError(f"'{uri:.200}' is no address of an object: {error}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise OutageError(
            f"there is no key for S3 here ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            f"{_OF_A_POD}"
        ) from error
    except BotoCoreError as error:
        raise OutageError(f"S3 did not answer for {uri}: {error}; check AWS_ENDPOINT_URL_S3") from error
    except (
        ResponseParserError,
        KeyError,
        ValueError,
    ) as error:  # no address, or no S3 server
        reason = f"{type(error).__name__}: {error!s:.200}"
        raise OutageError(
            f"nothing that speaks S3 answered for {uri} ({reason}); check AWS_ENDPOINT_URL_S3"
        ) from error
    except OSError as error:
        raise OutageError(
            f"{uri} cannot be kept here ({error.strerror}); check this machine's disk"
        ) from error


def _refusal(uri: str, error: ClientError) -> StorageError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _MISSING:
        return MissingError(f"there is no object {uri}; check bucket and key")
    if code in _REPLACED:
        return ReplacedError(f"{uri} was replaced after it was planned; run the pipeline again")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return OutageError(f"S3 failed for {uri}: {error}; check that server, its log and its disk")
    if code == "SignatureDoesNotMatch":
        return KeyRefusedError(f"S3 refused {uri}: {error}; correct AWS_SECRET_ACCESS_KEY, {_OF_A_POD}")
    kind = OutageError if code in _BUSY else StorageError
    return kind(f"S3 refused {uri}: {error}; check the endpoint and the credentials")


@contextmanager
def translated_file(uri: str) -> Iterator[None]:
    """Turn what the file system raises about a local file into a StorageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"there is no file {uri}; check the path") from error
    except OSError as error:
        kind = OutageError if error.errno in FULL else StorageError
        raise kind(
            f"'{uri:.200}' cannot be read or written ({error.strerror}); check the path and the disk"
        ) from error
    except (ValueError, RuntimeError) as error:  # a NUL; a link that leads to itself
        raise StorageError(f"{uri!r:.200} is no path ({error}); correct it") from error
