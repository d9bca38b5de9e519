"""Every error that Orthostat raises on purpose. A message gives the value, the limit and the cure."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

Cause = Literal["image", "limit", "bundle", "storage", "machine"]
"""What a failure is named by. The first three come again with the same bytes, the others may not."""


class OrthostatError(Exception):
    """Root of all errors whose message is meant for the user."""

    result: Any = None
    """What was done all the same, to be shown before the message."""
    cause: ClassVar[Cause] = "machine"
    is_final: ClassVar[bool] = False
    """Whether the same command would fail again, until somebody changes something."""


class ConfigurationError(OrthostatError):
    """A pipeline file, a parameter or an environment variable is wrong."""

    is_final = True


class StorageError(OrthostatError):
    """An object or file cannot be read or written, or is not the one that was planned; others may be fine."""

    cause = "storage"


class MissingError(StorageError):
    """An object or file is not there."""


class ReplacedError(StorageError):
    """An object is no longer the one that was meant: somebody else has written it."""


class OutageError(StorageError):
    """The storage itself does not answer, or takes nothing: no other object would fare better now."""


class KeyRefusedError(OutageError):
    """The storage knows the key that is used, but not by this secret, and will not until it is corrected."""

    is_final = True


class SceneError(OrthostatError):
    """An image cannot be used as a scene; a retry on the same bytes would fail again."""

    cause = "image"
    is_final = True


class LimitError(OrthostatError):
    """More is asked for than a limit allows; a retry fails again until the limit is raised."""

    cause = "limit"
    is_final = True

    def __init__(self, message: str, limit: str, allowed: float):
        """`limit` is the field of `Limits` that was exceeded, `allowed` its value."""
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class BundleError(OrthostatError):
    """A model bundle is not the named one, is unsafe, or cannot do what is asked of it."""

    cause = "bundle"
    is_final = True


class ModelError(OrthostatError):
    """The code of a model failed or ended its process; the model may still predict other images."""

    cause = "bundle"


class MachineError(OrthostatError):
    """The machine cannot go on (accelerator, disk, memory), whatever the image and the model."""


class ZonesError(OrthostatError):
    """A zones file is missing a column, or has duplicate ids or invalid geometry."""

    is_final = True


class GridError(OrthostatError):
    """A grid or raster has no usable coordinate system, or one that does not keep areas."""

    is_final = True


class IdentityError(OrthostatError):
    """Areas that must add up do not."""

    is_final = True


class SampleError(OrthostatError):
    """A reference sample is malformed or too small."""

    is_final = True


class ReleaseError(OrthostatError):
    """A table breaks its schema, or a release cannot be written."""


class ToleranceError(OrthostatError):
    """More scenes failed than the pipeline tolerates."""

    is_final = True


class OutputError(OrthostatError):
    """A command's result cannot be written to where it was sent."""


class ClusterError(OrthostatError):
    """The Kubernetes API does not answer, or would not take a pipeline's pods."""


class ServiceError(OrthostatError):
    """A local service did not start, or ended."""


class RefusedError(OrthostatError):
    """What is asked for is not on the list of what is allowed."""

    is_final = True


def name_some(lines: Sequence[str], most: int) -> list[str]:
    """The first `most` of what may be a hundred thousand lines, and how many more there are."""
    rest = len(lines) - most
    return [*lines[:most], f"and {rest} more"] if rest > 0 else list(lines)
