"""The estimate of a period: its tabulations summed up and checked, and held against the reference sample."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.aggregation.boundaries import Boundaries
from orthostat.aggregation.identities import check_identities
from orthostat.aggregation.keys import TileTask
from orthostat.aggregation.table import PeriodTable, read_table
from orthostat.aggregation.values import OBJECTS
from orthostat.errors import SampleError
from orthostat.estimation.estimates import PopulationEstimates
from orthostat.estimation.frame import check_frame, check_parts, check_places, find_misfits, find_parts
from orthostat.estimation.map_classes import read_map_classes
from orthostat.estimation.period import ZoneEstimate, estimate_accuracy, estimate_zone
from orthostat.estimation.reference import Reference
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.description import Task

ESTIMATE_VERSION = 2
"""Rises when equal tabulations and an equal sample give other estimates."""


class PeriodEstimate(BaseModel):
    """What is known of a period before anybody asks whether it may be published."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    table: PeriodTable
    estimates: dict[str, ZoneEstimate | str]
    """By zone id; text is the reason why there is none. Empty without a sample."""
    accuracy: PopulationEstimates | None
    """Of all zones together; None without a sample, or where none of its strata fits."""
    remarks: tuple[str, ...]
    """What a person should know of it."""


@dataclass(frozen=True)
class PeriodTiles:
    """The composite of a period, tabulated."""

    period: str
    tasks: Sequence[TileTask]
    task: Task
    """What the model does."""
    classes: tuple[LabelClass, ...]
    """The model's."""
    boundaries: Boundaries


def estimate_period(pipeline: Pipeline, tiles: PeriodTiles, reference: Reference | None) -> PeriodEstimate:
    """The estimate of a period: read where it was made before, else made and stored.

    Raises IdentityError when areas do not add up, SampleError for a malformed sample. A zone whose sample is
    too small keeps its pixel count; its estimate is refused with the number of units that is needed.
    """
    uri = Layout(pipeline.output).estimate(tiles.period, _key(pipeline, tiles, reference))
    if storage.exists(uri):
        return PeriodEstimate.model_validate_json(storage.read_bytes(uri))
    table = read_table(tiles.tasks, tiles.boundaries, pipeline.grid, counts_objects=tiles.task == OBJECTS)
    check_identities(table)
    if reference is None:
        estimate = PeriodEstimate(table=table, estimates={}, accuracy=None, remarks=())
    else:
        estimate = _estimate(pipeline, tiles, reference, table)
    storage.write_bytes(uri, estimate.model_dump_json(indent=2).encode(), "application/json")
    return estimate


def _key(pipeline: Pipeline, tiles: PeriodTiles, reference: Reference | None) -> str:
    return storage.digest(
        {
            "version": ESTIMATE_VERSION,
            "tiles": [[task.tile_uri, task.tabulation_uri] for task in tiles.tasks],
            "zones": [tiles.boundaries.digest(), tiles.boundaries.drawn.names],
            "classes": [vars(label) for label in tiles.classes],
            "sample": reference.digest(tiles.period) if reference else None,
            "min_sample_size": pipeline.publication.min_sample_size,
        }
    )


def _estimate(
    pipeline: Pipeline, tiles: PeriodTiles, reference: Reference, table: PeriodTable
) -> PeriodEstimate:
    period, zones, sample = tiles.period, tiles.boundaries.drawn, reference.sample
    units, strata = reference.units(period), reference.strata(period)
    if not units or not strata:
        reason = f"sample {sample.sample_id} has no units in {period}"
        refused: dict[str, ZoneEstimate | str] = dict.fromkeys(zones.ids, reason)
        return PeriodEstimate(table=table, estimates=refused, accuracy=None, remarks=(reason,))
    check_parts(strata, zones)
    check_places(units, zones, sample.crs, pipeline.grid.resolution_m)
    names = {label.class_id: label.name for label in tiles.classes}
    uris = {task.tile: task.tile_uri for task in tiles.tasks}
    map_classes = read_map_classes(units, uris, pipeline.grid, names, sample.crs)
    zone_m2 = {zone.zone_id: zone.zone_area_m2 for zone in table.zones}
    misfits = find_misfits(strata, zone_m2, sample)
    sampled = {stratum.zone_id for stratum in strata}
    least = pipeline.publication.min_sample_size
    estimates: dict[str, ZoneEstimate | str] = {}
    for zone_id in zones.ids:
        try:
            parts = find_parts(zone_id, zones, sampled, is_whole=sample.population == "zone")
            for part in sorted(parts & misfits.keys()):
                raise misfits[part]
            estimate = estimate_zone(
                units, map_classes, strata, period, zone_id, least, list(names.values()), parts
            )
            check_frame(zone_id, estimate.area_m2, zone_m2[zone_id], sample)
            estimates[zone_id] = estimate
        except SampleError as error:
            estimates[zone_id] = str(error)
    fitting = sampled - misfits.keys()
    return PeriodEstimate(
        table=table,
        estimates=estimates,
        accuracy=estimate_accuracy(units, map_classes, strata, period, zone_ids=fitting) if fitting else None,
        remarks=tuple(f"no estimate: {reason}" for reason in estimates.values() if isinstance(reason, str)),
    )
