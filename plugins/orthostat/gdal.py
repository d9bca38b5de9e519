"""GDAL without an account: what it reads is at hand, or comes through this project's own client of S3."""

from collections.abc import Iterator
from contextlib import contextmanager

from rasterio.env import Env
from rasterio.session import DummySession


@contextmanager
def without_account() -> Iterator[None]:
    """In this thread, until the end of the block or the decorated function, rasterio makes no session of AWS.

    While AWS_* variables are set it makes one for every raster that it opens: several times the work of
    opening and reading a tile.
    """
    with Env.from_defaults(session=DummySession(), AWS_NO_SIGN_REQUEST=True):
        yield
