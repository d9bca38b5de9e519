"""The estimate step: each changed period summed up, held against the reference sample, and made to rows."""

from collections.abc import Sequence

import pyarrow as pa

from orthostat.aggregation.boundaries import read_boundaries
from orthostat.estimation.estimate import PeriodEstimate, PeriodTiles, estimate_period
from orthostat.estimation.reference import Reference
from orthostat.pipelines.config import Pipeline
from orthostat.planning.plan import Plan
from orthostat.statistics.check import check_rows
from orthostat.statistics.codes import Row
from orthostat.statistics.result import PeriodResult, write_result
from orthostat.statistics.rows import Provenance, build_accuracy, build_rows
from orthostat.statistics.schema import ACCURACY, LINEAGE, OBSERVATIONS
from orthostat.statistics.tables import digest_tables
from orthostat.steps.work import PeriodWork

_MOST_DOTS = 20_000
"""More objects than this are drawn by their zones alone: dots would cover one another."""


def estimate_run(plan: Plan, periods: Sequence[PeriodWork]) -> str:
    """Compute and store the results of periods; returns a sentence that says how it went.

    Raises IdentityError when areas do not add up, SampleError for a malformed sample.
    """
    reference = Reference(plan.pipeline.sample) if plan.pipeline.sample else None
    said = []
    for period in periods:
        boundaries = read_boundaries(period.boundaries_uri)
        tiles = PeriodTiles(period.period, period.tiles, period.task, period.classes, boundaries)
        estimate = estimate_period(plan.pipeline, tiles, reference)
        tables = make_tables(plan.pipeline, period, estimate)
        write_result(_describe_result(plan, period, estimate, digest_tables(tables)), tables)
        figures = tables[OBSERVATIONS.name].num_rows
        said.append("; ".join([f"{period.period}: {figures} figures", *_describe(estimate)]))
    return "; ".join(said)


def make_tables(pipeline: Pipeline, period: PeriodWork, estimate: PeriodEstimate) -> dict[str, pa.Table]:
    """The tables of a period, by the pipeline's rules of publication. Raises ReleaseError for a wrong row."""
    inputs = period.inputs
    provenance = Provenance(
        inputs_sha256=inputs.sha256,
        period_state=inputs.period_state,
        scene_count=len(period.scenes),
        model_sha256=inputs.model,
        boundary_version=inputs.boundary_version,
    )
    rows = build_rows(pipeline, period.period, estimate.table, period.classes, estimate.estimates, provenance)
    accuracy: list[Row] = []
    if estimate.accuracy is not None:
        accuracy = build_accuracy(pipeline, period.period, period.classes, estimate.accuracy, inputs.sha256)
    lineage = [
        {"period": period.period, **scene.model_dump(), "inputs_sha256": inputs.sha256}
        for scene in period.scenes
    ]
    return {
        OBSERVATIONS.name: check_rows(rows, OBSERVATIONS),
        ACCURACY.name: check_rows(accuracy, ACCURACY),
        LINEAGE.name: check_rows(lineage, LINEAGE),
    }


def _describe_result(
    plan: Plan, period: PeriodWork, estimate: PeriodEstimate, figures_sha256: str
) -> PeriodResult:
    objects = estimate.table.objects
    is_drawn = objects is None or sum(objects.kept.values()) <= _MOST_DOTS
    tiles = period.tiles if is_drawn else ()
    dots = tuple(task.objects_uri for task in tiles if task.objects_uri is not None)
    return PeriodResult(
        period=period.period,
        inputs=period.inputs,
        uri=plan.layout.result(period.period, period.inputs.sha256),
        figures_sha256=figures_sha256,
        boundaries_uri=period.boundaries_uri,
        tile_uris=tuple(task.tile_uri for task in tiles),
        objects_uris=None if objects is None else dots,
        classes=period.classes,
    )


def _describe(estimate: PeriodEstimate) -> list[str]:
    table = estimate.table
    coverages = sorted(zone.coverage for zone in table.zones)
    said = [f"coverage {coverages[0]:.1%} to {coverages[-1]:.1%} of {len(coverages)} zones"]
    if table.objects is not None:
        kept, outside = sum(table.objects.kept.values()), sum(table.objects.outside.values())
        said.insert(0, f"{kept} objects, {outside} of them in no zone")
    return [*said, *estimate.remarks]
