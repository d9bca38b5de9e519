"""What Airflow's official Helm chart 1.22.0 starts: arguments, probes and time to end of each component.

The chart itself is not here; this is what it renders with its defaults.
"""

from dataclasses import dataclass, field
from typing import Any

PORT = 8080
MIGRATE = ["bash", "-c", "exec airflow db migrate"]
CREATE_USER = [
    *["bash", "-c", 'exec airflow users create "$@"', "--", "-r", "Admin", "-u", "admin"],
    *["-e", "admin@example.com", "-f", "admin", "-l", "user", "-p", "admin"],
]
CLEAN_DATABASE = [
    "bash",
    "-c",
    'CLEAN_TS=$(date -d "-90 days" +"%Y-%m-%dT%H:%M:%S"); echo "Cleaning up metadata older than $CLEAN_TS"; '
    'exec airflow db clean --clean-before-timestamp "$CLEAN_TS" --yes --verbose',
]


def check_job(kind: str) -> list[str]:
    """Command of the liveness probe of a component that writes its heartbeat into the database."""
    environment = "CONNECTION_CHECK_MAX_COUNT=0 AIRFLOW__LOGGING__LOGGING_LEVEL=ERROR"
    return ["sh", "-c", f"{environment} exec /entrypoint airflow jobs check --job-type {kind} --local"]


PING_WORKER = [
    "sh",
    "-c",
    "CONNECTION_CHECK_MAX_COUNT=0 exec /entrypoint python -m celery"
    " --app airflow.providers.celery.executors.celery_executor.app inspect ping"
    ' -d celery@$(python -c "from airflow.utils.net import get_hostname; print(get_hostname())")',
]
_HEALTH = {"httpGet": {"path": "/api/v2/monitor/health", "port": PORT}}


def _times(delay: int, timeout: int, period: int, failures: int) -> dict[str, int]:
    names = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold")
    return dict(zip(names, (delay, timeout, period, failures), strict=True))


def _exec_probes(command: list[str], startup: bool = False) -> dict[str, Any]:
    action = {"exec": {"command": command}}
    probes = {"livenessProbe": action | _times(10, 20, 60, 5)}
    return probes | ({"startupProbe": action | _times(0, 20, 10, 6)} if startup else {})


@dataclass(frozen=True)
class Component:
    """A row of the table: a long-running component, or a job when it has no probes."""

    name: str
    args: list[str]
    probes: dict[str, Any] = field(default_factory=dict)
    grace_s: int = 30
    logs: bool = False
    """Whether it has a volume for logs and a log groomer beside it."""
    waits: bool = True
    """Whether an init container waits for the migrations."""


API_SERVER = Component(
    "api-server",
    ["bash", "-c", "exec airflow api-server"],
    {
        "startupProbe": _HEALTH | _times(0, 20, 10, 6),
        "livenessProbe": _HEALTH | _times(15, 5, 10, 5),
        "readinessProbe": _HEALTH | _times(15, 5, 10, 5),
    },
)
SCHEDULER = Component(
    "scheduler",
    ["bash", "-c", "exec airflow scheduler"],
    _exec_probes(check_job("SchedulerJob"), startup=True),
    grace_s=600,
    logs=True,
)
DAG_PROCESSOR = Component(
    "dag-processor",
    ["bash", "-c", "exec airflow dag-processor"],
    _exec_probes(check_job("DagProcessorJob")),
    grace_s=60,
    logs=True,
)
TRIGGERER = Component(
    "triggerer",
    ["bash", "-c", "exec airflow triggerer"],
    _exec_probes(check_job("TriggererJob")),
    grace_s=60,
    logs=True,
)
WORKER = Component(
    "worker",
    ["bash", "-c", "exec airflow celery worker"],
    _exec_probes(PING_WORKER),
    grace_s=600,
    logs=True,
)
MIGRATIONS = Component("migrate-database-job", MIGRATE, waits=False)
USER_CREATION = Component("create-user-job", CREATE_USER, waits=False)
DATABASE_CLEANUP = Component("database-cleanup", CLEAN_DATABASE, waits=False)
