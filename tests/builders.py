"""Small valid objects that tests start from and change."""

from datetime import UTC, datetime
from typing import Any

from orthostat.pipelines.config import Pipeline
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.item import File, Prediction
from orthostat.scenes.scene import Scene

SHA256 = "ab" * 32


def make_pipeline(root: str = "s3://bucket/made", **changes: Any) -> Pipeline:
    """A pipeline whose archive lies beside its output."""
    fields: dict[str, Any] = {
        "name": "made",
        "title": "Made for tests",
        "scenes": {
            "uri": root.rsplit("/", 1)[0] + "/scenes/",
            "pattern": r"(?P<scene_id>[A-Z]+_(?P<acquired>\d{8}))\.tif$",
        },
        "model": {"bundle": root.rsplit("/", 1)[0] + "/bundle.zip", "sha256": SHA256, "engine": "onnx"},
        "output": root,
        "zones": {"uri": root.rsplit("/", 1)[0] + "/zones.gpkg", "id_column": "zone_id", "version": "2024"},
        "grid": {"crs": "EPSG:32633", "resolution_m": 10},
    }
    return Pipeline.model_validate(fields | changes)


def make_scene(scene_id: str = "A_20240105", **changes: Any) -> Scene:
    """A scene of January 2024."""
    fields: dict[str, Any] = {
        "scene_id": scene_id,
        "image_uri": f"s3://bucket/scenes/{scene_id}.tif",
        "etag": "e1",
        "size_bytes": 1000,
        "last_modified": datetime(2024, 1, 6, tzinfo=UTC),
        "acquired": datetime(2024, 1, 5, tzinfo=UTC),
    }
    return Scene.model_validate(fields | changes)


def make_prediction(scene_id: str = "A_20240105", **changes: Any) -> Prediction:
    """A prediction of 10 x 20 pixels near 15 degrees east: 150 water, 40 crop, 10 nodata."""
    fields: dict[str, Any] = {
        "scene_id": scene_id,
        "task": "semantic_segmentation",
        "files": {"labels.tif": File("s3://bucket/labels.tif", SHA256)},
        "acquired": datetime(2024, 1, 5, tzinfo=UTC),
        "crs": "EPSG:32633",
        "shape": (10, 20),
        "transform": (10.0, 0.0, 500000.0, 0.0, -10.0, 4983400.0),
        "classes": (LabelClass(0, "water", "0000FF"), LabelClass(1, "crop", "FFFF00")),
        "histogram": {0: 150, 1: 40},
        "counts": None,
        "valid_fraction": 0.95,
        "value_ranges": ((1.0, 9.0),),
        "model_uri": "s3://bucket/bundle.zip",
        "model_sha256": SHA256,
        "network": "made.net",
        "channels": 3,
        "image_size": 300,
        "engine": "onnx",
        "device": "cpu",
        "options": {"chip_size": 300, "batch_size": 8},
        "source_uri": f"s3://bucket/scenes/{scene_id}.tif",
        "source_etag": "e1",
        "source_last_modified": datetime(2024, 1, 6, tzinfo=UTC),
        "source_crs": "EPSG:32633",
        "source_shape": (10, 20),
        "code_version": "0.1.0",
        "software": {"orthostat": "0.1.0"},
    }
    return Prediction(**(fields | changes))
