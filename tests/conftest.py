"""An S3 server and a PostgreSQL for every test that asks for one; both end with the tests."""

import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from orthostat import storage

# Machines are busy: no test asserts a time. The same examples every time: what fails, the last change broke.
settings.register_profile("orthostat", deadline=None, derandomize=True)
settings.load_profile("orthostat")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server on loopback that keeps its objects in memory."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Silent(MotoRequestHandler):
        def log_request(self, *arguments: object) -> None:
            pass

    # Of the service s3 alone: moto's own server asks at each request which of all services is meant.
    server = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URI of a fresh bucket; the AWS_* variables point to its server."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    storage.s3.cache_clear()
    bucket = f"orthostat-test-{uuid.uuid4().hex[:8]}"
    storage.s3().create_bucket(Bucket=bucket)
    yield f"s3://{bucket}"
    storage.s3.cache_clear()


@pytest.fixture(scope="session")
def postgres_dir() -> Iterator[Path]:
    """Folder of a PostgreSQL that runs for these tests."""
    from orthostat.local import services

    with tempfile.TemporaryDirectory(prefix="orthostat-test-") as folder:
        try:
            services.start_postgres(Path(folder))
            yield Path(folder)
        finally:
            services.stop_postgres(Path(folder))


@pytest.fixture
def database_url(postgres_dir: Path) -> Iterator[str]:
    """SQLAlchemy URL of a fresh, empty database."""
    from psycopg.sql import SQL, Identifier

    from orthostat.local import postgres

    name = f"test_{uuid.uuid4().hex[:8]}"
    postgres.ensure_database(postgres_dir, name)
    yield postgres.url(postgres_dir, name, "psycopg")
    with postgres.connect(postgres_dir) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
