"""What the environment decides, read in one place."""

import os
from pathlib import Path

from orthostat.errors import ConfigurationError


def pipelines_dir() -> Path:
    """Folder of the pipeline files: ORTHOSTAT_PIPELINES_DIR, else `config/pipelines` of this checkout."""
    configured = os.environ.get("ORTHOSTAT_PIPELINES_DIR")
    return Path(configured) if configured else Path(__file__).parents[2] / "config" / "pipelines"


def dags_dir() -> Path:
    """Folder that the local Airflow reads DAGs from: ORTHOSTAT_DAGS_DIR, else `dags` of this checkout."""
    configured = os.environ.get("ORTHOSTAT_DAGS_DIR")
    return Path(configured) if configured else Path(__file__).parents[2] / "dags"


def local_dir() -> Path:
    """Folder of the local services' state: ORTHOSTAT_LOCAL_DIR, else `.local` of this checkout."""
    configured = os.environ.get("ORTHOSTAT_LOCAL_DIR")
    return Path(configured) if configured else Path(__file__).parents[2] / ".local"


def runner() -> str:
    """Where predictions outside any pipeline run: ORTHOSTAT_RUNNER, `process` (default) or `kubernetes`."""
    configured = os.environ.get("ORTHOSTAT_RUNNER", "process")
    if configured not in {"process", "kubernetes"}:
        raise ConfigurationError(f"ORTHOSTAT_RUNNER is '{configured}'; set it to process or kubernetes")
    return configured


def database_url() -> str:
    """SQLAlchemy URL of the statistics database: ORTHOSTAT_DATABASE_URL.

    Raises ConfigurationError when it is not set: figures are never written to a place that nobody chose.
    """
    url = os.environ.get("ORTHOSTAT_DATABASE_URL")
    if not url:
        raise ConfigurationError(
            "ORTHOSTAT_DATABASE_URL is not set; give the statistics database, "
            "e.g. postgresql+psycopg://user:password@host:5432/orthostat"
        )
    return url
