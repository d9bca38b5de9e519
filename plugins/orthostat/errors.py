"""Every error that Orthostat raises on purpose. A message gives the value, the limit and the cure."""

from typing import Any


class OrthostatError(Exception):
    """Root of all errors whose message is meant for the user."""

    result: Any = None
    """What was done all the same, to be shown before the message."""


class ConfigurationError(OrthostatError):
    """A pipeline file, a parameter or an environment variable is wrong."""


class StorageError(OrthostatError):
    """An object or file cannot be read or written, or is not the one that was planned."""


class MissingError(StorageError):
    """An object or file is not there."""


class SceneError(OrthostatError):
    """An image cannot be used as a scene; a retry on the same bytes would fail again."""


class BundleError(OrthostatError):
    """A model bundle is not the named one, is unsafe, or cannot do what is asked of it."""


class ModelError(OrthostatError):
    """The process that runs a model failed, hung or ended; the model may still predict other images."""


class ZonesError(OrthostatError):
    """A zones file is missing a column, or has duplicate ids or invalid geometry."""


class GridError(OrthostatError):
    """A grid or raster has no usable coordinate system, or one that does not keep areas."""


class IdentityError(OrthostatError):
    """Areas that must add up do not."""


class SampleError(OrthostatError):
    """A reference sample is malformed or too small."""


class ReleaseError(OrthostatError):
    """A table breaks its schema, or a release cannot be written."""


class ToleranceError(OrthostatError):
    """More scenes failed than the pipeline tolerates."""


class OutputError(OrthostatError):
    """A command's result cannot be written to where it was sent."""


class ServiceError(OrthostatError):
    """A local service did not start, or ended."""


class RefusedError(OrthostatError):
    """The prediction service was not started to do what is asked of it."""
