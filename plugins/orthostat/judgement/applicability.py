"""Whether a scene is one that the model was made for: functions of its Item, the card, and earlier ones."""

from collections.abc import Iterator

from orthostat.judgement.facts import pixel_m
from orthostat.judgement.history import History
from orthostat.pipelines.config import Judgement
from orthostat.prediction.card import ModelCard
from orthostat.prediction.item import Prediction


def reasons_outside(prediction: Prediction, card: ModelCard, rules: Judgement) -> Iterator[str]:
    """What makes a scene another kind of image than the model was trained on: sensor, bands, pixel size."""
    platform = prediction.platform
    known = {name.casefold() for name in card.platforms}
    if platform is not None and known and platform.casefold() not in known:
        yield f"it was taken by {platform}, the model card names {', '.join(card.platforms)}"
    if card.bands and len(card.bands) != len(prediction.bands):
        yield f"the model read {len(prediction.bands)} band(s), the model card names {len(card.bands)}"
    for number, (trained, band) in enumerate(zip(card.bands, prediction.bands, strict=False), start=1):
        if trained.name and band.name and trained.name.casefold() != band.name.casefold():
            yield f"band {number} that the model reads is {band.name}, the model card says {trained.name}"
    size_m = pixel_m(prediction)
    if card.gsd_m and size_m is not None:
        factor = max(size_m / card.gsd_m, card.gsd_m / size_m)
        if factor > rules.max_gsd_factor:
            yield (
                f"its pixels are {size_m:.3g} m wide, the model card says {card.gsd_m:g} m; they differ by "
                f"more than max_gsd_factor {rules.max_gsd_factor:g}"
            )


def reasons_shifted(prediction: Prediction, card: ModelCard | None, rules: Judgement) -> Iterator[str]:
    """Bands whose values are not those of training, in standard deviations of training."""
    for number, (trained, band) in enumerate(
        zip(card.bands if card else (), prediction.bands, strict=False), start=1
    ):
        if band.mean is None or trained.mean is None or not trained.deviation:
            continue
        shift = abs(band.mean - trained.mean) / trained.deviation
        if shift > rules.max_value_shift:
            yield (
                f"the mean of {band.name or f'band {number}'} is {band.mean:.4g}, in training it was "
                f"{trained.mean:.4g} with a standard deviation of {trained.deviation:.4g}; they differ by "
                f"{shift:.1f} of these, more than max_value_shift {rules.max_value_shift:g}"
            )


def reasons_drifted(prediction: Prediction, history: History, rules: Judgement) -> Iterator[str]:
    """Bands whose values, and scores that, differ from those of earlier scenes of the pipeline."""
    for number, band in enumerate(prediction.bands):
        usual, spread = history.usual("mean", number), history.usual("deviation", number)
        if band.mean is None or usual is None or not spread:
            continue
        shift = abs(band.mean - usual) / spread
        if shift > rules.max_value_shift:
            yield (
                f"the mean of {band.name or f'band {number + 1}'} is {band.mean:.4g}, the median of "
                f"{len(history)} earlier scenes is {usual:.4g}; they differ by {shift:.1f} of the scenes' "
                f"standard deviations, more than max_value_shift {rules.max_value_shift:g}"
            )
    usual = history.usual("score", 0)
    score = prediction.mean_score
    if usual is not None and score is not None and usual - score > rules.max_score_drop:
        yield (
            f"the mean score is {score:.2f}, the median of {len(history)} earlier scenes is {usual:.2f}; it "
            f"is lower by more than max_score_drop {rules.max_score_drop:g}"
        )
