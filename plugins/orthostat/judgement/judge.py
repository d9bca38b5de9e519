"""Judging: a verdict for every prediction of a period, from Items alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.judgement.rules import Bounds, reasons_to_flag, reasons_to_refuse
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.window import Window, period_window
from orthostat.planning.plan import pipeline_ledger
from orthostat.prediction.item import Prediction
from orthostat.prediction.stac import read_predictions
from orthostat.scenes.scene import Scene

HISTORY = timedelta(days=365)
"""How far back a prediction's class shares are compared."""


class Verdict(BaseModel):
    """What was decided about one prediction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene_id: str
    decision: Literal["used", "flagged", "refused"]
    """A flagged prediction is used, and shown to a person."""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A prediction with its verdict."""

    item_uri: str
    prediction: Prediction
    verdict: Verdict


def judge_period(
    pipeline: Pipeline, period: str, scenes: Sequence[Scene], zone_bounds: Bounds
) -> list[Judged]:
    """Judge every prediction of a period, store each verdict beside its Item, and return them by scene id.

    `scenes` are those that the archive lists now: where it holds another image of a scene than the predicted
    one, the prediction is refused. A scene that has left the archive keeps its prediction.
    """
    window = period_window(period, pipeline.period)
    ledger = pipeline_ledger(pipeline, Window(window.start - HISTORY, window.end))
    predictions = dict(zip(ledger.items(), read_predictions(ledger.items()), strict=True))
    of_period = {uri: prediction for uri, prediction in predictions.items() if prediction.acquired in window}
    current = _select_current(of_period, {scene.scene_id: ledger.key(scene).item for scene in scenes})
    judged = []
    for uri, prediction in of_period.items():
        history = [past for past in predictions.values() if past.acquired < prediction.acquired]
        verdict = _decide(prediction, uri in current, history, pipeline, zone_bounds)
        judged.append(Judged(uri, prediction, verdict))
    for one in judged:
        storage.write_json(
            one.item_uri.replace("item.json", "verdict.json"), one.verdict.model_dump(mode="json")
        )
    return sorted(judged, key=lambda one: (one.prediction.scene_id, one.item_uri))


def count_verdicts(judged: Sequence[Judged]) -> str:
    """How many predictions were used, flagged and refused, and why the last two, in one line."""
    counts = Counter(one.verdict.decision for one in judged)
    summary = ", ".join(f"{counts[decision]} {decision}" for decision in ("used", "flagged", "refused"))
    remarks = [
        f"{one.verdict.scene_id}: {'; '.join(one.verdict.reasons)}" for one in judged if one.verdict.reasons
    ]
    return "; ".join([summary, *remarks])


def _select_current(predictions: dict[str, Prediction], listed: dict[str, str]) -> set[str]:
    """Of each scene, the Item of the image that the archive lists; if it has left it, the last to arrive."""
    current: dict[str, str] = {}
    for uri, prediction in predictions.items():
        scene_id = prediction.scene_id
        if scene_id in listed:
            current[scene_id] = listed[scene_id]
        elif scene_id not in current or _arrival(predictions[current[scene_id]]) < _arrival(prediction):
            current[scene_id] = uri
    return set(current.values())


def _arrival(prediction: Prediction) -> tuple[float, str]:
    return prediction.source_last_modified.timestamp(), prediction.source_etag


def _decide(
    prediction: Prediction,
    is_current: bool,
    history: Sequence[Prediction],
    pipeline: Pipeline,
    zone_bounds: Bounds,
) -> Verdict:
    if not is_current:
        return Verdict(
            scene_id=prediction.scene_id,
            decision="refused",
            reasons=("the archive holds another image of this scene now",),
        )
    refusals = reasons_to_refuse(prediction, pipeline.judgement, zone_bounds)
    if refusals:
        return Verdict(scene_id=prediction.scene_id, decision="refused", reasons=tuple(refusals))
    flags = reasons_to_flag(prediction, history, pipeline.judgement)
    return Verdict(
        scene_id=prediction.scene_id, decision="flagged" if flags else "used", reasons=tuple(flags)
    )
