"""What decides the figures of a period, collected from the pipeline, its zones, its sample and its scenes."""

from collections.abc import Sequence

from orthostat import storage
from orthostat.aggregation.boundaries import Boundaries
from orthostat.aggregation.keys import COMPOSE_VERSION, TABULATE_VERSION, footing, rank
from orthostat.estimation.estimate import ESTIMATE_VERSION
from orthostat.estimation.reference import Reference
from orthostat.pipelines.config import Pipeline
from orthostat.planning.recipe import options_sha256, pipeline_recipe
from orthostat.prediction.item import Prediction
from orthostat.statistics.inputs import PUBLISH_VERSION, Inputs

_STEPS = {
    "compose": COMPOSE_VERSION,
    "tabulate": TABULATE_VERSION,
    "estimate": ESTIMATE_VERSION,
    "publish": PUBLISH_VERSION,
}


def collect_inputs(
    pipeline: Pipeline,
    period: str,
    boundaries: Boundaries,
    reference: Reference | None,
    used: Sequence[Prediction] = (),
    *,
    is_open: bool = False,
) -> Inputs:
    """The inputs of a period as they are now. Raises BundleError, SampleError, StorageError."""
    names = {"grid", "rule", "merge_threshold", "publication"}
    rules = pipeline.model_dump(mode="json", include=names)
    return Inputs(
        scenes=storage.digest(sorted([*rank(pipeline.rule, one), one.source_etag] for one in used)),
        labels=storage.digest(sorted(footing(pipeline.rule, one) for one in used)),
        model=pipeline.model.sha256,
        options=options_sha256(pipeline_recipe(pipeline)),
        boundaries=boundaries.digest(),
        boundary_version=pipeline.zones.version,
        zone_names=storage.digest(boundaries.drawn.names),
        grid=storage.digest(rules["grid"]),
        rule=rules["rule"],
        merge_threshold=rules["merge_threshold"],
        sample=reference.digest(period) if reference else None,
        publication=storage.digest(rules["publication"]),
        period_state="open" if is_open else "closed",
        steps=", ".join(f"{name} {version}" for name, version in _STEPS.items()),
    )
