"""Listing, the set difference and batches, over a real S3 API."""

import json
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthostat import storage
from orthostat.cli.main import build_parser
from orthostat.errors import ConfigurationError, SceneError
from orthostat.judgement.verify import verify
from orthostat.layout import Layout
from orthostat.pipelines.window import Window, window_of_days
from orthostat.planning.manifest import read_batch, write_manifest
from orthostat.planning.plan import balance, make_plan, pipeline_ledger, read_plan
from orthostat.prediction.failure import Failure
from orthostat.prediction.item_copies import read_items
from orthostat.prediction.stac import to_stac
from orthostat.scenes.archive import list_scenes
from tests.builders import make_pipeline, make_prediction, make_scene

JANUARY = window_of_days(date(2024, 1, 1), date(2024, 1, 31))


def upload(bucket: str, *names: str, size: int = 10) -> None:
    for name in names:
        storage.write_bytes(f"{bucket}/scenes/{name}", b"x" * size)


def test_acquisition_time_decides_the_window(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20231231.tif", "A_20240101.tif", "B_20240131.tif", "A_20240201.tif", "note.txt")
    scenes = list_scenes(make_pipeline(f"{s3_bucket}/made").scenes, JANUARY).scenes
    assert [scene.scene_id for scene in scenes] == ["A_20240101", "B_20240131"]


def test_a_moment_with_an_offset_is_one_of_utc() -> None:
    """Predictions are filed by their day in UTC: of another, a plan would take them for missing."""
    times = ["--start", "2024-01-02T01:00+05:00", "--end", "2024-01-03T00:00Z"]
    parsed = build_parser().parse_args(["step", "plan", "--pipeline", "made", "--run-id", "r", *times])
    assert f"{parsed.start:%Y-%m-%d %H:%M}" == "2024-01-01 20:00"
    times[1] = "0001-01-01T00:00+14:00"
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["step", "plan", "--pipeline", "made", "--run-id", "r", *times])


def test_listing_pages_through_more_keys_than_one_answer_holds(s3_bucket: str) -> None:
    upload(
        s3_bucket,
        *(
            f"{'ABCDEFGHIJKLMNOP'[i % 16]}{'QRSTUVWXYZ'[i // 16 % 10]}{'ABCDEFGH'[i // 160]}_20240105.tif"
            for i in range(1100)
        ),
    )
    assert len(list_scenes(make_pipeline(f"{s3_bucket}/made").scenes, JANUARY).scenes) == 1100


def test_stac_items_name_scene_time_and_image(s3_bucket: str) -> None:
    upload(s3_bucket, "a.tif")
    item = {
        "type": "Feature",
        "id": "S2A_1",
        "properties": {"datetime": "2024-01-31T23:30:00-01:00", "eo:cloud_cover": 12.5},
        "assets": {"visual": {"href": "./a.tif"}},
    }
    storage.write_bytes(f"{s3_bucket}/scenes/a.json", json.dumps(item).encode())
    pipeline = make_pipeline(
        f"{s3_bucket}/made", scenes={"uri": f"{s3_bucket}/scenes/", "stac_asset": "visual"}
    )
    assert list_scenes(pipeline.scenes, JANUARY).scenes == ()  # half past midnight UTC on 1 February
    [scene] = list_scenes(pipeline.scenes, window_of_days(date(2024, 2, 1), date(2024, 2, 1))).scenes
    assert (scene.scene_id, scene.image_uri, scene.cloud_cover_pct) == (
        "S2A_1",
        f"{s3_bucket}/scenes/a.tif",
        12.5,
    )


