"""Judging: a verdict for every prediction of a period, from Items alone."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.errors import name_some
from orthostat.judgement.applicability import reasons_outside, reasons_shifted
from orthostat.judgement.history import History
from orthostat.judgement.rules import Bounds, reasons_to_flag, reasons_to_refuse
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.window import Window, period_window
from orthostat.planning.plan import pipeline_ledger
from orthostat.prediction.card import ModelCard
from orthostat.prediction.item import Prediction
from orthostat.prediction.item_copies import read_items
from orthostat.scenes.archive import Listing
from orthostat.scenes.ledger import Ledger

_MOST_TOLD = 20
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


@dataclass(frozen=True)
class Circumstances:
    """What a verdict depends on besides the Item and the pipeline."""

    archive: Listing
    """What the archive holds now, with the scenes of the period."""
    withdrawn: Mapping[str, str]
    """Reasons of withdrawn scenes, by id."""
    zone_bounds: Bounds
    card: ModelCard | None = None
    """What the model was made for, where somebody has said so."""
    claimed: Mapping[str, str] = field(default_factory=dict)
    """Another period whose current figures rest on a scene, by id: a scene that was moved there counts there,
    also when it has left the archive or its new place is not listed."""


def judge_period(pipeline: Pipeline, period: str, now: Circumstances) -> list[Judged]:
    """Judge every prediction of a period, store the verdicts together, and return them by scene id.

    Where the archive holds another image of a scene than the predicted one, or says that it was acquired in
    another period, the prediction is refused. A scene that has left the archive keeps its prediction.
    """
    window = period_window(period, pipeline.period)
    ledger = pipeline_ledger(pipeline, Window(window.start - HISTORY, window.end))
    history, of_period = _read_period(ledger, window)
    listed = {scene.scene_id: ledger.key(scene).item for scene in now.archive.within(window)}
    current = _select_current(of_period, listed)
    judged = []
    by_time = sorted(of_period.items(), key=lambda pair: pair[1].acquired)
    for _, moment in groupby(by_time, key=lambda pair: pair[1].acquired):
        pairs = list(moment)
        for uri, prediction in pairs:
            stale = list(_stale(prediction, window, uri in current, now))
            judged.append(Judged(uri, prediction, _decide(prediction, stale, history, pipeline, now)))
        for _, prediction in pairs:
            history.add(prediction)
    judged.sort(key=lambda one: (one.prediction.scene_id, one.item_uri))
    verdicts = {one.item_uri: one.verdict.model_dump(mode="json") for one in judged}
    storage.write_json(Layout(pipeline.output).period(period, "verdicts.json"), verdicts)
    return judged


def _decide(
    prediction: Prediction, stale: list[str], history: History, pipeline: Pipeline, now: Circumstances
) -> Verdict:
    """One prediction's verdict: what is outside of the card is refused, or flagged, as the file says."""
    rules = pipeline.judgement
    outside = list(reasons_outside(prediction, now.card, rules)) if now.card else []
    reasons = stale or reasons_to_refuse(prediction, rules, now.zone_bounds)
    reasons = reasons or (outside if rules.outside_card == "refuse" else [])
    if reasons:
        return Verdict(scene_id=prediction.scene_id, decision="refused", reasons=tuple(reasons))
    shifted = list(reasons_shifted(prediction, now.card, rules))
    flags = [*outside, *shifted, *reasons_to_flag(prediction, history, rules)]
    return Verdict(
        scene_id=prediction.scene_id, decision="flagged" if flags else "used", reasons=tuple(flags)
    )


def count_verdicts(judged: Sequence[Judged]) -> str:
    """How many predictions were used, flagged and refused, and why some of the last two, in one line."""
    counts = Counter(one.verdict.decision for one in judged)
    summary = ", ".join(f"{counts[decision]} {decision}" for decision in ("used", "flagged", "refused"))
    remarks = [
        f"{one.verdict.scene_id}: {'; '.join(one.verdict.reasons)}" for one in judged if one.verdict.reasons
    ]
    return "; ".join([summary, *name_some(remarks, _MOST_TOLD)])


def _read_period(ledger: Ledger, window: Window) -> tuple[History, dict[str, Prediction]]:
    """What was seen before the window, and the predictions in it by the URI of their Item."""
    history, of_period = History(), {}
    for uri, prediction in read_items(ledger):
        if prediction.acquired in window:
            of_period[uri] = prediction
        else:
            history.add(prediction)
    return history, of_period


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


def _stale(prediction: Prediction, window: Window, is_current: bool, now: Circumstances) -> Iterator[str]:
    """Why the archive, or a person, no longer stands behind a prediction."""
    scene_id = prediction.scene_id
    acquired: datetime | None = now.archive.acquired.get(scene_id)
    if scene_id in now.withdrawn:
        yield f"withdrawn: {now.withdrawn[scene_id]}"
    elif acquired is not None and acquired not in window:
        yield f"the archive says now that this scene was acquired on {acquired:%Y-%m-%d}"
    elif acquired is None and scene_id in now.claimed:
        yield f"the figures of {now.claimed[scene_id]} rest on this scene, which the archive has here no more"
    elif not is_current:
        yield "the archive holds another image of this scene now"
