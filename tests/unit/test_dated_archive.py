"""An archive with dates in its address: only what lies below the dates of a run is listed."""

import json
from datetime import date

import pytest

from orthostat import storage
from orthostat.errors import SceneError
from orthostat.pipelines.allow import AllowList
from orthostat.pipelines.config import Scenes
from orthostat.pipelines.dated import folder_of, prefixes_of
from orthostat.pipelines.window import window_of_days
from orthostat.scenes.archive import find_acquired, list_scenes
from orthostat.storage import StoredObject

FEBRUARY_29 = window_of_days(date(2024, 2, 29), date(2024, 2, 29))
TURN_OF_THE_YEAR = window_of_days(date(2023, 12, 31), date(2024, 1, 1))
PATTERN = r"(?P<scene_id>[A-Z]+_(?P<acquired>\d{8}))\.tif$"


def dated(bucket: str, field: str = "{acquired:%Y/%m/%d}/", **changes: object) -> Scenes:
    fields = {"uri": f"{bucket}/scenes/{field}", "pattern": PATTERN}
    return Scenes.model_validate(fields | changes)


def upload(bucket: str, *names: str) -> None:
    for name in names:
        storage.write_bytes(f"{bucket}/scenes/{name}", b"x")


@pytest.mark.parametrize(
    ("uri", "prefixes"),
    [
        ("s3://b/{acquired:%Y/%m/%d}/", ["s3://b/2023/12/31/", "s3://b/2024/01/01/"]),
        ("s3://b/{acquired:%Y}/{acquired:%Y%m%d}", ["s3://b/2023/20231231", "s3://b/2024/20240101"]),
        ("s3://b/{acquired:%Y/%j}/x/", ["s3://b/2023/365/x/", "s3://b/2024/001/x/"]),
        ("s3://b/S2_{acquired:%Y-%m}", ["s3://b/S2_2023-12", "s3://b/S2_2024-01"]),
        ("s3://b/all/", ["s3://b/all/"]),
    ],
)
def test_each_date_of_the_window_is_one_prefix(uri: str, prefixes: list[str]) -> None:
    assert prefixes_of(uri, [TURN_OF_THE_YEAR, TURN_OF_THE_YEAR]) == prefixes
    year = window_of_days(date(2024, 1, 1), date(2024, 12, 31))
    assert len(prefixes_of("s3://b/{acquired:%Y/%m}/", [year])) == 12
    assert prefixes_of("s3://b/{acquired:%Y}/", [year]) == ["s3://b/2024/"]


@pytest.mark.parametrize(
    ("uri", "folder"),
    [("s3://b/a", "s3://b/a"), ("s3://b/a/S2_{acquired:%Y}/", "s3://b/a/"), ("/a/{acquired:%Y}/", "/a/")],
)
def test_the_whole_archive_is_the_last_folder_without_a_date(uri: str, folder: str) -> None:
    assert folder_of(uri) == folder


def test_only_the_dates_of_the_window_are_listed(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(s3_bucket, "2024/02/28/A_20240228.tif", "2024/02/29/A_20240229.tif", "2024/03/01/A_20240301.tif")
    seen: list[StoredObject] = []
    list_objects = storage.list_objects
    monkeypatch.setattr(storage, "list_objects", lambda uri: (seen.append(e) or e for e in list_objects(uri)))
    listing = list_scenes(dated(s3_bucket), FEBRUARY_29)
    assert [scene.scene_id for scene in listing.scenes] == ["A_20240229"]
    assert [entry.uri for entry in seen] == [f"{s3_bucket}/scenes/2024/02/29/A_20240229.tif"]


def test_the_pattern_is_searched_below_the_last_folder_without_a_date(s3_bucket: str) -> None:
    upload(s3_bucket, "2024/02/29/T32.tif")
    pattern = r"^(?P<scene_id>(?P<acquired>\d{4}/\d\d/\d\d)/\w+)\.tif$"
    scenes = dated(s3_bucket, pattern=pattern, acquired_format="%Y/%m/%d")
    assert [scene.scene_id for scene in list_scenes(scenes, FEBRUARY_29).scenes] == ["2024/02/29/T32"]


def test_a_scene_below_another_date_than_its_own_is_named(s3_bucket: str) -> None:
    """No run over its own date would find it there."""
    upload(s3_bucket, "2024/02/29/A_20240301.tif", "2024/02/29/B_20240229.tif")
    listing = list_scenes(dated(s3_bucket), FEBRUARY_29)
    assert [scene.scene_id for scene in listing.scenes] == ["B_20240229"]
    assert "was acquired on 2024-03-01 (UTC) and does not lie below" in listing.problems[0]
    assert "scenes/2024/03/01/; move it there, or leave dates out of 'scenes.uri'" in listing.problems[0]


def test_stac_items_lie_below_their_dates_and_images_anywhere_in_the_bucket(s3_bucket: str) -> None:
    storage.write_bytes(f"{s3_bucket}/images/a.tif", b"x")
    item = {
        "type": "Feature",
        "id": "a",
        "properties": {"datetime": "2024-02-29T23:30:00Z"},
        "assets": {"visual": {"href": f"{s3_bucket}/images/a.tif"}},
    }
    upload(s3_bucket, "2024/03/01/other.json")
    storage.write_bytes(f"{s3_bucket}/scenes/2024/02/29/a.json", json.dumps(item).encode())
    scenes = dated(s3_bucket, pattern=None, stac_asset="visual")
    assert [scene.image_uri for scene in list_scenes(scenes, FEBRUARY_29).scenes] == [
        f"{s3_bucket}/images/a.tif"
    ]


def test_a_window_without_scenes_is_no_error_and_a_wrong_address_is(s3_bucket: str) -> None:
    with pytest.raises(SceneError, match=r"there is no object under .*/scenes/; check 'scenes.uri'"):
        list_scenes(dated(s3_bucket), FEBRUARY_29)
    upload(s3_bucket, "2023/01/05/A_20230105.tif", "README.txt")
    assert list_scenes(dated(s3_bucket), FEBRUARY_29).scenes == ()
    with pytest.raises(SceneError, match=r"none of the first 2 objects .* lies where 'scenes.uri' .*%Y-%m"):
        list_scenes(dated(s3_bucket, "{acquired:%Y-%m}/"), FEBRUARY_29)
    upload(s3_bucket, "2024/02/29/a.jp2")
    with pytest.raises(SceneError, match=r"no object under .*2024/02/29/ matches 'scenes.pattern'"):
        list_scenes(dated(s3_bucket), FEBRUARY_29)


def test_a_scene_is_found_by_its_id_whatever_its_date(s3_bucket: str) -> None:
    upload(s3_bucket, "2023/01/05/A_20230105.tif", "2024/02/29/A_20240229.tif")
    assert find_acquired(dated(s3_bucket), "A_20230105").date() == date(2023, 1, 5)
    with pytest.raises(SceneError, match=r"the archive .*/scenes/ has no scene 'A_20230106'; did you mean"):
        find_acquired(dated(s3_bucket), "A_20230106")


def test_people_may_ask_for_images_of_every_date(s3_bucket: str) -> None:
    AllowList(images=(dated(s3_bucket).folder,)).require_image(f"{s3_bucket}/scenes/2024/02/29/a.tif")
