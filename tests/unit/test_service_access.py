"""Who may ask the service for what: tokens, prefixes, digests, bodies."""

import hashlib
import os
from pathlib import Path

import pytest

from orthostat.errors import (
    ConfigurationError,
    OutageError,
    RefusedError,
)
from orthostat.pipelines.allow import AllowedBundle, AllowList
from orthostat.pipelines.load import load_pipeline
from orthostat.service.access import Access
from orthostat.service.openapi import EXAMPLE
from orthostat.service.problems import ProblemError
from orthostat.service.request import parse_json
from tests.builders_service import REQUEST, write_tokens

ROOT = Path(__file__).parents[2]


def test_a_token_narrows_what_the_service_allows(tmp_path: Path) -> None:
    digest, other = "ab" * 32, "cd" * 32
    hashed = f"sha256:{hashlib.sha256(b'two').hexdigest()}"
    path = write_tokens(tmp_path, "one s3://images/ s3://results/", f"{hashed} {digest}", "# nobody")
    bundles = (
        AllowedBundle(uri="s3://models/b.zip", sha256=digest),
        AllowedBundle(uri="s3://models/c.zip", sha256=other),
    )
    access = Access(AllowList(bundles=bundles), path)
    one, two = access.identify("Bearer one"), access.identify("bearer two")
    with pytest.raises(
        RefusedError, match=r"model s3://models/b.zip lies below none of the allowed prefixes"
    ):
        access.require(one, REQUEST)
    assert access.require(two, REQUEST) == digest
    with pytest.raises(RefusedError, match="is none of the 1 on the allow-list"):
        access.require(two, REQUEST.model_copy(update={"model": "s3://models/c.zip"}))
    with pytest.raises(RefusedError, match="below none"):
        access.require(one, REQUEST.model_copy(update={"image": "s3://images-of-others/a.tif"}))
    for header in (None, "", "Bearer", "Bearer three", "Bearer \u00e9", "one", f"Bearer {hashed}"):
        with pytest.raises(ProblemError, match=r"bearer token is (missing|unknown)"):
            access.identify(header)


@pytest.mark.parametrize("lines", [[""], ["secret-token s4://x"], ["# only"]])
def test_a_file_of_tokens_that_is_none_is_refused_without_telling(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as error:
        Access(AllowList(), write_tokens(tmp_path, *lines))
    assert "secret-token" not in str(error.value)


def test_tokens_that_cannot_be_read_let_nobody_in_and_tell_nothing(tmp_path: Path) -> None:
    path = write_tokens(tmp_path, "one")
    access = Access(AllowList(), path)
    path.unlink()
    with pytest.raises(
        ProblemError, match=r"^the service's tokens cannot be read now; ask again later$"
    ) as error:
        access.identify("Bearer one")
    assert error.value.status == 503
    with pytest.raises(OutageError):
        access.caller_named("any")
    write_tokens(tmp_path, "one")
    assert access.identify("Bearer one").allowed == AllowList()


def test_a_token_that_was_removed_has_no_jobs_any_more(tmp_path: Path) -> None:
    access = Access(AllowList(), write_tokens(tmp_path, "one", "two"))
    name = access.identify("Bearer one").name
    assert access.caller_named(name).name == name
    path = write_tokens(tmp_path, "two")
    os.utime(path, ns=(0, 1))
    with pytest.raises(ProblemError, match="is no longer known"):
        access.caller_named(name)


def test_a_prefix_names_a_bucket(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no prefix; write s3://BUCKET/PREFIX/"):
        Access(AllowList(), write_tokens(tmp_path, "all s3://"))


@pytest.mark.parametrize(
    "body",
    [b"", b"nul", b"\xff", b"[]", b'{"a": Infinity}', b"[" * 5000, b'"x"', b"1" * 5000, b'{"a": "\\ud800"}'],
)
def test_bodies_that_are_no_objects_are_refused_in_short(body: bytes) -> None:
    with pytest.raises(ProblemError) as error:
        parse_json(body)
    assert error.value.status == 400
    assert len(error.value.detail) < 400


def test_the_example_of_the_api_is_the_demos() -> None:
    pipeline = load_pipeline(ROOT / "config/pipelines/landsat.yaml")
    assert EXAMPLE["model"] == pipeline.model.bundle
    assert EXAMPLE["sha256"] == pipeline.model.sha256
    assert str(EXAMPLE["image"]).startswith(pipeline.scenes.uri)
    assert (ROOT / "demo/landsat/scenes" / str(EXAMPLE["image"]).rpartition("/")[2]).is_file()
    assert str(EXAMPLE["sha256"]) in (ROOT / "docs/service.md").read_text()
