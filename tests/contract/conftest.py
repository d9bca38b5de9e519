"""A server for the contract of S3, a bucket on it, and what that server is known to do otherwise."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers import DIFFERENCES, Embedded, Server, given, name


@pytest.fixture(scope="session", params=[name()])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server that is tried."""
    if request.param != "embedded":
        yield given(request.param)
        return
    with tempfile.TemporaryDirectory(prefix="orthostat-test-") as folder:
        embedded = Embedded(Path(folder))
        try:
            yield embedded.start()
        finally:
            embedded.kill()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    """An embedded server of the test's own, which it starts and kills."""
    if name() != "embedded":
        pytest.skip(f"{name()} is tried, which a test does not start")
    server = Embedded(tmp_path / f"a folder of a long name, {'x' * 80}")
    yield server
    server.kill()


@pytest.fixture
def s3(server: Server) -> Any:
    """A client of the server."""
    return server.client()


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    """A fresh bucket, which goes with all that is in it."""
    name = f"orthostat-contract-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    yield name
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket=name, Key=entry["Key"])
    s3.delete_bucket(Bucket=name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those that start a server, and expect what it is known to do otherwise, strictly."""
    known = DIFFERENCES.get(name(), {})
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue  # these are the tests of all folders
        names = getattr(item, "fixturenames", [])
        if "server" in names or "embedded" in names:
            item.add_marker(pytest.mark.slow)
        if "server" in names:
            test = item.name.replace(f"[{name()}]", "").replace(f"[{name()}-", "[")
            if test in known:
                item.add_marker(pytest.mark.xfail(reason=known[test], strict=True))
