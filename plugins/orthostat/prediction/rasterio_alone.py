"""Imported first, loads rasterio without boto3: a process that has no key of S3 starts in half the time."""

import sys

if "boto3" in sys.modules:
    import rasterio
else:
    sys.modules["boto3"] = None  # type: ignore[assignment]  # rasterio does without what cannot be imported
    try:
        import rasterio  # noqa: F401
    finally:
        del sys.modules["boto3"]  # a model's own code may want it
