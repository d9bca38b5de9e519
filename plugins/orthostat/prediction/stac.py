"""Predictions as STAC Items."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from orthostat import storage
from orthostat.errors import OutageError, StorageError
from orthostat.planning.manifest import is_since
from orthostat.prediction.classes import NODATA, LabelClass
from orthostat.prediction.facts import BandFacts
from orthostat.prediction.item import File, Prediction

if TYPE_CHECKING:
    import pystac

_READERS = 16
_MULTIHASH_SHA256 = "1220"
_EXTENSIONS = [
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_PARQUET = "application/vnd.apache.parquet"
_MEDIA_TYPES = {".tif": _COG, ".parquet": _PARQUET, ".png": "image/png"}
_TASKS = {
    "semantic_segmentation": ("semantic-segmentation", "semantic segmentation"),
    "chip_classification": ("classification", "chip classification"),
    "object_detection": ("object-detection", "object detection"),
}
"""What the machine-learning-model extension and people call the tasks."""
_ARITHMETIC = {"onnx": "ONNX", "raster-vision": "PyTorch"}


def media_type(name: str) -> str:
    """Media type of a file of a prediction."""
    return _MEDIA_TYPES[PurePosixPath(name).suffix]


def to_stac(prediction: Prediction) -> dict[str, Any]:
    """The Item as JSON (STAC 1.1; projection, raster, classification, processing, model)."""
    import pystac  # here, as a pod has nothing to say before it has predicted

    item = pystac.Item(
        id=prediction.scene_id,
        **_place(prediction),
        datetime=prediction.acquired,
        properties=_properties(prediction),
        stac_extensions=_EXTENSIONS,
    )
    for name, file in prediction.files.items():
        item.add_asset(PurePosixPath(name).stem, _asset(prediction, name, file))
    model = pystac.Asset(href=prediction.model_uri, media_type="application/zip", roles=["mlm:model"])
    model.extra_fields["file:checksum"] = f"{_MULTIHASH_SHA256}{prediction.model_sha256}"
    model.extra_fields["mlm:artifact_type"] = "raster-vision.model-bundle"
    item.add_asset("model", model)
    result: dict[str, Any] = item.to_dict(include_self_link=False)
    return result


def _place(prediction: Prediction) -> dict[str, Any]:
    if prediction.crs is None:
        return {"geometry": None, "bbox": None}
    from pyproj import Transformer

    west, south, east, north = prediction.bounds
    to_degrees = Transformer.from_crs(prediction.crs, "EPSG:4326", always_xy=True)
    xs, ys = to_degrees.transform([west, east, east, west, west], [south, south, north, north, south])
    longitudes, latitudes = [round(x, 7) for x in xs], [round(y, 7) for y in ys]
    points = [list(point) for point in zip(longitudes, latitudes, strict=True)]
    return {
        "geometry": {"type": "Polygon", "coordinates": [points]},
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
    }


def _properties(prediction: Prediction) -> dict[str, Any]:
    cloud = {} if prediction.cloud_cover_pct is None else {"eo:cloud_cover": prediction.cloud_cover_pct}
    counts = {} if prediction.counts is None else {"orthostat:counts": _with_text_keys(prediction.counts)}
    parts = {"orthostat:source_parts": list(prediction.source_parts)} if prediction.source_parts else {}
    return {
        **_projection(prediction.crs),
        **cloud,
        **counts,
        **parts,
        **_model_properties(prediction),
        "proj:shape": list(prediction.shape),
        "proj:transform": list(prediction.transform),
        "processing:level": "L4",
        "processing:lineage": f"{_TASKS[prediction.task][1]} of {prediction.source_uri}",
        "processing:software": prediction.software,
        "processing:version": prediction.code_version,
        "orthostat:is_georeferenced": prediction.crs is not None,
        "orthostat:engine": prediction.engine,
        "orthostat:device": prediction.device,
        "orthostat:options": prediction.options,
        "orthostat:source_uri": prediction.source_uri,
        "orthostat:source_etag": prediction.source_etag,
        "orthostat:source_last_modified": prediction.source_last_modified.isoformat(),
        "orthostat:source_crs": prediction.source_crs,
        "orthostat:source_shape": list(prediction.source_shape),
        **_pixels(prediction),
        "orthostat:nonfinite_pixels": prediction.nonfinite_pixels,
        **({} if prediction.generation is None else {"orthostat:generation": prediction.generation}),
        "orthostat:valid_fraction": prediction.valid_fraction,
        "orthostat:bands": [vars(band) for band in prediction.bands],
        "orthostat:mean_score": prediction.mean_score,
        **({} if prediction.platform is None else {"platform": prediction.platform}),
        "orthostat:value_ranges": [pair and list(pair) for pair in prediction.value_ranges],
    }


def _model_properties(prediction: Prediction) -> dict[str, Any]:
    """The fields of the machine-learning-model extension."""
    task = _TASKS[prediction.task][0]
    return {
        "mlm:name": prediction.network,
        "mlm:architecture": prediction.network,
        "mlm:tasks": [task],
        "mlm:framework": _ARITHMETIC[prediction.engine],
        "mlm:accelerator": "cuda" if prediction.device.startswith("cuda") else None,
        "mlm:input": [
            {
                "name": "chips",
                "bands": [],
                "input": {
                    "shape": [-1, prediction.channels, prediction.image_size, prediction.image_size],
                    "dim_order": ["batch", "channel", "height", "width"],
                    "data_type": "float32",
                },
            }
        ],
        "mlm:output": [
            {
                "name": prediction.task,
                "tasks": [task],
                "result": {"shape": [-1], "dim_order": ["batch"], "data_type": "float32"},
                "classification:classes": _classes(prediction),
            }
        ],
    }


def _classes(prediction: Prediction) -> list[dict[str, Any]]:
    return [{"value": c.class_id, "name": c.name, "color_hint": c.color} for c in prediction.classes]


def _asset(prediction: Prediction, name: str, file: File) -> "pystac.Asset":
    import pystac

    fields: dict[str, Any] = {"file:checksum": f"{_MULTIHASH_SHA256}{file.sha256}"}
    if name.endswith(".tif"):
        fields["raster:bands"] = [{"data_type": "uint8", "nodata": NODATA, "sampling": "area"}]
    if name == "labels.tif":
        fields["classification:classes"] = _classes(prediction)
    roles = ["thumbnail"] if name == "preview.png" else ["data"]
    return pystac.Asset(
        href=file.href, title=name, media_type=media_type(name), roles=roles, extra_fields=fields
    )


def from_stac(item: dict[str, Any], uri: str) -> Prediction:
    """Read an Item back. Raises StorageError when it is no Item that Orthostat wrote."""
    try:
        return _from_stac(item)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise StorageError(
            f"{uri} is no Item of a prediction ({error!r}); delete it and predict again"
        ) from error


def _from_stac(item: dict[str, Any]) -> Prediction:
    properties, assets = item["properties"], item["assets"]
    (output,), (taken,) = properties["mlm:output"], properties["mlm:input"]
    a, b, c, d, e, f = properties["proj:transform"]
    counts = properties.get("orthostat:counts")
    return Prediction(
        scene_id=item["id"],
        task=output["name"],
        files={
            entry["title"]: File(entry["href"], _sha256(entry))
            for name, entry in assets.items()
            if name != "model"
        },
        acquired=datetime.fromisoformat(properties["datetime"]),
        crs=properties["proj:code"] or properties.get("proj:wkt2"),
        shape=_pair(properties["proj:shape"]),
        transform=(a, b, c, d, e, f),
        classes=tuple(
            LabelClass(entry["value"], entry["name"], entry["color_hint"])
            for entry in output["classification:classes"]
        ),
        histogram=_read_pixels(properties),
        counts=None if counts is None else _with_number_keys(counts),
        nonfinite_pixels=properties.get("orthostat:nonfinite_pixels", 0),
        generation=properties.get("orthostat:generation"),
        bands=tuple(BandFacts(**band) for band in properties.get("orthostat:bands", ())),
        mean_score=properties.get("orthostat:mean_score"),
        platform=properties.get("platform"),
        valid_fraction=properties["orthostat:valid_fraction"],
        value_ranges=tuple(pair and (pair[0], pair[1]) for pair in properties["orthostat:value_ranges"]),
        model_uri=assets["model"]["href"],
        model_sha256=_sha256(assets["model"]),
        network=properties["mlm:name"],
        channels=taken["input"]["shape"][1],
        image_size=taken["input"]["shape"][2],
        engine=properties["orthostat:engine"],
        device=properties["orthostat:device"],
        options=properties["orthostat:options"],
        source_uri=properties["orthostat:source_uri"],
        source_etag=properties["orthostat:source_etag"],
        source_last_modified=datetime.fromisoformat(properties["orthostat:source_last_modified"]),
        source_crs=properties["orthostat:source_crs"],
        source_shape=_pair(properties["orthostat:source_shape"]),
        code_version=properties["processing:version"],
        software=properties["processing:software"],
        cloud_cover_pct=properties.get("eo:cloud_cover"),
        source_parts=tuple(properties.get("orthostat:source_parts", ())),
    )


def _pixels(prediction: Prediction) -> dict[str, Any]:
    """What pixels are counted: those of each class, or for a detector those that were observed."""
    if prediction.task == "object_detection":
        return {"orthostat:observed_pixels": sum(prediction.histogram.values())}
    return {"orthostat:histogram": _with_text_keys(prediction.histogram)}


def _read_pixels(properties: dict[str, Any]) -> dict[int, int]:
    if "orthostat:observed_pixels" in properties:
        observed = properties["orthostat:observed_pixels"]
        return {0: observed} if observed else {}
    return _with_number_keys(properties["orthostat:histogram"])


def _projection(crs: str | None) -> dict[str, Any]:
    if crs is None or crs.startswith("EPSG:"):
        return {"proj:code": crs}
    return {"proj:code": None, "proj:wkt2": crs}


def _sha256(asset: dict[str, Any]) -> str:
    checksum: str = asset["file:checksum"]
    return checksum.removeprefix(_MULTIHASH_SHA256)


def _with_text_keys(numbers: dict[int, int]) -> dict[str, int]:
    return {str(key): value for key, value in numbers.items()}


def _with_number_keys(numbers: dict[str, int]) -> dict[int, int]:
    return {int(key): value for key, value in numbers.items()}


def _pair(values: list[int]) -> tuple[int, int]:
    first, second = values
    return first, second


def read_since(uri: str, generation: str) -> Prediction | None:
    """The prediction at `uri` if it is of that re-prediction, or of one that was planned later; else None,
    also for what is no Item of ours. Raises OutageError.
    """
    try:
        found = from_stac(storage.read_json(uri), uri)
    except OutageError:
        raise
    except StorageError:
        return None
    return found if is_since(found.generation, generation) else None


def read_predictions(uris: Sequence[str]) -> list[Prediction]:
    """The predictions behind Items, in the order of their URIs. Raises StorageError for a missing one."""
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda uri: from_stac(storage.read_json(uri), uri), uris))
