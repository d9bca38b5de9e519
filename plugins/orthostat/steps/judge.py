"""The judge step: verdicts, then the periods whose inputs changed, with the work of composing them."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from rasterio.warp import transform_bounds

from orthostat import settings, storage
from orthostat.aggregation.work import plan_work
from orthostat.aggregation.zones import ZoneSet, read_pipeline_zones
from orthostat.judgement.judge import Judged, count_verdicts, judge_period
from orthostat.pipelines.config import Pipeline
from orthostat.planning.manifest import write_manifest
from orthostat.planning.plan import Plan
from orthostat.statistics.vintages import current_inputs


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
    before its release, and whichever run predicted the scenes.
    """
    pipeline = plan.pipeline
    zones = read_pipeline_zones(pipeline.zones)
    known = current_inputs(settings.database_url(), pipeline.name)
    periods, everything = [], []
    for period in plan.periods:
        judged = judge_period(pipeline, period, degrees(zones))
        everything += judged
        used = select_used(judged)
        inputs_sha256 = digest_inputs(pipeline, used, zones)
        if used and known.get(period) != inputs_sha256:
            periods.append(plan_period(plan, period, inputs_sha256, used, zones))
    work = RunWork(periods=tuple(periods))
    write_manifest(plan.layout.run(plan.run_id, "judgement.json"), work)
    changed = ", ".join(entry.period for entry in periods) or "none"
    return work, f"{count_verdicts(everything)}; periods to compute: {changed}"


def read_run_work(plan: Plan) -> RunWork:
    """What the judge step decided. Raises StorageError when it did not run."""
    return RunWork.model_validate(storage.read_json(plan.layout.run(plan.run_id, "judgement.json")))


def has_inputs(pipeline: Pipeline, period: str, inputs_sha256: str, zones: ZoneSet) -> bool:
    """Whether a period's inputs are still those; another run may have committed scenes since."""
    used = select_used(judge_period(pipeline, period, degrees(zones)))
    return digest_inputs(pipeline, used, zones) == inputs_sha256


def select_used(judged: Sequence[Judged]) -> list[Judged]:
    """The predictions that may be composed."""
    return [one for one in judged if one.verdict.decision != "refused"]


def digest_inputs(pipeline: Pipeline, used: Sequence[Judged], zones: ZoneSet) -> str:
    """Digest of all that decides a period's figures: predictions, grid, rule, zones, sample, rules."""
    sample = [pipeline.sample.uri, pipeline.sample.strata_uri] if pipeline.sample else []
    return storage.digest(
        {
            "labels": {
                one.item_uri.removeprefix(pipeline.output): one.prediction.labels_sha256 for one in used
            },
            "zones": zones.digest(),
            "sample": {uri: storage.describe(uri).etag for uri in sample},
            "pipeline": pipeline.model_dump(
                mode="json", include={"zones", "grid", "period", "rule", "sample", "publication"}
            ),
        }
    )


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
