"""Predicting images outside any pipeline."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from orthostat import storage
from orthostat.errors import ConfigurationError, SceneError, StorageError
from orthostat.layout import PredictionKey
from orthostat.planning.manifest import Recipe
from orthostat.prediction.batch import predict_each
from orthostat.prediction.failure import Failure
from orthostat.prediction.scene import PRODUCTS, Work, record_failure, refuse_inputs_as_outputs
from orthostat.prediction.stac import from_stac, to_stac
from orthostat.scenes.scene import Scene


def predict_images(recipe: Recipe, images: list[str], output: str) -> list[dict[str, Any]]:
    """Predict images with one bundle; returns their Items in the order of the images.

    One image: its files and `item.json` straight under `output`; several: a folder for each, named by the
    image's stem. Raises ConfigurationError before any work when two images
    have the same stem or an input would be written over, BundleError
    when the bundle cannot be used, and SceneError, after the others are done, naming each failed image;
    its `result` are the others' Items. An Item of other bytes at that place is removed first.
    """
    names = [PurePosixPath(image).stem for image in images]
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        raise ConfigurationError(
            f"several images are named {doubled}, and each gets a folder of its name under {output}; "
            "rename them, or run them one by one with an --output each"
        )
    root = storage.absolute(output)
    folders = [root] if len(images) == 1 else [storage.join(root, name) for name in names]
    for folder in folders:
        refuse_inputs_as_outputs([recipe.bundle, *images], PredictionKey(folder))
    work, failures = [], []
    for image, name, folder in zip(images, names, folders, strict=True):
        try:
            scene, key = describe_image(image, name), PredictionKey(folder)
            _remove_outdated(scene, key)
            work.append(Work(scene, key, is_on_demand=True))
        except StorageError as error:
            failures.append(_record_missing(image, name, folder, error))
    items = []
    for outcome in predict_each(recipe, work):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            items.append(to_stac(outcome))
    if failures:
        reasons = "; ".join(f"{f.scene_id}: {f.reason}" for f in failures)
        failed = SceneError(f"{len(failures)} of {len(images)} images failed: {reasons}")
        failed.result = items
        raise failed
    return items


def _remove_outdated(scene: Scene, key: PredictionKey) -> None:
    """An Item beside the failure of its replaced image would pass for that image's."""
    if not storage.exists(key.item):
        return
    if from_stac(storage.read_json(key.item), key.item).source_etag != scene.etag:
        storage.delete(key.item)
        for name in PRODUCTS:
            storage.delete(key.file(name))


def describe_image(image: str, name: str) -> Scene:
    """The image as a scene, acquired when it was last modified. Raises StorageError when it is missing."""
    found = storage.describe(storage.absolute(image))
    return Scene(
        scene_id=name,
        image_uri=found.uri,
        etag=found.etag,
        size_bytes=found.size_bytes,
        last_modified=found.last_modified,
        acquired=found.last_modified,
    )


def _record_missing(image: str, name: str, folder: str, error: StorageError) -> Failure:
    never = datetime.fromtimestamp(0, UTC)
    scene = Scene(
        scene_id=name,
        image_uri=storage.absolute(image),
        etag="",
        size_bytes=0,
        last_modified=never,
        acquired=never,
    )
    return record_failure(Work(scene, PredictionKey(folder)), "runtime", error)
