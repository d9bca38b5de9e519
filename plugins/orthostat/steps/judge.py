"""The judge step: verdicts, then the periods whose inputs changed, with the work of composing them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from orthostat import settings
from orthostat.aggregation.boundaries import Boundaries, store_boundaries
from orthostat.aggregation.keys import list_tiles
from orthostat.aggregation.values import OBJECTS
from orthostat.aggregation.work import TileWork, plan_work, share_work
from orthostat.errors import ConfigurationError
from orthostat.estimation.reference import Reference
from orthostat.judgement.judge import Circumstances, Judged, count_verdicts, judge_period
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.window import Window, is_period, period_of, period_window
from orthostat.planning.manifest import write_manifest
from orthostat.planning.plan import Plan, pipeline_ledger
from orthostat.planning.recipe import describe_model
from orthostat.prediction.card import ModelCard, read_card
from orthostat.scenes.archive import Listing, list_scenes
from orthostat.scenes.ledger import Ledger
from orthostat.scenes.scene import Scene
from orthostat.scenes.withdrawals import read_withdrawals
from orthostat.statistics.inputs import Inputs
from orthostat.statistics.vintages import ReleasedPeriod, current_periods
from orthostat.steps.inputs import collect_inputs
from orthostat.steps.work import Judgement, PeriodWork, RunWork, UsedScene


@dataclass(frozen=True)
class _Bench:
    """What judging needs of all periods alike."""

    plan: Plan
    boundaries_uri: str
    boundaries: Boundaries
    reference: Reference | None
    card: ModelCard | None
    archive: Listing
    withdrawn: Mapping[str, str]
    released: Mapping[str, ReleasedPeriod]


def judge_run(plan: Plan) -> tuple[RunWork, str]:
    """Judge every period that the run's window touches and plan the changed ones; also says so in a sentence.

    A period is computed when its inputs are not those of the current release: also after a run that ended
    before its release, and whichever run predicted the scenes. An open period waits, unless the pipeline
    releases those, too. Raises ConfigurationError when zones have changed under the name of their version.
    """
    bench = _prepare(plan)
    works: list[TileWork] = []
    periods, everything, remarks = [], [], []
    for period in _affected_periods(bench):
        judged, changed, remark = _judge(bench, period, works)
        everything += judged
        remarks += [f"{period} {remark}"] if remark else []
        periods += [changed] if changed else []
    uris = []
    for number, share in enumerate(share_work(works, plan.pipeline.max_pods)):
        uris.append(plan.layout.work(plan.run_id, number))
        write_manifest(uris[-1], share)
    work = RunWork(periods=tuple(periods), work_uris=tuple(uris))
    write_manifest(plan.layout.run(plan.run_id, "judgement.json"), work)
    named = ", ".join(entry.period for entry in periods) or "none"
    return work, "; ".join([count_verdicts(everything), f"periods to compute: {named}", *remarks])


def _prepare(plan: Plan) -> _Bench:
    pipeline = plan.pipeline
    boundaries_uri, boundaries = store_boundaries(pipeline)
    released = current_periods(settings.database_url(), pipeline.name)
    version, digest = pipeline.zones.version, boundaries.digest()
    for period, before in released.items():
        if before.inputs and before.inputs.boundary_version == version and before.inputs.boundaries != digest:
            raise ConfigurationError(
                f"the zones are not those that {period} was released with, though both are called version "
                f"'{version}' ({digest[:12]}, released were {before.inputs.boundaries[:12]}); give the "
                "changed boundaries another zones.version, or put the old ones back"
            )
    windows = [period_window(period, pipeline.period) for period in plan.periods]
    return _Bench(
        plan=plan,
        boundaries_uri=boundaries_uri,
        boundaries=boundaries,
        reference=Reference(pipeline.sample) if pipeline.sample else None,
        card=read_card(pipeline.model.card, pipeline.model.sha256) if pipeline.model.card else None,
        archive=list_scenes(pipeline.scenes, *windows),
        withdrawn=read_withdrawals(plan.layout),
        released=released,
    )


def _affected_periods(bench: _Bench) -> list[str]:
    """The periods of the run's window, and those that released a scene acquired in another one by now."""
    pipeline, acquired = bench.plan.pipeline, bench.archive.acquired
    moved = {
        period
        for period, before in bench.released.items()
        if is_period(period, pipeline.period)
        and any(
            period_of(acquired[scene_id], pipeline.period) != period
            for scene_id in before.scene_ids & acquired.keys()
        )
    }
    return sorted(moved.union(bench.plan.periods))


def _list_also(bench: _Bench, window: Window) -> Listing:
    """The archive in a window that is not of the run, and what the run's listing knows of other dates."""
    listing = list_scenes(bench.plan.pipeline.scenes, window)
    return replace(listing, acquired={**listing.acquired, **bench.archive.acquired})


def _find_claimed(bench: _Bench, period: str) -> dict[str, str]:
    """The period outside of the run whose current figures rest on a scene, by the id of the scene."""
    others = set(bench.released) - {period, *bench.plan.periods}
    return {
        scene_id: other
        for other in sorted(others)
        if is_period(other, bench.plan.pipeline.period)
        for scene_id in bench.released[other].scene_ids
    }


