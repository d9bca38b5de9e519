"""Predicting images outside any pipeline."""

from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from orthostat import storage
from orthostat.errors import ConfigurationError, SceneError, StorageError
from orthostat.layout import PredictionKey
from orthostat.planning.manifest import Recipe
from orthostat.prediction.batch import predict_each
from orthostat.prediction.failure import Failure
from orthostat.prediction.launch import Launched
from orthostat.prediction.scene import PRODUCTS, Work, record_failure, refuse_inputs_as_outputs
from orthostat.prediction.stac import from_stac, to_stac
from orthostat.scenes.scene import Scene


def predict_images(
    recipe: Recipe,
    images: list[str],
    output: str,
    *,
    is_mosaic: bool = False,
    early: Launched | None = None,
) -> list[dict[str, Any]]:
    """Predict images with one bundle; returns their Items in the order of the images.

    One image, or a mosaic, whose images are the parts of one scene named by the first: its files and
    `item.json` straight under `output`; several: a folder for each, named by the image's stem. Raises
    ConfigurationError before any work when two images have the same stem or an input would be written over,
    BundleError when the bundle cannot be used, and SceneError, after the others are done, naming each failed
    image; its `result` are the others' Items. An Item of other bytes at that place is removed first. `early`
    is a process for the model that was started already.
    """
    root = storage.absolute(output)
    if is_mosaic or len(images) == 1:
        folders = {root: images}
    else:
        _require_different_names(images, output)
        folders = {storage.join(root, PurePosixPath(image).stem): [image] for image in images}
    for folder in folders:
        refuse_inputs_as_outputs([recipe.bundle, *images], PredictionKey(folder))
    work, failures = [], []
    for folder, parts in folders.items():
        name = PurePosixPath(parts[0]).stem
        try:
            item = describe_work(parts, name, PredictionKey(folder))
            remove_outdated(item.scene, item.key)
            work.append(item)
        except StorageError as error:
            failures.append(_record_missing(recipe, parts[0], name, folder, error))
    items = []
    for outcome in predict_each(recipe, work, early=early):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            items.append(to_stac(outcome))
    if failures:
        reasons = "; ".join(f"{f.scene_id}: {f.reason}" for f in failures)
        failed = SceneError(f"{len(failures)} of {len(folders)} images failed: {reasons}")
        failed.result = items
        raise failed
    return items


def _require_different_names(images: list[str], output: str) -> None:
    names = Counter(PurePosixPath(image).stem for image in images)
    if {"", ".", ".."} & set(names):
        raise ConfigurationError(
            f"an image whose name is only dots gets no folder under {output}; rename it, or predict it alone"
        )
    doubled = sorted(name for name, count in names.items() if count > 1)
    if doubled:
        raise ConfigurationError(
            f"several images are named {doubled}, and each gets a folder of its name under {output}; "
            "rename them, run them one by one with an --output each, or say --mosaic if they are one scene"
        )


def remove_outdated(scene: Scene, key: PredictionKey) -> None:
    """An Item beside the failure of its replaced image would pass for that image's."""
    if not storage.exists(key.item):
        return
    if from_stac(storage.read_json(key.item), key.item).source_etag != scene.etag:
        storage.delete(key.item)
        for name in PRODUCTS:
            storage.delete(key.file(name))


def describe_work(images: list[str], name: str, key: PredictionKey) -> Work:
    """The image, or the parts of one, as a scene acquired when it was last modified.

    Raises StorageError when one is missing.
    """
    parts = tuple(storage.describe(storage.absolute(image)) for image in images)
    etags = [part.etag for part in parts]
    modified = max(part.last_modified for part in parts)
    scene = Scene(
        scene_id=name,
        image_uri=parts[0].uri,
        etag=etags[0] if len(parts) == 1 else sha256(" ".join(etags).encode()).hexdigest(),
        size_bytes=sum(part.size_bytes for part in parts),
        last_modified=modified,
        acquired=modified,
    )
    return Work(scene, key, is_on_demand=True, parts=parts if len(parts) > 1 else ())


def _record_missing(recipe: Recipe, image: str, name: str, folder: str, error: StorageError) -> Failure:
    never = datetime.fromtimestamp(0, UTC)
    scene = Scene(
        scene_id=name,
        image_uri=storage.absolute(image),
        etag="",
        size_bytes=0,
        last_modified=never,
        acquired=never,
    )
    return record_failure(Work(scene, PredictionKey(folder)), error, recipe)
