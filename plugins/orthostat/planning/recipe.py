"""A pipeline's recipe: with the engine decided, so that every later step means the same predictions."""

from pydantic import ValidationError

from orthostat import settings, storage
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.resources import amount
from orthostat.planning.manifest import Recipe
from orthostat.prediction.classes import select_classes
from orthostat.prediction.description import Description, describe_bundle
from orthostat.prediction.engines.choice import EngineName, choose_engine
from orthostat.prediction.fetch import fetch_bundle
from orthostat.prediction.options import resolve_options
from orthostat.scratch import scratch_folder


def pipeline_recipe(pipeline: Pipeline) -> Recipe:
    """How the pipeline predicts, as it is now. Raises BundleError when no engine can run its bundle."""
    model = pipeline.model
    wanted = settings.engine() if model.engine == "auto" else model.engine
    engine: EngineName = decide_engine(pipeline) if wanted == "auto" else wanted
    return Recipe(
        bundle=model.bundle,
        sha256=model.sha256,
        engine=engine,
        options=model.options(),
        fill=pipeline.scenes.fill,
        limits=pipeline.model_limits,
        scratch_mb=amount(pipeline.resources.scratch) / 1e6 if pipeline.runner == "kubernetes" else None,
    )


def options_sha256(recipe: Recipe) -> str:
    """Digest of everything besides model and image that decides the labels; part of a prediction's key."""
    return storage.digest(recipe.decisions)


def decide_engine(pipeline: Pipeline) -> EngineName:
    """What `auto` means for the pipeline's bundle. Raises BundleError when no engine can run it."""
    model = pipeline.model
    description = describe_model(pipeline)
    options = resolve_options(description, model.options(), model.bundle)
    return choose_engine("auto", description, options, model.bundle)


def require_classes(pipeline: Pipeline) -> None:
    """Raises ConfigurationError when a class is to be published that the model does not know."""
    if pipeline.publication.classes is not None:
        select_classes(pipeline.publication, describe_model(pipeline).classes)


def describe_model(pipeline: Pipeline) -> Description:
    """What the bundle says of itself, kept below the output: no need to fetch it each night."""
    model = pipeline.model
    kept = Layout(pipeline.output).description(model.sha256)
    if storage.exists(kept):
        try:
            return Description.model_validate(storage.read_json(kept))
        except ValidationError:
            pass  # another version of Orthostat wrote it
    with scratch_folder() as folder:
        description = describe_bundle(fetch_bundle(model.bundle, model.sha256, folder))
    storage.write_json(kept, description.model_dump(mode="json"))
    return description
