"""Verifying and judging, from S3 alone."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthostat import storage
from orthostat.errors import ToleranceError
from orthostat.judgement.facts import observed_m2
from orthostat.judgement.history import History
from orthostat.judgement.judge import Circumstances, Judged, judge_period
from orthostat.judgement.rules import reasons_to_flag, reasons_to_refuse
from orthostat.judgement.verify import require_tolerance, verify
from orthostat.pipelines.config import Judgement, Pipeline
from orthostat.pipelines.window import window_of_days
from orthostat.planning.manifest import write_manifest
from orthostat.planning.plan import Plan, make_plan, pipeline_ledger
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.failure import Failure
from orthostat.prediction.item import Prediction
from orthostat.prediction.stac import from_stac, to_stac
from orthostat.scenes.archive import Listing
from orthostat.scenes.scene import Scene
from tests.builders import make_pipeline, make_prediction, make_scene

JANUARY = window_of_days(date(2024, 1, 1), date(2024, 1, 31))
ZONES = (14.0, 44.0, 16.0, 46.0)


def test_item_reads_back_what_was_written() -> None:
    prediction = make_prediction(cloud_cover_pct=3.5)
    item = to_stac(prediction)
    assert from_stac(item, "uri") == prediction
    assert item["bbox"] == pytest.approx([15.0, 45.0036, 15.0025, 45.0045], abs=1e-3)


def test_a_sound_prediction_has_nothing_against_it() -> None:
    assert reasons_to_refuse(make_prediction(), Judgement(), ZONES) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source_shape": (11, 20)}, r"labels are \(10, 20\) .* the image is \(11, 20\)"),
        ({"source_crs": "EPSG:32634"}, r"in EPSG:32633, the image .* in EPSG:32634"),
        ({"histogram": {0: 1, 7: 3}}, r"class ids \[7\] are not among the model's \[0, 1\]"),
        ({"valid_fraction": 0.0}, "no valid pixel"),
        ({"valid_fraction": 0.2}, "valid fraction 0.200 is below min_valid_fraction 0.5"),
        (
            {"crs": "EPSG:32654", "source_crs": "EPSG:32654"},
            "touches no zone; check the image's coordinate system",
        ),
    ],
)
def test_each_rule_refuses_with_its_reason(changes: dict[str, object], reason: str) -> None:
    [found] = reasons_to_refuse(make_prediction(**changes), Judgement(min_valid_fraction=0.5), ZONES)
    assert re.search(reason, found)


def test_zones_whose_axes_are_swapped_are_named_as_the_cause() -> None:
    [found] = reasons_to_refuse(make_prediction(), Judgement(), (44.0, 14.0, 46.0, 16.0))
    assert "touches no zone; the axes of the zones are swapped: write longitude first" in found


def test_scenes_and_zones_meet_across_the_antimeridian() -> None:
    """Bounds whose west is east of their east go around through 180 degrees."""
    there = make_prediction(
        crs="EPSG:32660", source_crs="EPSG:32660", transform=(1000.0, 0.0, 830_000.0, 0.0, -1000.0, 5_000.0)
    )
    assert reasons_to_refuse(there, Judgement(), (179.5, -1.0, -179.5, 1.0)) == []
    assert reasons_to_refuse(there, Judgement(), (-179.99, -1.0, -179.5, 1.0)) == []
    assert reasons_to_refuse(there, Judgement(), (178.0, -1.0, 179.0, 1.0)) != []


def history_of(predictions: list[Prediction]) -> History:
    history = History()
    for prediction in predictions:
        history.add(prediction)
    return history


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=1, max_size=30))
def test_the_history_knows_the_median_of_each_class(shares: list[list[float]]) -> None:
    history, parts = History(), [[0, 10, 10 * one] for one, _ in shares]
    for zero, ten, other in parts:
        history.add(make_prediction(histogram={1: ten, 2: other} if other else {1: ten + zero}))
    expected = [other / (10 + other) for _, _, other in parts]
    assert len(history) == len(parts)
    assert history.median(2) == pytest.approx(median(expected))
    assert history.median(7) == 0.0


def test_shares_far_from_the_history_are_flagged() -> None:
    history = history_of([make_prediction(histogram={0: 90, 1: 10})] * 3)
    assert reasons_to_flag(make_prediction(histogram={0: 80, 1: 20}), history, Judgement()) == []
    reasons = reasons_to_flag(make_prediction(histogram={0: 5, 1: 95}), history, Judgement())
    assert reasons[0].startswith("share of water is 0.05, the median of 3 earlier scenes is 0.90")
    short = history_of([make_prediction(histogram={0: 90, 1: 10})] * 2)
    assert reasons_to_flag(make_prediction(histogram={1: 9}), short, Judgement()) == []


def plan_with(bucket: str, letters: str, **changes: object) -> tuple[Pipeline, Plan]:
    for letter in letters:
        storage.write_bytes(f"{bucket}/scenes/{letter}_20240105.tif", letter.encode())
    pipeline = make_pipeline(f"{bucket}/made", **changes)
    return pipeline, make_plan(pipeline, "run", JANUARY)


def test_verify_believes_only_what_lies_in_s3(s3_bucket: str) -> None:
    pipeline, plan = plan_with(s3_bucket, "ABC", max_failed_share=0.5)
    done, broken, _lost = sorted(plan.scenes(), key=lambda scene: scene.scene_id)
    ledger = pipeline_ledger(pipeline, JANUARY)
    storage.write_json(ledger.key(done).item, {})
    failure = Failure(scene_id=broken.scene_id, image_uri="u", etag="e", kind="image", reason="truncated")
    write_manifest(ledger.key(broken).failure, failure)
    verification = verify(plan)
    assert verification.committed == ("A_20240105",)
    assert [f.reason.split(":")[0] for f in verification.failures] == [
        "truncated",
        "neither Item nor failure record",
    ]
    with pytest.raises(ToleranceError, match=r"2 of 3 scenes failed \(67%\), tolerated are 50%.*verify says"):
        require_tolerance(plan)


def test_gate_opens_within_the_tolerance(s3_bucket: str) -> None:
    pipeline, plan = plan_with(s3_bucket, "A", max_failed_share=0.0)
    storage.write_json(pipeline_ledger(pipeline, JANUARY).key(plan.scenes()[0]).item, {})
    verify(plan)
    assert require_tolerance(plan) == "1 of 1 planned scenes predicted"


def commit(pipeline: Pipeline, prediction: Prediction) -> str:
    scene = make_scene(prediction.scene_id, etag=prediction.source_etag, acquired=prediction.acquired)
    uri = pipeline_ledger(pipeline, JANUARY).key(scene).item
    storage.write_json(uri, to_stac(prediction))
    return uri


def judge(
    pipeline: Pipeline,
    scenes: tuple[Scene, ...] = (),
    withdrawn: dict[str, str] | None = None,
    **acquired: datetime,
) -> list[Judged]:
    """Judge January with an archive of these scenes, and others that were `acquired` at other times."""
    times = {scene.scene_id: scene.acquired for scene in scenes} | acquired
    return judge_period(
        pipeline, "2024-01", Circumstances(Listing(scenes, (), times), withdrawn or {}, ZONES)
    )


def test_a_replaced_image_is_refused_for_the_newer_one(s3_bucket: str) -> None:
    pipeline = make_pipeline(f"{s3_bucket}/made")
    commit(
        pipeline, make_prediction(source_etag="new", source_last_modified=datetime(2024, 2, 1, tzinfo=UTC))
    )
    commit(pipeline, make_prediction(source_etag="old"))
    decisions = {j.prediction.source_etag: j.verdict.decision for j in judge(pipeline)}
    assert decisions == {"new": "used", "old": "refused"}


def test_the_image_that_the_archive_lists_counts_whatever_arrived_last(s3_bucket: str) -> None:
    pipeline = make_pipeline(f"{s3_bucket}/made")
    commit(
        pipeline, make_prediction(source_etag="wrong", source_last_modified=datetime(2024, 2, 1, tzinfo=UTC))
    )
    commit(pipeline, make_prediction(source_etag="right"))
    decisions = {
        j.prediction.source_etag: j.verdict.decision for j in judge(pipeline, (make_scene(etag="right"),))
    }
    assert decisions == {"right": "used", "wrong": "refused"}


def test_a_scene_that_was_withdrawn_or_acquired_at_another_time_is_refused(s3_bucket: str) -> None:
    pipeline = make_pipeline(f"{s3_bucket}/made")
    for letter in "ABC":
        commit(pipeline, make_prediction(letter))
    moved = datetime(2024, 3, 9, tzinfo=UTC)
    judged = judge(pipeline, (), {"A": "smoke"}, B=moved)
    assert [(one.verdict.decision, one.verdict.reasons) for one in judged] == [
        ("refused", ("withdrawn: smoke",)),
        ("refused", ("the archive says now that this scene was acquired on 2024-03-09",)),
        ("used", ()),
    ]


def test_verdicts_are_stored_together_and_stay_in_the_period(s3_bucket: str) -> None:
    pipeline = make_pipeline(f"{s3_bucket}/made")
    uri = commit(pipeline, make_prediction(valid_fraction=0.0, histogram={}))
    commit(pipeline, replace(make_prediction("B"), acquired=datetime(2023, 12, 31, tzinfo=UTC)))
    [judged] = judge(pipeline)
    stored = storage.read_json(f"{pipeline.output}/periods/2024-01/verdicts.json")
    assert stored.keys() == {uri}
    assert stored[uri]["decision"] == judged.verdict.decision == "refused"
    assert "no valid pixel" in stored[uri]["reasons"][0]


def test_items_are_read_from_the_copies_of_their_days_and_stay_the_truth(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(f"{s3_bucket}/made")
    uris = [commit(pipeline, make_prediction(letter)) for letter in "ABC"]
    assert len(judge(pipeline)) == 3
    read: list[str] = []
    read_json = storage.read_json
    monkeypatch.setattr(storage, "read_json", lambda uri: read.append(uri) or read_json(uri))
    first = judge(pipeline)
    assert [uri for uri in read if uri.endswith("/item.json")] == []
    commit(pipeline, make_prediction("B", histogram={0: 1}))
    commit(pipeline, make_prediction("D"))
    second = judge(pipeline)
    assert sorted(uri for uri in read if uri.endswith("/item.json")) == [
        uris[1], uris[0].replace("/A/", "/D/")
    ]  # fmt: skip
    assert [one.prediction.scene_id for one in second] == list("ABCD")
    assert second[0] == first[0]
    assert second[1].prediction.histogram == {0: 1}
    copy = next(e.uri for e in storage.list_objects(s3_bucket) if e.uri.endswith("items.json.gz"))
    storage.write_bytes(copy, b"rubbish")
    assert judge(pipeline) == second


def detector(counts: dict[int, int], **changes: object) -> Prediction:
    """A detector's prediction of 100 x 100 observed pixels of 10 m: 1 km2."""
    fields: dict[str, object] = {
        "task": "object_detection",
        "shape": (100, 100),
        "source_shape": (100, 100),
        "histogram": {0: 10_000},
        "classes": (LabelClass(1, "car", "CC0000"), LabelClass(2, "ship", "0000CC")),
        "counts": counts,
    }
    return make_prediction(**(fields | changes))


