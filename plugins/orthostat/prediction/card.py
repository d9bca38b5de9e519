"""The model card: what a model was made for, as a STAC Item of the machine-learning-model extension."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from orthostat import __version__, storage
from orthostat.errors import ConfigurationError
from orthostat.prediction.bundle import Bundle
from orthostat.prediction.description import Description
from orthostat.prediction.options import ModelOptions
from orthostat.prediction.transformers import read_statistics

_MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_MULTIHASH_SHA256 = "1220"


class CardBand(BaseModel):
    """A band that the model reads, as it was in training."""

    model_config = ConfigDict(frozen=True)

    name: str | None = None
    mean: float | None = None
    deviation: float | None = None


class ModelCard(BaseModel):
    """What judging needs of a card; what it leaves out is not judged."""

    model_config = ConfigDict(frozen=True)

    platforms: tuple[str, ...] = ()
    """What took the training images."""
    gsd_m: float | None = None
    """Ground sampling distance of the training images, in metres."""
    bands: tuple[CardBand, ...] = ()
    """In the order in which the model reads them."""
    content: dict[str, Any] = {}
    """The whole Item."""


def read_card(uri: str, model_sha256: str) -> ModelCard:
    """The card at `uri`. Raises ConfigurationError when it is none, or of another model; StorageError."""
    item = storage.read_json(uri)
    try:
        digest = item["assets"]["model"]["file:checksum"].removeprefix(_MULTIHASH_SHA256)
        card = _from_stac(item)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ValidationError) as error:
        raise ConfigurationError(
            f"{uri} is no model card ({error!r:.300}); write a draft with `orthostat bundle describe` and "
            "fill it in"
        ) from error
    if digest != model_sha256:
        raise ConfigurationError(
            f"{uri} is the card of the model {digest[:12]}, the pipeline's is {model_sha256[:12]}; give "
            "'model.card' the card of this bundle"
        )
    return card


def _from_stac(item: Mapping[str, Any]) -> ModelCard:
    properties = item["properties"]
    named = properties.get("platform") or properties.get("platforms") or ()
    return ModelCard(
        platforms=(named,) if isinstance(named, str) else tuple(named),
        gsd_m=properties.get("gsd"),
        bands=tuple(
            CardBand(
                name=band.get("name"),
                mean=(band.get("statistics") or {}).get("mean"),
                deviation=(band.get("statistics") or {}).get("stddev"),
            )
            for band in properties.get("bands") or ()
        ),
        content=dict(item),
    )


def draft_card(bundle: Bundle, model: Description, options: ModelOptions) -> dict[str, Any]:
    """The card as far as the bundle knows; what only its maker knows is null, to be filled in."""
    means, deviations = read_statistics(model.transformers, bundle.folder, options.channel_order)
    bands = [
        {
            "name": None,
            "statistics": {
                "mean": means[number] if number < len(means) else None,
                "stddev": deviations[number] if number < len(deviations) else None,
            },
        }
        for number in range(len(options.channel_order or ()) or model.channels)
    ]
    task = model.task.replace("_", "-")
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _FILE],
        "id": bundle.sha256[:12],
        "geometry": None,
        "bbox": None,
        "properties": {
            "datetime": None,
            "start_datetime": None,
            "end_datetime": None,
            "title": None,
            "description": None,
            "license": None,
            "platform": None,
            "instruments": None,
            "gsd": None,
            "bands": bands,
            "mlm:name": model.network,
            "mlm:architecture": model.network,
            "mlm:tasks": ["classification" if task == "chip-classification" else task],
            "mlm:framework": "ONNX" if model.has_onnx else "PyTorch",
            "mlm:input": [
                {
                    "name": "chips",
                    "bands": [],
                    "input": {
                        "shape": [-1, model.channels, model.image_size, model.image_size],
                        "dim_order": ["batch", "channel", "height", "width"],
                        "data_type": "float32",
                    },
                }
            ],
            "mlm:output": [
                {
                    "name": model.task,
                    "classification:classes": [
                        {"value": c.class_id, "name": c.name, "color_hint": c.color} for c in model.classes
                    ],
                }
            ],
            "processing:software": {"orthostat": __version__},
        },
        "links": [{"rel": "derived_from", "href": "", "title": "the training data"}],
        "assets": {
            "model": {
                "href": bundle.uri,
                "type": "application/zip",
                "roles": ["mlm:model"],
                "file:checksum": f"{_MULTIHASH_SHA256}{bundle.sha256}",
                "mlm:artifact_type": "raster-vision.model-bundle",
            }
        },
    }
