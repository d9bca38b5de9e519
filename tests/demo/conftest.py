"""The results of `make demo`: run these tests after it, while its services still run."""

from pathlib import Path

import pytest

from orthostat import settings
from orthostat.local import services

RESULTS = Path(__file__).parents[2] / "build" / "demo"


@pytest.fixture(scope="session")
def results() -> Path:
    """The folder of its results."""
    if not RESULTS.is_dir() or not all(service.ready for service in services.status(settings.local_dir())):
        pytest.skip("the demo's services do not run; `make demo` starts them")
    return RESULTS