def _judge(
    bench: _Bench, period: str, works: list[TileWork]
) -> tuple[list[Judged], PeriodWork | None, str | None]:
    """The verdicts of a period, what is to be computed of it, and a remark where that needs one.

    The tiles to compute are added to `works`.
    """
    plan, pipeline = bench.plan, bench.plan.pipeline
    window = period_window(period, pipeline.period)
    archive = bench.archive if period in plan.periods else _list_also(bench, window)
    claimed = _find_claimed(bench, period)
    now = Circumstances(archive, bench.withdrawn, bench.boundaries.degrees(), bench.card, claimed)
    judged = judge_period(pipeline, period, now)
    used = [one for one in judged if one.verdict.decision != "refused"]
    _refuse_sampled_objects(pipeline, used)
    scenes = [scene for scene in archive.within(window) if scene.scene_id not in bench.withdrawn]
    ledger = pipeline_ledger(pipeline, window)
    waits_for = _find_open(window, scenes, ledger)
    predictions = [one.prediction for one in used]
    inputs = collect_inputs(
        pipeline, period, bench.boundaries, bench.reference, predictions, is_open=waits_for is not None
    )
    before = bench.released.get(period)
    remark = _find_obstacle(pipeline, waits_for, before, scenes, ledger)
    found = Judgement(run_id=plan.run_id, inputs=inputs, remark=remark)
    write_manifest(plan.layout.period(period, "judgement.json"), found)
    if before is not None and inputs.sha256 in before.known:
        return judged, None, None
    if remark or (not used and before is None):
        return judged, None, remark
    elsewhere = archive.acquired.keys() | claimed.keys()
    return judged, _plan_period(bench, period, inputs, used, works), _tell_losses(before, used, elsewhere)


def _find_open(window: Window, scenes: Sequence[Scene], ledger: Ledger) -> str | None:
    """Why a period is open; None when its end has passed and every listed scene is predicted or failed."""
    if datetime.now(UTC) < window.end:
        return f"it ends at {window.end:%Y-%m-%d %H:%M} UTC"
    lacking = _find_lacking(scenes, ledger)
    if not lacking:
        return None
    return (
        f"{len(lacking)} of its {len(scenes)} listed scene(s) are neither predicted nor failed by the "
        f"present model and options ({', '.join(lacking[:3])}); run {window} by hand"
    )


def _find_lacking(scenes: Sequence[Scene], ledger: Ledger) -> list[str]:
    return [s.scene_id for s in scenes if not ledger.is_committed(s) and not ledger.has_failed(s)]


def _find_obstacle(
    pipeline: Pipeline,
    waits_for: str | None,
    before: ReleasedPeriod | None,
    scenes: Sequence[Scene],
    ledger: Ledger,
) -> str | None:
    """Why a period is not to be released now; None when nothing is against it."""
    if waits_for is not None and not pipeline.publication.release_open:
        return f"is open, and not released: {waits_for}"
    if before is not None:
        lost = before.scene_ids.intersection(_find_lacking(scenes, ledger))
        if lost:
            return f"is held back: {len(lost)} scene(s) of its released figures are of them; {waits_for}"
    return None


def _tell_losses(before: ReleasedPeriod | None, used: Sequence[Judged], kept: Set[str]) -> str | None:
    """What a person should know of scenes that released figures rest on and nobody can predict again.

    `kept` are the scenes that the archive holds, or that count in another period.
    """
    if before is None:
        return None
    if not used:
        return "has no prediction any more that may be used: its figures are withdrawn"
    gone = sorted(before.scene_ids - {one.prediction.scene_id for one in used} - kept)
    if not gone:
        return None
    return (
        f"loses {len(gone)} scene(s) of its released figures, which have left the archive and have no "
        f"prediction by the present model and options: {', '.join(gone[:3])}"
    )


def _refuse_sampled_objects(pipeline: Pipeline, used: Sequence[Judged]) -> None:
    if pipeline.sample is not None and any(one.prediction.task == OBJECTS for one in used):
        raise ConfigurationError(
            f"pipeline '{pipeline.name}' has a reference sample, which estimates areas, and a model that "
            "detects objects; remove 'sample' from the pipeline file: objects are counted, not estimated"
        )


def _plan_period(
    bench: _Bench, period: str, inputs: Inputs, used: Sequence[Judged], works: list[TileWork]
) -> PeriodWork:
    """One period, whose tiles to compute are added to `works`; none where nothing is left to compose."""
    plan = bench.plan
    model = describe_model(plan.pipeline) if not used else used[0].prediction
    pairs = [(one.item_uri, one.prediction) for one in used]
    boundaries = bench.boundaries_uri, bench.boundaries
    tiles = plan_work(plan.pipeline, period, pairs, boundaries, list_tiles(plan.layout, period))
    works += tiles.works
    return PeriodWork(
        period=period,
        inputs=inputs,
        scenes=tuple(
            UsedScene(
                scene_id=one.prediction.scene_id,
                item_uri=one.item_uri,
                image_uri=one.prediction.source_uri,
                image_etag=one.prediction.source_etag,
            )
            for one in used
        ),
        task=model.task,
        classes=model.classes,
        boundaries_uri=bench.boundaries_uri,
        tiles=tuple(tiles.tasks),
        missing=sum(len(work.tiles) for work in tiles.works),
    )
