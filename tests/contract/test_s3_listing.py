"""Listings, by which Orthostat knows what is done: complete, over pages, whatever the keys look like."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

AWKWARD = {
    "spaces": " a  b ",
    "plus": "a+b",
    "percent": "a%b",
    "encoded slash": "a%2Fb",
    "question mark": "a?b=c&d",
    "hash": "a#b",
    "unicode": "Köln/Πάρος/東京",
    "composed and not": "e\u0301 é",
    "quotes": "'a' \"b\"",
    "brackets": "a<b>&amp;[c]{d}",
    "dots": "a..b/...c./d",
    "backslash": "a\\b",
    "two slashes": "a//b",
    "a dot between slashes": "a/./b",
    "long": "/".join("x" * 200 for _ in range(4)),
}


def keys_of(s3: Any, bucket: str, **options: Any) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **options)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def fill(s3: Any, bucket: str, keys: list[str]) -> None:
    with ThreadPoolExecutor(16) as writers:
        list(writers.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))


@pytest.mark.parametrize("key", AWKWARD.values(), ids=AWKWARD.keys())
def test_keys_are_kept_as_they_are(s3, bucket, key: str) -> None:
    plain = ["a/b", "a b"]
    fill(s3, bucket, plain)
    s3.put_object(Bucket=bucket, Key=key, Body=b"awkward")
    assert sorted(keys_of(s3, bucket)) == sorted([*plain, key])
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"awkward"
    assert all(s3.get_object(Bucket=bucket, Key=one)["Body"].read() == one.encode() for one in plain)
    assert keys_of(s3, bucket, Prefix=key) == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    assert sorted(keys_of(s3, bucket)) == sorted(plain)


def test_a_key_may_be_the_beginning_of_another(s3, bucket) -> None:
    keys = ["a", "a/b", "a/b/c"]
    fill(s3, bucket, keys)
    assert sorted(keys_of(s3, bucket)) == keys
    s3.delete_object(Bucket=bucket, Key="a")
    assert sorted(keys_of(s3, bucket)) == ["a/b", "a/b/c"]
    s3.delete_object(Bucket=bucket, Key="a/b/c")
    assert keys_of(s3, bucket) == ["a/b"]


def test_a_listing_is_whole_over_pages(s3, bucket) -> None:
    keys = [f"scenes/{number % 7}/{number:05d}.tif" for number in range(2300)]
    fill(s3, bucket, [*keys, "scenes.txt", "other/x"])
    assert sorted(keys_of(s3, bucket, Prefix="scenes/")) == sorted(keys)
    assert sorted(keys_of(s3, bucket, Prefix="scenes/3/")) == sorted(
        k for k in keys if k.startswith("scenes/3/")
    )
    assert sorted(keys_of(s3, bucket, Prefix="scenes/3/0001")) == ["scenes/3/00010.tif", "scenes/3/00017.tif"]
    assert keys_of(s3, bucket, Prefix="scenes/9") == []
    first = s3.list_objects_v2(Bucket=bucket, Prefix="scenes/")
    assert (first["KeyCount"], first["IsTruncated"]) == (1000, True)


def test_a_listing_begins_after_a_day(s3, bucket) -> None:
    """The ledger's way: days are folders, and the listing begins after the slash of the first."""
    days = [f"2024-{month:02d}-{day:02d}" for month in (1, 2) for day in range(1, 29)]
    keys = [
        f"p/{day}/{scene}/{etag}/item.json" for day in days for scene in ("s", "s-1", "s.2") for etag in "ab"
    ]
    fill(s3, bucket, keys)
    found = keys_of(s3, bucket, Prefix="p/", StartAfter="p/2024-01-15/", PaginationConfig={"PageSize": 50})
    assert sorted(found) == sorted(key for key in keys if key > "p/2024-01-15/")
    assert [key.split("/")[1] for key in found] == sorted(key.split("/")[1] for key in found)
    assert not keys_of(s3, bucket, Prefix="p/", StartAfter="p/2024-03-01/")


def test_a_listing_begins_after_a_folder_without_its_slash(s3, bucket) -> None:
    fill(s3, bucket, ["2024-01-04/x", "2024-01-05/x", "2024-01-06/x"])
    assert keys_of(s3, bucket, StartAfter="2024-01-05") == ["2024-01-05/x", "2024-01-06/x"]


def test_a_listing_is_in_the_order_of_keys(s3, bucket) -> None:
    keys = ["B", "a b", "a-b", "a.b", "a/x", "a0", "aa", "b", "é"]
    fill(s3, bucket, keys)
    assert keys_of(s3, bucket) == keys
    assert keys_of(s3, bucket, StartAfter="a-b") == keys[3:]
