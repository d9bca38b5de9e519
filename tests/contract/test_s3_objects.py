"""What one object is to any S3 that Orthostat runs on: its bytes, its parts, its etag, its absence."""

import hashlib
import io
import re
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

MIB = 1 << 20


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def read(s3: Any, bucket: str, key: str, **options: str) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read())


@pytest.mark.parametrize("size", [0, 1, 5 * MIB])
def test_an_object_comes_back_with_size_type_and_the_md5_as_etag(s3, bucket, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    etag = s3.put_object(Bucket=bucket, Key="a", Body=data, ContentType="image/tiff")["ETag"]
    head = s3.head_object(Bucket=bucket, Key="a")
    (entry,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert read(s3, bucket, "a") == data
    assert etag == head["ETag"] == entry["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert head["ContentLength"] == entry["Size"] == size
    assert head["ContentType"] == "image/tiff"
    assert abs((head["LastModified"] - entry["LastModified"]).total_seconds()) <= 1


def test_a_large_file_goes_up_in_parts(s3, bucket) -> None:
    data = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(17 * MIB // 32)) + b"end"
    parts = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    s3.upload_fileobj(io.BytesIO(data), bucket, "a", ExtraArgs={"ContentType": "image/tiff"}, Config=parts)
    head = s3.head_object(Bucket=bucket, Key="a")
    assert read(s3, bucket, "a") == data
    assert (head["ContentLength"], head["ContentType"]) == (len(data), "image/tiff")
    digests = [hashlib.md5(data[start : start + 8 * MIB]).digest() for start in range(0, len(data), 8 * MIB)]
    assert head["ETag"] == f'"{hashlib.md5(b"".join(digests)).hexdigest()}-3"'
    assert (
        read(s3, bucket, "a", Range=f"bytes={8 * MIB - 5}-{8 * MIB + 4}") == data[8 * MIB - 5 : 8 * MIB + 5]
    )
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["ETag"] == head["ETag"]


def test_parts_that_are_never_completed_are_no_object(s3, bucket) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"before")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="a", UploadId=upload, PartNumber=1, Body=b"x" * 5 * MIB)
    assert read(s3, bucket, "a") == b"before"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a"]
    s3.abort_multipart_upload(Bucket=bucket, Key="a", UploadId=upload)
    with pytest.raises(ClientError) as error:
        s3.upload_part(Bucket=bucket, Key="a", UploadId=upload, PartNumber=2, Body=b"x")
    assert code(error) == "NoSuchUpload"
    assert read(s3, bucket, "a") == b"before"


@pytest.mark.parametrize(
    ("part", "expected"),
    [("0-0", b"0"), ("2-4", b"234"), ("7-", b"789"), ("-3", b"789"), ("8-99", b"89"), ("-99", b"0123456789")],
)
def test_a_range_is_read(s3, bucket, part: str, expected: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"0123456789")
    answer = s3.get_object(Bucket=bucket, Key="a", Range=f"bytes={part}")
    assert answer["Body"].read() == expected
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert re.fullmatch(r"bytes \d-9/10|bytes \d-\d/10", answer["ContentRange"])


def test_a_range_beyond_the_end_is_refused(s3, bucket) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"0123456789")
    with pytest.raises(ClientError) as error:
        read(s3, bucket, "a", Range="bytes=10-12")
    assert code(error) == "InvalidRange"


def test_an_overwrite_is_seen_at_once(s3, bucket) -> None:
    for number in range(50):
        data = str(number).encode() * (number + 1)
        etag = s3.put_object(Bucket=bucket, Key="a", Body=data)["ETag"]
        assert read(s3, bucket, "a") == data
        assert s3.head_object(Bucket=bucket, Key="a")["ETag"] == etag
        assert [entry["ETag"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [etag]


def test_a_deleted_object_is_gone_at_once_and_may_be_deleted_again(s3, bucket) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    for _ in range(2):
        s3.delete_object(Bucket=bucket, Key="a")
        with pytest.raises(ClientError) as error:
            read(s3, bucket, "a")
        assert code(error) == "NoSuchKey"
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_what_is_not_there_is_called_so(s3, bucket) -> None:
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key="a")
    assert code(error) == "404"
    for call in (s3.get_object, s3.put_object, s3.delete_object):
        with pytest.raises(ClientError) as error:
            call(Bucket=f"{bucket}-not", Key="a")
        assert code(error) == "NoSuchBucket"
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=f"{bucket}-not")
    assert code(error) == "NoSuchBucket"


def test_bytes_that_were_damaged_on_the_way_are_refused(s3, bucket) -> None:
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="a", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert code(error) == "BadDigest"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_bucket_with_objects_is_not_deleted(s3, bucket) -> None:
    s3.put_object(Bucket=bucket, Key="folder/a", Body=b"a")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=bucket)
    assert code(error) == "BucketNotEmpty"
    assert read(s3, bucket, "folder/a") == b"a"
