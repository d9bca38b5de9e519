"""How much an image, a bundle and their process may take: hostile ones ask for all there is."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from orthostat import settings
from orthostat.errors import LimitError


def _limit(name: str, default: float) -> Any:
    return Field(
        default_factory=lambda: settings.positive(f"ORTHOSTAT_MAX_{name}", default),
        gt=0,
        validate_default=True,
    )


class Limits(BaseModel):
    """The limits. Where nothing else is said, the environment decides: ORTHOSTAT_MAX_PIXELS for `pixels`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_mb: float = _limit("IMAGE_MB", 20_000)
    """Megabytes (10^6 bytes) of a scene's files."""
    pixels: float = _limit("PIXELS", 10e9)
    """Rows times columns of an image."""
    bands: float = _limit("BANDS", 1_000)
    read_mb: float = _limit("READ_MB", 1_024)
    """Megabytes in memory of what is decoded together: a block of the file, a row of windows."""
    seconds: float = _limit("SECONDS", 6 * 3600)
    """For one scene, from its first byte read to its last label written."""
    silence_seconds: float = Field(default_factory=settings.silence_seconds, gt=0)
    """Longest time without a sign of life from the model (ORTHOSTAT_SILENCE_SECONDS)."""
    memory_mb: float = _limit("MEMORY_MB", 0.9 * settings.memory_mb())
    """Megabytes of the process in which model and image meet; left out, 0.9 of what the machine, or the
    container, has."""
    bundle_mb: float = _limit("BUNDLE_MB", 16_000)
    """Megabytes of a bundle, unpacked."""
    bundle_ratio: float = _limit("BUNDLE_RATIO", 50)
    """Bytes of an unpacked bundle per byte of its zip file; weights hardly shrink, a bomb does by a thousand.
    """
    bundle_entries: float = _limit("BUNDLE_ENTRIES", 20_000)
    """Files in a bundle."""

    def require(self, limit: str, found: float, what: str, cure: str) -> None:
        """Raises LimitError when `what` is `found`, and that is more than the limit."""
        allowed: float = getattr(self, limit)
        if found > allowed:
            raise LimitError(
                f"{what} {found:,.0f}, allowed are {allowed:,.0f} (ORTHOSTAT_MAX_{limit.upper()}, or "
                f"limits.{limit} in the pipeline file); {cure}",
                limit,
                allowed,
            )
