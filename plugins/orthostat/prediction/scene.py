"""Predicting one scene: the model's process makes local files of it, and these are stored and committed."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path

from orthostat import __version__, storage
from orthostat.errors import ConfigurationError, LimitError, OrthostatError, SceneError
from orthostat.layout import PredictionKey
from orthostat.pipelines.limits import Limits
from orthostat.planning.manifest import Recipe
from orthostat.prediction.facts import Facts
from orthostat.prediction.failure import Failure
from orthostat.prediction.item import File, Prediction
from orthostat.prediction.options import resolve_options
from orthostat.prediction.process import ModelProcess
from orthostat.prediction.stac import media_type, read_since, to_stac
from orthostat.scenes.scene import Scene
from orthostat.storage import StoredObject

_GEOJSON = "application/geo+json"
_LONGEST_REASON = 4000
PRODUCTS = (
    *("labels.tif", "observed.tif", "scores.tif", "preview.png"),
    *("cells.parquet", "detections.parquet", "polygons.parquet"),
)
"""Every file that a prediction may have."""


def refuse_inputs_as_outputs(inputs: Sequence[str], key: PredictionKey) -> None:
    """Raises ConfigurationError when a file of the prediction would be written over what is read."""
    for name, uri in product((*PRODUCTS, "item.json", "failure.json"), inputs):
        if storage.is_same(key.file(name), uri):
            raise ConfigurationError(
                f"{key.file(name)} is an input, and would be replaced; give another output"
            )


@dataclass(frozen=True)
class Work:
    """One scene to predict, and where its prediction goes."""

    scene: Scene
    key: PredictionKey
    is_on_demand: bool = False
    """Outside any pipeline: dated by the file's TIFFTAG_DATETIME where it has one, and it may lie nowhere."""
    generation: str | None = None
    """The re-prediction that it belongs to; None where nothing was predicted before."""
    parts: tuple[StoredObject, ...] = ()
    """The files of a scene that has several; later ones lie on top."""


def download_image(work: Work, path: Path, fill: float | None, limits: Limits) -> Path:
    """Bring the scene's image to `path`, or its parts beside it with a mosaic of them; returns what to open.

    Raises StorageError when a file cannot be read or has been replaced, SceneError when parts do not fit,
    LimitError when they are too large.
    """
    size_mb = work.scene.size_bytes / 1e6
    limits.require("image_mb", size_mb, f"the megabytes of {work.scene.image_uri} are", "cut it into scenes")
    if not work.parts:
        storage.download(work.scene.image_uri, path, work.scene.etag)
        return path
    # rasterio is half a second that most do not need
    from orthostat.prediction.formats import MOSAIC_SUFFIX
    from orthostat.prediction.mosaic import write_mosaic

    files = {}
    for number, part in enumerate(work.parts):
        files[part.uri] = path.with_name(f"{path.name}.{number}")
        storage.download(part.uri, files[part.uri], part.etag)
    mosaic = path.with_name(path.name + MOSAIC_SUFFIX)
    write_mosaic(files, mosaic, fill)
    return mosaic


def compute_scene(
    process: ModelProcess,
    recipe: Recipe,
    work: Work,
    path: Path,
    folder: Path,
    report: Callable[[float], None] = lambda share: None,
) -> Facts:
    """The first half of it: local files alone; `report` gets the share that is done.

    Raises SceneError, LimitError, ModelError and MachineError.
    """
    folder.mkdir()
    facts = process.predict(path, work.scene.image_uri, recipe.fill, folder, report)
    if facts.crs is None and not work.is_on_demand:
        raise SceneError(
            f"{work.scene.image_uri} is not georeferenced (no coordinate system or transform); "
            "write both into the file, e.g. with gdal_edit -a_srs -a_ullr, or predict it on demand"
        )
    return facts


def commit_scene(process: ModelProcess, recipe: Recipe, work: Work, facts: Facts, folder: Path) -> Prediction:
    """The second half: store the files, then the Item. `folder` is gone afterwards. Raises StorageError.

    Another run that predicts again, and was planned later, may have been faster: its Item is left, and
    returned.
    """
    try:
        later = None if work.generation is None else read_since(work.key.item, work.generation)
        if later is not None:
            return later
        files = {}
        for name in facts.files:
            path = folder / name
            storage.upload(path, work.key.file(name), media_type(name))
            files[name] = File(work.key.file(name), storage.file_sha256(path))
        prediction = _describe(process, recipe, work, facts, files)
        storage.write_bytes(work.key.item, storage.dump_json(to_stac(prediction)), _GEOJSON)
        storage.delete(work.key.failure)
        if work.is_on_demand:  # what another model or other options left in the same place
            for name in set(PRODUCTS) - set(files):
                storage.delete(work.key.file(name))
        return prediction
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def record_failure(work: Work, error: OrthostatError, recipe: Recipe) -> Failure:
    """Store why a scene has no prediction. A prediction that stands there from before is left alone."""
    scene = work.scene
    failure = Failure(
        scene_id=scene.scene_id,
        image_uri=scene.image_uri,
        etag=scene.etag,
        kind=error.cause,
        reason=str(error)[:_LONGEST_REASON],
        limit=error.limit if isinstance(error, LimitError) else None,
        allowed=error.allowed if isinstance(error, LimitError) else None,
        room=recipe.room if isinstance(error, LimitError) and error.limit == "memory_mb" else None,
        generation=work.generation,
    )
    storage.write_json(work.key.failure, failure.model_dump(mode="json"))
    return failure


def _describe(
    process: ModelProcess, recipe: Recipe, work: Work, facts: Facts, files: dict[str, File]
) -> Prediction:
    scene, model = work.scene, process.model
    assert model is not None, "the process has predicted, so it has told what its model is"
    dated = datetime.fromisoformat(facts.acquired) if work.is_on_demand and facts.acquired else None
    options = resolve_options(model, recipe.options, recipe.bundle)
    return Prediction(
        scene_id=scene.scene_id,
        task=model.task,
        files=files,
        acquired=dated or scene.acquired,
        crs=facts.crs,
        shape=facts.shape,
        transform=facts.transform,
        classes=model.classes,
        histogram=facts.histogram,
        counts=facts.counts,
        nonfinite_pixels=facts.nonfinite_pixels,
        valid_fraction=facts.valid_fraction,
        value_ranges=facts.value_ranges,
        bands=facts.bands,
        mean_score=facts.mean_score,
        platform=scene.platform,
        model_uri=storage.absolute(recipe.bundle),
        model_sha256=process.sha256,
        network=model.network,
        channels=model.channels,
        image_size=model.image_size,
        engine=process.engine,
        device=process.device,
        options=options.told(model.task) | recipe.told(),
        generation=work.generation,
        source_uri=scene.image_uri,
        source_etag=scene.etag,
        source_last_modified=scene.last_modified,
        source_crs=facts.source_crs,
        source_shape=facts.source_shape,
        code_version=__version__,
        software=process.software,
        cloud_cover_pct=scene.cloud_cover_pct,
        source_parts=tuple(part.uri for part in work.parts),
    )
