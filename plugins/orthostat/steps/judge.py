"""The judge step: verdicts, then the periods whose inputs changed, with the work of composing them."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from rasterio.warp import transform_bounds

from orthostat import __version__, settings, storage
from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.aggregation.scene_files import DETECTIONS
from orthostat.aggregation.work import OBJECTS, plan_work
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import ConfigurationError
from orthostat.judgement.judge import Judged, count_verdicts, judge_period
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.window import period_window
from orthostat.planning.manifest import write_manifest
from orthostat.planning.plan import Plan, pipeline_ledger
from orthostat.prediction.item import Prediction
from orthostat.scenes.archive import list_scenes
from orthostat.statistics.vintages import ReleasedPeriod, current_periods


class PeriodWork(BaseModel):
    """A period whose figures are to be computed anew."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: str
    inputs_sha256: str
    item_uris: tuple[str, ...]
    """Items of all used predictions."""
    work_uris: tuple[str, ...]
    """Manifests of the compose and tabulate pods."""


class RunWork(BaseModel):
    """What a run has to compute after judging."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    periods: tuple[PeriodWork, ...]


def judge_run(plan: Plan) -> tuple[RunWork, str]:
    """Judge every period that the run's window touches and plan the changed ones; also says so in a sentence.

    A period is computed when its inputs are not those of the current release: also after a run that ended
    before its release, and whichever run predicted the scenes. It is held back while scenes that its released
    figures rest on still lack a prediction by the present model and options.
    """
    pipeline = plan.pipeline
    zones = read_pipeline_zones(pipeline.zones)
    released = current_periods(settings.database_url(), pipeline.name)
    periods, everything, remarks = [], [], []
    for period in plan.periods:
        judged, inputs_sha256 = collect_inputs(pipeline, period, zones)
        everything += judged
        used = select_used(judged)
        before = released.get(period)
        if before is not None and before.inputs_sha256 == inputs_sha256:
            continue
        lacking = _find_lacking(pipeline, period, before)
        if lacking:
            window = period_window(period, pipeline.period)
            remarks.append(
                f"{period} is held back: {len(lacking)} scene(s) of its released figures have no prediction "
                f"by the present model and options ({', '.join(lacking[:3])}); run {window} by hand"
            )
        elif used:
            periods.append(plan_period(plan, period, inputs_sha256, used, zones))
        elif before is not None:
            remarks.append(f"{period}: no prediction may be used, the released figures stand")
    work = RunWork(periods=tuple(periods))
    write_manifest(plan.layout.run(plan.run_id, "judgement.json"), work)
    changed = ", ".join(entry.period for entry in periods) or "none"
    return work, "; ".join([count_verdicts(everything), f"periods to compute: {changed}", *remarks])


def collect_inputs(pipeline: Pipeline, period: str, zones: ZoneSet) -> tuple[list[Judged], str]:
    """The judged predictions of a period as they are now, and the digest of all that decides its figures."""
    scenes = list_scenes(pipeline.scenes, period_window(period, pipeline.period)).scenes
    judged = judge_period(pipeline, period, scenes, degrees(zones))
    return judged, digest_inputs(pipeline, select_used(judged), zones)


def _find_lacking(pipeline: Pipeline, period: str, before: ReleasedPeriod | None) -> list[str]:
    if before is None:
        return []
    window = period_window(period, pipeline.period)
    ledger = pipeline_ledger(pipeline, window)
    return [
        scene.scene_id
        for scene in list_scenes(pipeline.scenes, window).scenes
        if scene.scene_id in before.scene_ids
        and not ledger.is_committed(scene)
        and not ledger.has_failed(scene)
    ]


def read_run_work(plan: Plan) -> RunWork:
    """What the judge step decided. Raises StorageError when it did not run."""
    return RunWork.model_validate(storage.read_json(plan.layout.run(plan.run_id, "judgement.json")))


def select_used(judged: Sequence[Judged]) -> list[Judged]:
    """The predictions that may be composed."""
    return [one for one in judged if one.verdict.decision != "refused"]


def digest_inputs(pipeline: Pipeline, used: Sequence[Judged], zones: ZoneSet) -> str:
    """Digest of all that decides a period's figures: labels, grid, rule, zones, sample, rules, code.

    Raises ConfigurationError where a sample, which estimates areas, stands behind objects.
    """
    rules = {"zones", "grid", "period", "rule", "sample", "publication"}
    if any(one.prediction.task == OBJECTS for one in used):
        rules.add("merge_threshold")
        if pipeline.sample is not None:
            raise ConfigurationError(
                f"pipeline '{pipeline.name}' has a reference sample, which estimates areas, and a model that "
                "detects objects; remove 'sample' from the pipeline file: objects are counted, not estimated"
            )
    sample = [pipeline.sample.uri, pipeline.sample.strata_uri] if pipeline.sample else []
    return storage.digest(
        {
            "labels": {
                one.item_uri.removeprefix(pipeline.output): _digest_files(one.prediction) for one in used
            },
            "zones": zones.digest(),
            "code": __version__,
            "sample": {uri: storage.describe(uri).etag for uri in sample},
            "pipeline": pipeline.model_dump(mode="json", include=rules),
        }
    )


def _digest_files(prediction: Prediction) -> str | list[str]:
    """Digests of the files that the figures are made of."""
    if prediction.task != OBJECTS:
        return prediction.labels.sha256
    return [prediction.labels.sha256, prediction.files[DETECTIONS].sha256]


def plan_period(
    plan: Plan, period: str, inputs_sha256: str, used: Sequence[Judged], zones: ZoneSet
) -> PeriodWork:
    """Write the manifests of one period's pods."""
    pairs = [(one.item_uri, one.prediction) for one in used]
    uris = []
    for work in plan_work(plan.pipeline, period, inputs_sha256, pairs, zones):
        uris.append(plan.layout.work(plan.run_id, period, work.number))
        write_manifest(uris[-1], work)
    return PeriodWork(
        period=period,
        inputs_sha256=inputs_sha256,
        item_uris=tuple(one.item_uri for one in used),
        work_uris=tuple(uris),
    )


def degrees(zones: ZoneSet) -> tuple[float, float, float, float]:
    """West, south, east and north of all zones in EPSG:4326."""
    west, south, east, north = transform_bounds(zones.crs, "EPSG:4326", *zones.to_frame().total_bounds)
    return west, south, east, north