def test_a_detectors_observed_pixels_are_no_class_of_its_own() -> None:
    assert reasons_to_refuse(detector({1: 5}), Judgement(), ZONES) == []
    [reason] = reasons_to_refuse(detector({1: 5, 7: 1}), Judgement(), ZONES)
    assert "class ids [7] are not among the model's [1, 2]" in reason


@pytest.mark.parametrize(
    ("counts", "changes", "reason"),
    [
        ({1: 59}, {}, None),
        ({1: 61}, {}, "61 car on 1 km2, 20.0 would be the median of 3 earlier scenes"),
        ({1: 7}, {}, None),
        ({1: 6}, {}, "6 car on 1 km2, 20.0 would be the median"),
        ({}, {}, "0 car on 1 km2, 20.0 would be"),
        ({1: 20, 2: 9}, {}, None),  # few objects differ by chance
        ({1: 20, 2: 10}, {}, "10 ship on 1 km2, 0.0 would be"),
        ({1: 20}, {"histogram": {0: 2_500}}, "20 car on 0.25 km2, 5.0 would be"),
        ({1: 20}, {"histogram": {0: 5_000}}, None),
    ],
)
def test_densities_far_from_the_history_are_flagged(
    counts: dict[int, int], changes: dict[str, object], reason: str | None
) -> None:
    past = [detector({1: cars}) for cars in (10, 20, 50)]
    found = reasons_to_flag(detector(counts, **changes), history_of(past), Judgement())
    assert [line[: len(reason or "")] for line in found] == ([reason] if reason else [])
    assert reasons_to_flag(detector(counts, **changes), history_of(past[:2]), Judgement()) == []


def test_observed_areas_are_the_ellipsoids_in_degrees() -> None:
    assert observed_m2(detector({})) == pytest.approx(1e6)
    degrees = {"crs": "EPSG:4326", "transform": (0.0001, 0.0, 15.0, 0.0, -0.0001, 45.005)}
    # A hundredth of a degree at 45 degrees: 1111.3 m by 788.5 m.
    assert observed_m2(detector({}, **degrees)) == pytest.approx(1111.3 * 788.5, rel=1e-3)
