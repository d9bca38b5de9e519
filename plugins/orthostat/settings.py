"""What the environment decides, read in one place."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from orthostat.errors import ConfigurationError

if TYPE_CHECKING:
    from orthostat.pipelines.options import EngineChoice


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


def engine() -> "EngineChoice":
    """What `engine: auto` in a pipeline file means: ORTHOSTAT_ENGINE, else `auto`, decided by the bundle."""
    configured = os.environ.get("ORTHOSTAT_ENGINE", "auto")
    if configured not in {"auto", "onnx", "raster-vision"}:
        raise ConfigurationError(f"ORTHOSTAT_ENGINE is '{configured}'; set it to auto, onnx or raster-vision")
    return cast("EngineChoice", configured)


def only_engine() -> str | None:
    """The one engine that runs here, whatever is asked for: ORTHOSTAT_ONLY_ENGINE; None for each that can."""
    configured = os.environ.get("ORTHOSTAT_ONLY_ENGINE")
    if configured not in {None, "onnx", "raster-vision"}:
        raise ConfigurationError(
            f"ORTHOSTAT_ONLY_ENGINE is '{configured}'; set it to onnx, which runs no code of a bundle, or to "
            "raster-vision, or not at all"
        )
    return configured


def allow_list_path() -> Path | None:
    """File of the allow-list: ORTHOSTAT_ALLOW; None for no list."""
    configured = os.environ.get("ORTHOSTAT_ALLOW")
    return Path(configured) if configured else None


def gpu_slots() -> int:
    """Slots of a pool of predict pods when it is made: ORTHOSTAT_GPU_SLOTS, else 8, as config/kubernetes has
    GPUs in its quota.
    """
    return int(positive("ORTHOSTAT_GPU_SLOTS", 8))


def stats_slots() -> int:
    """Slots of a pool of other pods when it is made: ORTHOSTAT_STATS_SLOTS, else the 32 for which that quota
    has room beside 8 that predict.
    """
    return int(positive("ORTHOSTAT_STATS_SLOTS", 32))


def threads() -> int:
    """Threads of a model's process: ORTHOSTAT_THREADS, else the cores that this process may use."""
    return int(positive("ORTHOSTAT_THREADS", len(os.sched_getaffinity(0))))


def silence_seconds() -> float:
    """How long a model's process may go without a sign of life: ORTHOSTAT_SILENCE_SECONDS, else 900."""
    return positive("ORTHOSTAT_SILENCE_SECONDS", 900)


def is_debugged() -> bool:
    """Whether tracebacks of defects are shown: ORTHOSTAT_DEBUG is set."""
    return bool(os.environ.get("ORTHOSTAT_DEBUG"))


def warm_models() -> int:
    """Models that the service keeps loaded: ORTHOSTAT_WARM_MODELS, else 2; with one, small images would wait
    behind a large one.
    """
    return max(2, int(positive("ORTHOSTAT_WARM_MODELS", 2)))


def warm_mb() -> float:
    """Megabytes that idle models may keep: ORTHOSTAT_WARM_MB, else half of the memory."""
    return positive("ORTHOSTAT_WARM_MB", memory_mb() / 2)


def memory_mb() -> float:
    """Megabytes (10^6 bytes) that the processes of this machine, or this container, may have together."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):
            continue  # another version of cgroups, or no limit ("max")
    return min(found) / 1e6


def positive(name: str, default: float) -> float:
    """A number from the environment. Raises ConfigurationError when it is none, or not above 0."""
    configured = os.environ.get(name)
    try:
        value = default if configured is None else float(configured)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"{name} is '{configured}'; set it to a number above 0, or not at all")
    return value


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
