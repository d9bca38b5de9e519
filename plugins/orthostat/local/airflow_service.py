"""The four programs that make up Airflow, its tables and its password."""

import importlib.metadata
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from psycopg.sql import SQL, Literal

import orthostat
from orthostat import storage
from orthostat.errors import ServiceError
from orthostat.local import configuration, postgres, process
from orthostat.local.environment import environment, inherited, password_path, service_settings
from orthostat.local.process import Program

_EXECUTABLE = str(Path(sys.executable).with_name("airflow"))
_PROGRAMS = {
    "api-server": ["api-server"],
    # Their log servers would listen on every interface; on one machine the logs are read from the disk.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}

_PACKAGES = ("orthostat", "orthostat_airflow")

logger = logging.getLogger(__name__)


def programs(local_dir: Path) -> list[Program]:
    """What has to run, with its settings."""
    # Tasks are forks of the scheduler, which has loaded this code: other code is another program.
    settings = service_settings(local_dir) | {"ORTHOSTAT_CODE": _digest_code()}
    return [
        Program(name, [_EXECUTABLE, *arguments], local_dir, settings, inherited())
        for name, arguments in _PROGRAMS.items()
    ]


def healthy(address: str, programs: Sequence[Program]) -> set[str]:
    """The names of the programs that Airflow's own report at `address` calls healthy."""
    health = _read_health(address) if programs else None
    return {program.name for program in programs if health and _is_healthy(program, health)}


def write_password(local_dir: Path) -> None:
    """Give Airflow the configured password, which it would otherwise make up."""
    path = password_path(local_dir)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    storage.write_private_json(path, {configuration.USER: configuration.read(local_dir).password})


def migrate(local_dir: Path) -> None:
    """Make or upgrade Airflow's tables, once for each version of Airflow: the database remembers which."""
    version = importlib.metadata.version("apache-airflow-core")
    mark = f"{postgres.MIGRATED} {version}, {postgres.installation(local_dir)}"
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'airflow'"
    with postgres.connect(local_dir) as connection:
        if connection.execute(query).fetchone() == (mark,):
            return
        started = time.monotonic()
        log_path = local_dir / "logs" / "migrate.log"
        with log_path.open("wb") as log:
            command = [_EXECUTABLE, "db", "migrate"]
            variables = environment(local_dir)
            done = subprocess.run(command, env=variables, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise ServiceError(
                f"`airflow db migrate` failed with {done.returncode}; see {log_path}, and start again"
            )
        connection.execute(SQL("COMMENT ON DATABASE airflow IS {}").format(Literal(mark)))
        logger.info("%-13s made after %.0f s", "tables", time.monotonic() - started)


def _digest_code() -> str:
    folder = Path(orthostat.__file__).parents[1]
    found = sorted(path for name in _PACKAGES for path in (folder / name).rglob("*.py"))
    # What editors leave beside a file is none of the code, and may lead nowhere.
    paths = [path for path in found if not path.name.startswith(".") and path.is_file()]
    return storage.digest([[str(path), storage.file_sha256(path)] for path in paths])


def _read_health(address: str) -> dict[str, Any] | None:
    try:
        answer = httpx.get(f"{address}/api/v2/monitor/health", trust_env=False, timeout=5)
    except httpx.HTTPError:
        return None
    return dict(answer.json()) if answer.is_success else None


def _is_healthy(program: Program, health: dict[str, Any]) -> bool:
    """Whether Airflow's report says so of this very process, not of the one before it."""
    if program.name == "api-server":
        return bool(health["metadatabase"]["status"] == "healthy")
    key = program.name.replace("-", "_")
    found, heartbeat = process.find(program), health.get(key, {}).get(f"latest_{key}_heartbeat")
    if found is None or heartbeat is None or health[key]["status"] != "healthy":
        return False
    # The start is known to a second, and no service reports within its first.
    return datetime.fromisoformat(heartbeat).timestamp() > float(found.create_time()) + 1