def test_what_cannot_be_a_scene_is_named_and_stops_no_other(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20240105.tif", "B_20241399.tif", "x/C_20240105.tif", "y/C_20240105.tif")
    listing = list_scenes(make_pipeline(f"{s3_bucket}/made").scenes, JANUARY)
    assert [scene.scene_id for scene in listing.scenes] == ["A_20240105"]
    assert "'20241399' does not fit acquired_format" in listing.problems[0]
    assert "'C_20240105' stands for 2 images" in listing.problems[1]


def test_an_item_that_lacks_something_is_named_and_stops_no_other(s3_bucket: str) -> None:
    upload(s3_bucket, "a.tif")
    good = {
        "type": "Feature",
        "id": "good",
        "properties": {"datetime": "2024-01-05T00:00:00Z"},
        "assets": {"visual": {"href": "a.tif"}},
    }
    storage.write_json(f"{s3_bucket}/scenes/good.json", good)
    storage.write_json(f"{s3_bucket}/scenes/no-asset.json", good | {"id": "no-asset", "assets": {}})
    missing = {"visual": {"href": "missing.tif"}}
    storage.write_json(f"{s3_bucket}/scenes/no-image.json", good | {"id": "no-image", "assets": missing})
    pipeline = make_pipeline(
        f"{s3_bucket}/made", scenes={"uri": f"{s3_bucket}/scenes/", "stac_asset": "visual"}
    )
    listing = list_scenes(pipeline.scenes, JANUARY)
    assert [scene.scene_id for scene in listing.scenes] == ["good"]
    assert "no-asset.json lacks" in listing.problems[0]
    assert "missing.tif" in listing.problems[1]


def test_an_empty_archive_is_an_error(s3_bucket: str) -> None:
    with pytest.raises(SceneError, match=r"no object under .*/scenes/; check 'scenes.uri'"):
        list_scenes(make_pipeline(f"{s3_bucket}/made").scenes, JANUARY)


def test_a_pattern_that_matches_nothing_is_an_error_with_an_example(s3_bucket: str) -> None:
    upload(s3_bucket, "a.jp2")
    with pytest.raises(SceneError, match=r"no object .* matches 'scenes.pattern' .*the first one is .*a.jp2"):
        list_scenes(make_pipeline(f"{s3_bucket}/made").scenes, JANUARY)


def test_plan_leaves_out_what_is_committed_and_takes_replaced_images(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20240105.tif", "B_20240105.tif")
    pipeline = make_pipeline(f"{s3_bucket}/made")
    plan = make_plan(pipeline, "run 1", JANUARY)
    assert (plan.listed, plan.planned) == (2, 2)
    for scene in plan.scenes():
        storage.write_json(pipeline_ledger(pipeline, JANUARY).key(scene).item, {})
    assert make_plan(pipeline, "run 2", JANUARY).planned == 0
    assert make_plan(pipeline, "run 3", JANUARY, is_repredicted=True).planned == 2
    upload(s3_bucket, "A_20240105.tif", size=11)
    assert [scene.scene_id for scene in make_plan(pipeline, "run 4", JANUARY).scenes()] == ["A_20240105"]
    assert read_plan(pipeline.output, "run 1") == plan
    with pytest.raises(
        ConfigurationError, match=r"run 'never' has no plan .*; see what its step 'plan' says"
    ):
        read_plan(pipeline.output, "never")


def test_what_failed_before_is_told_and_not_forgotten(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20240105.tif", "B_20240105.tif", "C_20240105.tif")
    pipeline = make_pipeline(f"{s3_bucket}/made")
    plan = make_plan(pipeline, "run 1", JANUARY)
    for scene, kind in zip(plan.scenes(), ("image", "machine", "image"), strict=True):
        key = pipeline_ledger(pipeline, JANUARY).key(scene)
        reason = {"scene_id": scene.scene_id, "image_uri": "u", "etag": "e", "kind": kind, "reason": "r"}
        storage.write_json(key.failure, reason)
    storage.write_json(pipeline_ledger(pipeline, JANUARY).key(plan.scenes()[2]).item, {})  # an older one
    again = make_plan(pipeline, "run 2", JANUARY)
    assert (again.planned, again.waiting) == (1, ("A_20240105 (image)",))
    assert make_plan(pipeline, "run 3", JANUARY, is_repredicted=True).waiting == ()


def test_a_new_pipeline_with_the_output_of_an_old_one_stops_itself_alone(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20240105.tif")
    old = make_pipeline(f"{s3_bucket}/made")
    copied = old.model_copy(update={"name": "copied"})
    for pipeline, other in ((old, copied), (copied, old)):
        with pytest.raises(ConfigurationError, match="give each pipeline an output of its own"):
            make_plan(pipeline, "run", JANUARY, others=[pipeline, other])
    storage.write_json(Layout(old.output).catalog(), {"pipeline": old.name})  # it has released
    assert make_plan(old, "run", JANUARY, others=[old, copied]).planned == 1
    with pytest.raises(ConfigurationError, match=r"is that of the pipeline 'made', .* remove that file"):
        make_plan(copied, "run", JANUARY, others=[old, copied])


def test_another_model_or_option_predicts_again(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20240105.tif")
    pipeline = make_pipeline(f"{s3_bucket}/made")
    [scene] = make_plan(pipeline, "run", JANUARY).scenes()
    storage.write_json(pipeline_ledger(pipeline, JANUARY).key(scene).item, {})
    for change in ({"sha256": "cd" * 32}, {"chip_size": 256}):
        changed = pipeline.model_copy(update={"model": pipeline.model.model_copy(update=change)})
        assert make_plan(changed, "run 2", JANUARY).planned == 1


@pytest.mark.parametrize(("kind", "planned"), [("image", 0), ("bundle", 0), ("storage", 1), ("limit", 1)])
def test_only_a_failure_that_may_pass_is_tried_again(s3_bucket: str, kind: str, planned: int) -> None:
    upload(s3_bucket, "A_20240105.tif")
    pipeline = make_pipeline(f"{s3_bucket}/made")
    [scene] = make_plan(pipeline, "run", JANUARY).scenes()
    failure = Failure(scene_id=scene.scene_id, image_uri="u", etag=scene.etag, kind=kind, reason="r")  # type: ignore[arg-type]
    write_manifest(pipeline_ledger(pipeline, JANUARY).key(scene).failure, failure)
    assert make_plan(pipeline, "run 2", JANUARY).planned == planned


@pytest.mark.parametrize(
    "href",
    [
        "https://images/a.tif",
        "/etc/passwd",
        "/vsicurl/http://a/b.tif",
        "s3://other/a.tif",
        "file:///etc/passwd",
    ],
)
def test_an_item_cannot_send_the_pipeline_elsewhere(s3_bucket: str, href: str) -> None:
    item = {
        "type": "Feature",
        "id": "a",
        "properties": {"datetime": "2024-01-05T00:00:00Z"},
        "assets": {"visual": {"href": href}},
    }
    storage.write_json(f"{s3_bucket}/scenes/a.json", item)
    scenes = {"uri": f"{s3_bucket}/scenes/", "stac_asset": "visual"}
    listing = list_scenes(make_pipeline(f"{s3_bucket}/made", scenes=scenes).scenes, JANUARY)
    assert listing.scenes == ()
    assert "which is not below" in listing.problems[0]


def test_hrefs_with_dots_lead_within_the_bucket(s3_bucket: str) -> None:
    storage.write_bytes(f"{s3_bucket}/images/a.tif", b"x")
    item = {
        "type": "Feature",
        "id": "a",
        "properties": {"datetime": "2024-01-05T00:00:00Z"},
        "assets": {"visual": {"href": "../../images/./a.tif"}},
    }
    storage.write_json(f"{s3_bucket}/scenes/deep/a.json", item)
    scenes = {"uri": f"{s3_bucket}/scenes/", "stac_asset": "visual"}
    pipeline = make_pipeline(f"{s3_bucket}/made", scenes=scenes)
    assert [s.image_uri for s in list_scenes(pipeline.scenes, JANUARY).scenes] == [
        f"{s3_bucket}/images/a.tif"
    ]


def test_what_a_plan_says_of_many_bad_keys_stays_short(s3_bucket: str) -> None:
    """Every step reads the plan, and Airflow keeps the note."""
    upload(s3_bucket, "A_20240105.tif", *(f"{'B' * number}_20241399.tif" for number in range(1, 31)))
    plan = make_plan(make_pipeline(f"{s3_bucket}/made"), "run", JANUARY)
    assert plan.planned == 1
    assert len(plan.problems) == 21
    assert plan.problems[-1] == "and 10 more"


@pytest.mark.parametrize("content", [b'{"kind": "weather", "new": 1}', b"[1]", b"<html>", b"[" * 100_000])
def test_a_failure_record_of_another_version_is_one_scenes_problem(s3_bucket: str, content: bytes) -> None:
    upload(s3_bucket, "A_20240105.tif")
    pipeline = make_pipeline(f"{s3_bucket}/made")
    plan = make_plan(pipeline, "run", JANUARY)
    [scene] = plan.scenes()
    key = pipeline_ledger(pipeline, JANUARY).key(scene)
    storage.write_bytes(key.failure, content)
    assert make_plan(pipeline, "run 2", JANUARY).planned == 1
    assert [failure.kind for failure in verify(plan).failures] == ["machine"]


def test_a_foreign_item_is_set_aside_and_its_scene_predicted_again(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20240105.tif")
    pipeline = make_pipeline(f"{s3_bucket}/made")
    [scene] = make_plan(pipeline, "run", JANUARY).scenes()
    key = pipeline_ledger(pipeline, JANUARY).key(scene)
    storage.write_json(key.item, {"type": "Feature", "properties": None})
    assert make_plan(pipeline, "run 2", JANUARY).planned == 0
    assert list(read_items(pipeline_ledger(pipeline, JANUARY))) == []
    assert storage.read_json(key.file("foreign.json"))["type"] == "Feature"
    assert pipeline_ledger(pipeline, JANUARY).has_failed(scene)
    assert make_plan(pipeline, "run 3", JANUARY).planned == 1


def test_verify_goes_by_the_generation_of_a_re_prediction(s3_bucket: str) -> None:
    upload(s3_bucket, "A_20240105.tif", "B_20240105.tif")
    pipeline = make_pipeline(f"{s3_bucket}/made")
    plan = make_plan(pipeline, "again", JANUARY, is_repredicted=True)
    assert {read_batch(uri).generation for uri in plan.batches} == {plan.generation}
    for scene, generation in zip(plan.scenes(), (None, plan.generation), strict=True):
        item = to_stac(make_prediction(scene.scene_id, generation=generation))
        storage.write_json(pipeline_ledger(pipeline, JANUARY).key(scene).item, item)
    found = verify(plan)
    assert len(found.committed) == 1
    reasons = [failure.reason.split(":")[0] for failure in found.failures]
    assert reasons == ["its Item is of an earlier prediction"]
    # Two that predict again at once: what the later one has predicted is as good.
    later = make_plan(pipeline, "and again", JANUARY, is_repredicted=True)
    for scene in plan.scenes():
        item = to_stac(make_prediction(scene.scene_id, generation=later.generation))
        storage.write_json(pipeline_ledger(pipeline, JANUARY).key(scene).item, item)
    assert not verify(plan).failures
    assert not verify(later).failures


def test_batches_are_bounded_and_written_as_manifests(s3_bucket: str) -> None:
    upload(s3_bucket, *(f"{letter}_20240105.tif" for letter in "ABCDEFG"))
    plan = make_plan(make_pipeline(f"{s3_bucket}/made", batch_mb=0.00001, max_pods=3), "run", JANUARY)
    assert [len(read_batch(uri).scenes) for uri in plan.batches] == [3, 2, 2]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(1, 12))
def test_balance_loses_nothing_and_no_batch_is_far_above_the_mean(sizes: list[int], count: int) -> None:
    scenes = [make_scene(f"S{number}", size_bytes=size) for number, size in enumerate(sizes)]
    batches = balance(scenes, count)
    assert sorted(s.scene_id for batch in batches for s in batch) == sorted(s.scene_id for s in scenes)
    assert len(batches) <= count
    heaviest = max(sum(s.size_bytes for s in batch) for batch in batches)
    assert heaviest <= sum(sizes) / count + max(sizes)
    assert balance(scenes[::-1], count) == batches


@pytest.mark.parametrize(
    ("first", "last"),
    [((2024, 1, 31), (2024, 2, 1)), ((2023, 12, 31), (2024, 1, 1)), ((2020, 1, 1), (2025, 1, 1))],
)
def test_the_ledger_is_one_listing_of_exactly_its_days(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    pipeline = make_pipeline(f"{s3_bucket}/made")
    window = window_of_days(date(*first), date(*last))
    moments = [window.start + timedelta(days=n) for n in (-400, -31, -1, 0, 1)] + [window.end]
    scenes = [make_scene(acquired=moment) for moment in moments]
    for scene in scenes:
        storage.write_json(pipeline_ledger(pipeline, window).key(scene).item, {})
    asked: list[str] = []
    list_objects = storage.list_objects
    monkeypatch.setattr(
        storage,
        "list_objects",
        lambda *uris, **options: asked.append(uris[0]) or list_objects(*uris, **options),
    )
    ledger = pipeline_ledger(pipeline, window)
    assert ledger.items() == [ledger.key(scene).item for scene in scenes if scene.acquired in window]
    assert len(asked) == 1


def test_ledger_window_may_end_in_the_middle_of_a_day(s3_bucket: str) -> None:
    pipeline = make_pipeline(f"{s3_bucket}/made")
    window = Window(JANUARY.start, JANUARY.start.replace(hour=12))
    scene = make_scene(acquired=JANUARY.start)
    key = pipeline_ledger(pipeline, window).key(scene)
    storage.write_json(key.item, {})
    assert pipeline_ledger(pipeline, window).is_committed(scene)
