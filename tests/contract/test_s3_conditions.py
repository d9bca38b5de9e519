"""Reads and writes on a condition: by them a job is taken up once, and a replaced image is noticed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

WRITERS = 8
TURNS = 4
_LOST = {"PreconditionFailed", "ConditionalRequestConflict"}


def write_at_once(write: Callable[[int], Any]) -> list[int]:
    """Let many write at the same moment; returns those that won, the others being told that they lost."""
    start = threading.Barrier(WRITERS)

    def race(number: int) -> str:
        start.wait()
        try:
            write(number)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "won"

    with ThreadPoolExecutor(WRITERS) as writers:
        answers = list(writers.map(race, range(WRITERS)))
    assert set(answers) <= {"won", *_LOST}
    return [number for number, answer in enumerate(answers) if answer == "won"]


def test_only_the_object_of_that_etag_is_read(s3, bucket) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"old")["ETag"]
    assert s3.get_object(Bucket=bucket, Key="a", IfMatch=etag)["Body"].read() == b"old"
    assert s3.get_object(Bucket=bucket, Key="a", IfMatch=etag, Range="bytes=1-1")["Body"].read() == b"l"
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    for part in ({}, {"Range": "bytes=1-1"}):
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key="a", IfMatch=etag, **part)
        assert error.value.response["Error"]["Code"] == "PreconditionFailed"


def test_a_new_object_is_written_only_once(s3, bucket) -> None:
    for key in (f"new/{number}" for number in range(TURNS)):

        def write(number: int, key: str = key) -> None:
            s3.put_object(Bucket=bucket, Key=key, Body=str(number).encode(), IfNoneMatch="*")

        (winner,) = write_at_once(write)
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == str(winner).encode()
    s3.delete_object(Bucket=bucket, Key="new/0")
    s3.put_object(Bucket=bucket, Key="new/0", Body=b"again", IfNoneMatch="*")


def test_an_object_is_replaced_only_once(s3, bucket) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"first")["ETag"]
    for turn in range(TURNS):

        def write(number: int, turn: int = turn, etag: str = etag) -> None:
            s3.put_object(Bucket=bucket, Key="a", Body=f"{turn} {number}".encode(), IfMatch=etag)

        (winner,) = write_at_once(write)
        answer = s3.get_object(Bucket=bucket, Key="a")
        assert answer["Body"].read() == f"{turn} {winner}".encode()
        etag = answer["ETag"]


def test_what_is_gone_is_not_replaced(s3, bucket) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    s3.delete_object(Bucket=bucket, Key="a")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="a", Body=b"y", IfMatch=etag)
    assert error.value.response["Error"]["Code"] in {"NoSuchKey", "PreconditionFailed"}
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
