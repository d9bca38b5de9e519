"""Which scenes a model was made for: the card, and what judging makes of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest

from orthostat import storage
from orthostat.cli.main import main
from orthostat.errors import ConfigurationError
from orthostat.judgement.applicability import reasons_drifted, reasons_outside, reasons_shifted
from orthostat.judgement.history import History
from orthostat.judgement.judge import Circumstances, judge_period
from orthostat.pipelines.config import Judgement
from orthostat.planning.plan import pipeline_ledger
from orthostat.prediction.bands import BandValues
from orthostat.prediction.blocks import Area, Block
from orthostat.prediction.card import CardBand, ModelCard, read_card
from orthostat.prediction.facts import BandFacts
from orthostat.prediction.stac import to_stac
from orthostat.scenes.archive import Listing
from tests.builders import make_pipeline, make_prediction, make_scene
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.test_judgement import JANUARY, ZONES

CARD = ModelCard(
    platforms=("Landsat-8", "Landsat-9"),
    gsd_m=10,
    bands=(CardBand(name="red", mean=500, deviation=100), CardBand(name="nir", mean=2000, deviation=400)),
)
BANDS = (BandFacts("red", 550.0, 90.0), BandFacts("nir", 2100.0, 300.0))
RULES = Judgement()


def scene(**changes: Any) -> Any:
    return make_prediction(**({"bands": BANDS, "platform": "landsat-9", "mean_score": 0.9} | changes))


def test_a_scene_like_those_of_training_has_nothing_against_it() -> None:
    assert list(reasons_outside(scene(), CARD, RULES)) == []
    assert list(reasons_shifted(scene(), CARD, RULES)) == []


def test_what_neither_card_nor_scene_says_is_not_judged() -> None:
    assert list(reasons_outside(scene(platform=None, bands=()), ModelCard(), RULES)) == []
    assert list(reasons_outside(scene(platform=None), CARD, RULES)) == []
    assert list(reasons_shifted(scene(), None, RULES)) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"platform": "Sentinel-2A"}, "taken by Sentinel-2A, the model card names Landsat-8, Landsat-9"),
        ({"bands": BANDS[:1]}, "the model read 1 band(s), the model card names 2"),
        ({"bands": BANDS[::-1]}, "band 1 that the model reads is nir, the model card says red"),
        (
            {"transform": (30.0, 0.0, 5e5, 0.0, -30.0, 4e6)},
            "its pixels are 30 m wide, the model card says 10 m; they differ by more than max_gsd_factor 1.5",
        ),
        ({"transform": (5.0, 0.0, 5e5, 0.0, -5.0, 4e6)}, "its pixels are 5 m wide"),
    ],
)
def test_another_kind_of_image_is_named(changes: dict[str, Any], reason: str) -> None:
    assert reason in next(reasons_outside(scene(**changes), CARD, RULES))


def test_values_far_from_training_are_named_with_the_numbers() -> None:
    bands = (BandFacts("red", 801.0, 90.0), BandFacts(None, 790.0, 300.0))
    found = list(reasons_shifted(scene(bands=bands), CARD, RULES))
    assert found == [
        "the mean of red is 801, in training it was 500 with a standard deviation of 100; they differ by 3.0 "
        "of these, more than max_value_shift 3",
        "the mean of band 2 is 790, in training it was 2000 with a standard deviation of 400; they differ by "
        "3.0 of these, more than max_value_shift 3",
    ]


def test_drift_of_values_and_scores_is_held_against_the_history() -> None:
    history = History()
    for number in range(5):
        bands = (BandFacts("red", 500.0 + number, 50.0), BandFacts("nir", None, None))
        history.add(scene(bands=bands, mean_score=0.8 + number / 100))
    drifted = scene(bands=(BandFacts("red", 700.0, 50.0), BANDS[1]), mean_score=0.6)
    values, scores = reasons_drifted(drifted, history, RULES)
    assert "the mean of red is 700, the median of 5 earlier scenes is 502; they differ by 4.0" in values
    assert (
        "the mean score is 0.60, the median of 5 earlier scenes is 0.82; it is lower by more than" in scores
    )
    assert list(reasons_drifted(scene(bands=(BandFacts("red", 510.0, 1.0),)), history, RULES)) == []


@pytest.mark.parametrize(("outside_card", "decision"), [("refuse", "refused"), ("flag", "flagged")])
def test_the_pipeline_says_what_becomes_of_them(s3_bucket: str, outside_card: str, decision: str) -> None:
    judgement = {"outside_card": outside_card}
    pipeline = make_pipeline(f"{s3_bucket}/made", judgement=judgement)
    made = make_scene("A")
    prediction = scene(
        scene_id="A", acquired=made.acquired, source_etag=made.etag, platform="SPOT-7", mean_score=None
    )
    storage.write_json(pipeline_ledger(pipeline, JANUARY).key(made).item, to_stac(prediction))
    archive = Listing((made,), (), {"A": made.acquired})
    [judged] = judge_period(pipeline, "2024-01", Circumstances(archive, {}, ZONES, CARD))
    assert judged.verdict.decision == decision
    assert "taken by SPOT-7" in judged.verdict.reasons[0]


def test_the_draft_is_an_item_that_judging_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_onnx_bundle(tmp_path / "bundle.zip")
    assert main(["bundle", "describe", str(bundle)]) == 0
    draft = json.loads(capsys.readouterr().out)
    item = pystac.Item.from_dict(
        draft | {"properties": draft["properties"] | {"datetime": "2024-01-01T00:00:00Z"}}
    )
    assert item.assets["model"].roles == ["mlm:model"]
    draft["properties"] |= {"gsd": 10, "platform": "Landsat-8"}
    (tmp_path / "card.json").write_text(json.dumps(draft))
    digest = storage.file_sha256(bundle)
    card = read_card(str(tmp_path / "card.json"), digest)
    assert (card.platforms, card.gsd_m, len(card.bands)) == (("Landsat-8",), 10, 1)
    with pytest.raises(ConfigurationError, match=r"is the card of the model .* give 'model.card'"):
        read_card(str(tmp_path / "card.json"), "ab" * 32)


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"assets": 5}', '{"assets": {"model": {"file:checksum": "1220"}}}']
)
def test_what_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ConfigurationError, match="is no model card"):
        read_card(str(tmp_path / "card.json"), "")


def test_each_pixel_counts_once_in_the_means_of_bands() -> None:
    """Windows overlap: three rows of blocks, and two strips that share columns."""
    random = np.random.default_rng(5)
    image = random.normal(1000, 50, (2, 60, 90)).astype(np.float32)
    image[0, 7, 50] = np.nan
    missing = np.zeros(image.shape, bool)
    missing[1, 10:12, 30:70] = True
    valid = np.isfinite(image[0])
    values = BandValues(2)
    for left, right in ((0, 50), (40, 90)):
        for top, bottom in ((0, 30), (20, 50), (30, 60)):
            part = slice(None), slice(top, bottom), slice(left, right)
            read = np.ma.array(image[part], mask=missing[part])
            values.add(Block(Area(top, left, bottom, right), read, valid[part[1:]], [None, None]), [0, 1])
    assert values.nonfinite_pixels == 1
    for band, kept in ((0, image[0][valid]), (1, image[1][valid & ~missing[1]])):
        mean, deviation = values.mean_and_deviation(band)
        assert mean == pytest.approx(kept.mean(dtype=np.float64), rel=1e-9)
        assert deviation == pytest.approx(kept.std(dtype=np.float64), rel=1e-9)
