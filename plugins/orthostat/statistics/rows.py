"""Rows of the tables, from a period's areas and estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from orthostat import __version__
from orthostat.aggregation.table import PeriodTable, ZoneAreas
from orthostat.errors import ConfigurationError
from orthostat.estimation.estimates import Estimate, PopulationEstimates
from orthostat.estimation.period import ZoneEstimate
from orthostat.pipelines.config import Pipeline, Publication, Sample
from orthostat.pipelines.window import FREQUENCY
from orthostat.prediction.classes import LabelClass, select_classes
from orthostat.statistics.codes import AREA, COUNT, MAP_COUNT, STRATIFIED, ZONE, Row
from orthostat.statistics.rules import Published, publish_estimate, publish_map_count

CONF_LEVEL = 0.95


@dataclass(frozen=True)
class Provenance:
    """What a period's figures were made from."""

    inputs_sha256: str
    """Digest of all that decides them."""
    period_state: str
    """`open` or `closed`."""
    scene_count: int
    model_sha256: str
    boundary_version: str
    code_version: str = __version__


def build_rows(
    pipeline: Pipeline,
    period: str,
    table: PeriodTable,
    classes: Sequence[LabelClass],
    estimates: Mapping[str, ZoneEstimate | str],
    provenance: Provenance,
) -> list[Row]:
    """A MAP_COUNT row for every zone and published class, a STRATIFIED one where `estimates` has the zone.

    They are of the indicator COUNT where the table holds objects, else of AREA.
    `estimates` are by zone id; text instead of an estimate is the reason why there is none, and stands in the
    note of a row without a value.
    Raises ConfigurationError when the pipeline publishes a class that the model does not know.
    """
    published = select_classes(pipeline.publication, classes)
    rows = []
    for zone in table.zones:
        for label in published:
            common = {
                "pipeline": pipeline.name,
                "freq": FREQUENCY[pipeline.period],
                "zone_id": zone.zone_id,
                "zone_name": zone.name,
                "class_id": label.class_id,
                "class_name": label.name,
                "period": period,
                "zone_area_m2": zone.zone_area_m2,
                "valid_area_m2": zone.valid_area_m2,
                "coverage": zone.coverage,
                **_mapped(zone, label.class_id, pipeline.publication),
                **asdict(provenance),
            }
            rows.append(common | _count(common, pipeline.publication))
            if zone.zone_id in estimates:
                rows.append(common | _estimate(common, estimates[zone.zone_id], pipeline))
    return rows


def build_accuracy(
    pipeline: Pipeline,
    period: str,
    classes: Sequence[LabelClass],
    estimates: PopulationEstimates,
    inputs_sha256: str,
) -> list[Row]:
    """The accuracy table of a period: overall, then user's and producer's of each class of the model.

    `estimates` are those of all zones together, by class name.
    """
    measures: list[tuple[str, str, Estimate | None]] = [("ALL", "OA", estimates.overall_accuracy)]
    for label in classes:
        found = estimates.classes.get(label.name)
        measures.append((label.name, "UA", found.users_accuracy if found else None))
        measures.append((label.name, "PA", found.producers_accuracy if found else None))
    return [
        {
            "pipeline": pipeline.name,
            "period": period,
            "class_name": class_name,
            "measure": measure,
            "value": accuracy.estimate if accuracy else None,
            "std_err": accuracy.se if accuracy and not accuracy.is_degenerate else None,
            "ci_lower": accuracy.ci_lower if accuracy else None,
            "ci_upper": accuracy.ci_upper if accuracy else None,
            "sample_size": estimates.sample_size,
            "mapped_size": estimates.mapped_size,
            **_sample_columns(_require_sample(pipeline)),
            "inputs_sha256": inputs_sha256,
        }
        for class_name, measure, accuracy in measures
    ]


def _mapped(zone: ZoneAreas, class_id: int, rules: Publication) -> Row:
    """What was mapped; nothing where too little was seen, or a withheld figure could be read from it."""
    is_shown = zone.coverage > 0 and zone.coverage >= rules.min_coverage
    if zone.objects is None:
        area_m2 = zone.classes.get(class_id, 0.0) if is_shown else None
        return {"indicator": AREA, "mapped_area_m2": area_m2, "mapped_count": None}
    count = zone.objects.get(class_id, 0) if is_shown else None
    return {"indicator": COUNT, "mapped_area_m2": None, "mapped_count": count}


def _count(common: Row, rules: Publication) -> Row:
    is_area = common["indicator"] == AREA
    mapped = common["mapped_area_m2"] if is_area else common["mapped_count"]
    published = publish_map_count(mapped, common["coverage"], rules, "pixel" if is_area else "object")
    return {
        "method": MAP_COUNT,
        **_show(published, common["indicator"]),
        **_precision(None),
        **_sampled(None),
        "population": ZONE,
        "sample_id": None,
        "is_simulated": False,
    }


def _estimate(common: Row, estimate: ZoneEstimate | str, pipeline: Pipeline) -> Row:
    sample = _require_sample(pipeline)
    if isinstance(estimate, str):
        published, area, zone = Published(None, "O", estimate), None, None
    else:
        area, zone = estimate.classes[common["class_name"]], estimate
        published = publish_estimate(area, zone, sample, pipeline.publication)
    return {
        "method": STRATIFIED,
        **_show(published, AREA),
        **_precision(area if published.value is not None else None),
        **_sampled(zone),
        "population": ZONE if sample.population == "zone" else sample.frame,
        **_sample_columns(sample),
    }


def _show(published: Published, indicator: str) -> Row:
    return {
        "area_m2": published.value if indicator == AREA else None,
        "object_count": published.value if indicator == COUNT else None,
        "obs_status": published.obs_status,
        "obs_note": published.obs_note,
    }


def _precision(area: Estimate | None) -> Row:
    """Standard error and interval: empty with the figure, or a suppressed one could be read from them.

    A standard error of 0 that only says that the sample shows no variation is empty, too.
    """
    return {
        "std_err_m2": area.se if area and not area.is_degenerate else None,
        "ci_lower_m2": area.ci_lower if area else None,
        "ci_upper_m2": area.ci_upper if area else None,
        "conf_level": CONF_LEVEL if area else None,
        "cv_pct": area.cv_pct if area else None,
    }


def _sampled(zone: ZoneEstimate | None) -> Row:
    return {
        "sample_size": zone.sample_size if zone else None,
        "uninterpreted_size": zone.uninterpreted_size if zone else None,
        "frame_area_m2": zone.area_m2 if zone else None,
    }


def _require_sample(pipeline: Pipeline) -> Sample:
    if pipeline.sample is None:
        raise ConfigurationError(
            f"pipeline '{pipeline.name}' has estimates but no section 'sample'; add it to the pipeline file"
        )
    return pipeline.sample


def _sample_columns(sample: Sample) -> Row:
    return {"sample_id": sample.sample_id, "is_simulated": sample.is_simulated}
