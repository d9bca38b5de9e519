"""The estimate step: each changed period summed up, checked, and held against the reference sample."""

from dataclasses import dataclass
from functools import cached_property

from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.aggregation.identities import check_identities
from orthostat.aggregation.table import PeriodTable, read_table
from orthostat.aggregation.work import TileWork, check_classes, objects_uri, read_work, tile_uri
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import SampleError
from orthostat.estimation.frame import check_frame, check_parts, check_places, find_misfits, find_parts
from orthostat.estimation.map_classes import read_map_classes
from orthostat.estimation.period import ZoneEstimate, estimate_accuracy, estimate_zone
from orthostat.estimation.sample import SampleStratum, SampleUnit, read_sample, read_strata
from orthostat.pipelines.config import Pipeline, Sample
from orthostat.planning.plan import Plan
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.item import Prediction
from orthostat.prediction.stac import read_predictions
from orthostat.statistics.result import PeriodResult, write_result
from orthostat.statistics.rows import Provenance, build_accuracy, build_rows
from orthostat.statistics.schema import Row
from orthostat.steps.judge import PeriodWork, read_run_work

_MOST_DOTS = 20_000
"""More objects than this are drawn by their zones alone: dots would cover one another."""


@dataclass(frozen=True)
class Reference:
    """A pipeline's reference sample, read once."""

    sample: Sample

    @cached_property
    def units(self) -> list[SampleUnit]:
        """Units of all periods."""
        return read_sample(self.sample)

    @cached_property
    def strata(self) -> list[SampleStratum]:
        """Strata of all periods."""
        return read_strata(self.sample)


def estimate_run(plan: Plan) -> str:
    """Compute and store the result of every changed period; returns a sentence that says how it went.

    Raises IdentityError when areas do not add up, SampleError for a malformed sample. A zone whose sample is
    too small keeps its pixel count; its estimate is refused with the number of units that is needed.
    """
    zones = read_pipeline_zones(plan.pipeline.zones)
    reference = Reference(plan.pipeline.sample) if plan.pipeline.sample else None
    said = []
    for period in read_run_work(plan).periods:
        result, remarks = estimate_period(plan.pipeline, period, zones, reference)
        write_result(result_uri(plan, period), result)
        said.append("; ".join([f"{period.period}: {len(result.rows)} figures", *remarks]))
    return "; ".join(said) or "no period changed"


def result_uri(plan: Plan, period: PeriodWork) -> str:
    """Where the result of a period lies."""
    return plan.layout.period(period.period, period.inputs_sha256, "result.json")


def estimate_period(
    pipeline: Pipeline, period: PeriodWork, zones: ZoneSet, reference: Reference | None
) -> tuple[PeriodResult, list[str]]:
    """The result of one period, and what a person should know of it."""
    works = [read_work(uri) for uri in period.work_uris]
    predictions = read_predictions(period.item_uris)
    check_classes(predictions)
    table = read_table(works, zones, pipeline.grid, predictions[0].task)
    check_identities(table)
    classes = predictions[0].classes
    estimates: dict[str, ZoneEstimate | str] = {}
    accuracy: list[Row] = []
    remarks: list[str] = []
    if reference is not None:
        estimates, accuracy, remarks = _estimate(pipeline, period, reference, works, zones, table, classes)
    rows = build_rows(
        pipeline,
        period.period,
        table,
        classes,
        estimates,
        _provenance(pipeline, period),
    )
    tiles = [(work, tile) for work in works for tile in work.tiles]
    objects = None
    if table.objects is not None:
        is_drawn = sum(table.objects.kept.values()) <= _MOST_DOTS
        tiles = tiles if is_drawn else []
        objects = tuple(objects_uri(work, tile) for work, tile in tiles)
    result = PeriodResult(
        period=period.period,
        inputs_sha256=period.inputs_sha256,
        rows=tuple(rows),
        accuracy=tuple(accuracy),
        lineage=tuple(_lineage(period, uri, p) for uri, p in zip(period.item_uris, predictions, strict=True)),
        tile_uris=tuple(tile_uri(work, tile) for work, tile in tiles),
        objects_uris=objects,
        classes=classes,
    )
    return result, [*_describe_objects(table), *_describe_coverage(table), *remarks]


def _estimate(
    pipeline: Pipeline,
    period: PeriodWork,
    reference: Reference,
    works: list[TileWork],
    zones: ZoneSet,
    table: PeriodTable,
    classes: tuple[LabelClass, ...],
) -> tuple[dict[str, ZoneEstimate | str], list[Row], list[str]]:
    units = [unit for unit in reference.units if unit.period == period.period]
    strata = [stratum for stratum in reference.strata if stratum.period == period.period]
    sample = reference.sample
    if not units or not strata:
        reason = f"sample {sample.sample_id} has no units in {period.period}"
        return dict.fromkeys(zones.ids, reason), [], [reason]
    check_parts(strata, zones)
    check_places(units, zones, sample.crs, pipeline.grid.resolution_m)
    tiles = {tile: tile_uri(work, tile) for work in works for tile in work.tiles}
    names = {label.class_id: label.name for label in classes}
    map_classes = read_map_classes(units, tiles, pipeline.grid, names, sample.crs)
    zone_m2 = {zone.zone_id: zone.zone_area_m2 for zone in table.zones}
    misfits = find_misfits(strata, zone_m2, sample)
    sampled = {stratum.zone_id for stratum in strata}
    estimates: dict[str, ZoneEstimate | str] = {}
    remarks: list[str] = []
    for zone_id in zones.ids:
        try:
            parts = find_parts(zone_id, zones, sampled, is_whole=sample.population == "zone")
            for part in sorted(parts & misfits.keys()):
                raise misfits[part]
            least = pipeline.publication.min_sample_size
            of_model = list(names.values())
            estimate = estimate_zone(
                units, map_classes, strata, period.period, zone_id, least, of_model, parts
            )
            check_frame(zone_id, estimate.area_m2, zone_m2[zone_id], sample)
            estimates[zone_id] = estimate
        except SampleError as error:
            estimates[zone_id] = str(error)
            remarks.append(f"no estimate: {error}")
    fitting = sampled - misfits.keys()
    if not fitting:
        return estimates, [], remarks
    accuracies = estimate_accuracy(units, map_classes, strata, period.period, zone_ids=fitting)
    accuracy = build_accuracy(pipeline, period.period, classes, accuracies, period.inputs_sha256)
    return estimates, accuracy, remarks


def _provenance(pipeline: Pipeline, period: PeriodWork) -> Provenance:
    return Provenance(
        inputs_sha256=period.inputs_sha256,
        scene_count=len(period.item_uris),
        model_sha256=pipeline.model.sha256,
        boundary_version=pipeline.zones.version,
    )


def _lineage(period: PeriodWork, item_uri: str, prediction: Prediction) -> Row:
    return {
        "period": period.period,
        "scene_id": prediction.scene_id,
        "item_uri": item_uri,
        "image_uri": prediction.source_uri,
        "image_etag": prediction.source_etag,
        "inputs_sha256": period.inputs_sha256,
    }


def _describe_objects(table: PeriodTable) -> list[str]:
    if table.objects is None:
        return []
    kept, outside = sum(table.objects.kept.values()), sum(table.objects.outside.values())
    return [f"{kept} objects, {outside} of them in no zone"]


def _describe_coverage(table: PeriodTable) -> list[str]:
    coverages = sorted(zone.coverage for zone in table.zones)
    return [f"coverage {coverages[0]:.1%} to {coverages[-1]:.1%} of {len(coverages)} zones"]
