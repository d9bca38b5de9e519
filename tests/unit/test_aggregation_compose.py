"""Composing: which class a pixel gets, on which grid, and that no order of inputs changes it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.transform import Affine, from_origin
from shapely import box

from orthostat import storage
from orthostat.aggregation.boundaries import Boundaries
from orthostat.aggregation.compose import compose, compose_tile
from orthostat.aggregation.grid import find_offset, tile_bounds, tile_transform, tiles_of
from orthostat.aggregation.keys import TileTask
from orthostat.aggregation.work import PodWork, TileWork, plan_work, share_work
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import GridError
from orthostat.pipelines.config import Grid
from orthostat.prediction.classes import LabelClass
from orthostat.prediction.item import File
from orthostat.prediction.stac import to_stac
from tests.builders import make_pipeline, make_prediction

UTM = "EPSG:32633"
GRID = Grid(crs=UTM, resolution_m=10, origin=(500_000, 4_983_400), tile_size=16)
N, U = 255, 254


def write_scene(folder, name, labels, *, x=500_000.0, y=4_983_400.0, res=10.0, crs=UTM, day=5, cloud=None):
    """A labels.tif and its prediction; `x`, `y` is the north-western corner."""
    labels = np.asarray(labels, dtype=np.uint8)
    transform = from_origin(x, y, res, res)
    path = Path(folder, f"{name}.tif")
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "nodata": 255,
        "crs": crs,
        "transform": transform,
    }
    with rasterio.open(path, "w", height=labels.shape[0], width=labels.shape[1], **profile) as file:
        file.write(labels, 1)
    prediction = make_prediction(
        name,
        files={"labels.tif": File(str(path), "ab" * 32)},
        crs=crs,
        shape=labels.shape,
        transform=tuple(transform)[:6],
        acquired=datetime(2024, 1, day, tzinfo=UTC),
        cloud_cover_pct=cloud,
        classes=tuple(LabelClass(i, f"class {i}", "112233") for i in range(4)),
    )
    return prediction, path


def compose_one(folder, sources, rule="newest", tile=(0, 0), grid=GRID):
    path = Path(folder, "composite.tif")
    compose_tile(grid, rule, tile, [(scene, str(labels)) for scene, labels in sources], path)
    with rasterio.open(path) as file:
        return file.read(1)


def test_tiles_are_numbered_from_the_origin_southwards():
    assert tile_bounds(GRID, (0, 0)) == (500_000, 4_983_240, 500_160, 4_983_400)
    assert tile_bounds(GRID, (-1, -1)) == (499_840, 4_983_400, 500_000, 4_983_560)
    assert tile_transform(GRID, (1, 2), 3) == Affine(10, 0, 500_160, 0, -10, 4_983_400 - 320 - 30)
    assert tiles_of(GRID, (499_999, 4_983_239, 500_160, 4_983_400)) == [(-1, 0), (0, 0), (-1, 1), (0, 1)]


def test_rasters_are_aligned_to_a_thousandth_of_a_pixel():
    reference = from_origin(0, 0, 10, 10)
    assert find_offset(reference, from_origin(-20, 30, 10, 10), (5, 5)) == (-2, -3)
    assert find_offset(reference, from_origin(0.02, 0, 10, 10), (5, 5)) is None
    assert find_offset(reference, from_origin(0, 0, 10.01, 10), (5, 5)) is None
    assert find_offset(reference, Affine(10, 1, 0, 0, -10, 0), (5, 5)) is None


def test_values_outside_scenes_and_where_no_scene_has_data(tmp_path):
    a = write_scene(tmp_path, "A", [[1, N], [N, 2]])
    b = write_scene(tmp_path, "B", [[3, N], [3, N]], x=500_010, day=6)
    got = compose_one(tmp_path, [a, b])
    assert got[:3, :4].tolist() == [[1, 3, N, U], [N, 3, N, U], [U, U, U, U]]
    assert (got[3:] == U).all()


def test_newest_is_the_latest_valid_scene(tmp_path):
    old = write_scene(tmp_path, "B", [[1, 1, N]], day=5)
    new = write_scene(tmp_path, "A", [[2, N, N]], day=6)
    assert compose_one(tmp_path, [new, old])[0, :3].tolist() == [2, 1, N]


def test_least_cloudy_takes_unknown_cover_for_overcast_and_then_the_newest(tmp_path):
    clear = write_scene(tmp_path, "clear", [[1, N, N]], day=1, cloud=5.0)
    unknown = write_scene(tmp_path, "unknown", [[2, 2, N]], day=3)
    overcast = write_scene(tmp_path, "overcast", [[3, 3, 3]], day=2, cloud=100.0)
    assert compose_one(tmp_path, [overcast, clear, unknown], "least_cloudy")[0, :3].tolist() == [1, 2, 3]


def test_majority_and_its_ties(tmp_path):
    scenes = [
        write_scene(tmp_path, "A", [[1, 1, 0, N, N]], day=1),
        write_scene(tmp_path, "B", [[1, 2, N, 2, N]], day=2),
        write_scene(tmp_path, "C", [[2, 1, 3, N, N]], day=3),
        write_scene(tmp_path, "D", [[3, 2, N, N, N]], day=4),
    ]
    # Columns: 1 wins 2:1:1; 1 and 2 tie, D is newest; 0 and 3 tie, C is newer than A; one vote; none.
    assert compose_one(tmp_path, scenes, "majority")[0, :6].tolist() == [1, 2, 3, 2, N, U]


def test_equal_times_go_to_the_greater_scene_id(tmp_path):
    a, b = write_scene(tmp_path, "A", [[1]]), write_scene(tmp_path, "B", [[2]])
    for rule in ("newest", "least_cloudy", "majority"):
        assert compose_one(tmp_path, [a, b], rule)[0, 0] == compose_one(tmp_path, [b, a], rule)[0, 0] == 2


@given(data=st.data(), rule=st.sampled_from(["newest", "least_cloudy", "majority"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_inputs_never_changes_a_byte(tmp_path, data, rule):
    scenes = [
        write_scene(
            tmp_path,
            f"S{number}",
            data.draw(
                st.lists(
                    st.lists(st.sampled_from([0, 1, 2, N]), min_size=3, max_size=3), min_size=2, max_size=2
                )
            ),
            x=500_000 + 10 * data.draw(st.integers(-2, 15)),
            day=data.draw(st.integers(1, 2)),
            cloud=data.draw(st.sampled_from([None, 10.0, 100.0])),
        )
        for number in range(4)
    ]
    paths = [Path(tmp_path, name) for name in ("one.tif", "two.tif")]
    scenes = [(scene, str(labels)) for scene, labels in scenes]
    compose_tile(GRID, rule, (0, 0), scenes, paths[0])
    compose_tile(GRID, rule, (0, 0), data.draw(st.permutations(scenes)), paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_scenes_on_another_grid_give_each_pixel_the_class_under_its_centre(tmp_path):
    coarse = write_scene(tmp_path, "A", [[1, 2], [3, N]], x=500_004, y=4_983_396, res=20)
    got = compose_one(tmp_path, [coarse])
    assert got[:5, :5].tolist() == [
        [1, 1, 2, 2, U],
        [1, 1, 2, 2, U],
        [3, 3, N, N, U],
        [3, 3, N, N, U],
        [U, U, U, U, U],
    ]


def test_scenes_in_another_crs_are_warped_exactly_whatever_the_strip(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, (60, 60))
    scene = write_scene(tmp_path, "A", labels, x=15.0, y=45.0042, res=0.0001, crs="EPSG:4326")
    grid = GRID.model_copy(update={"tile_size": 48})
    whole = compose_one(tmp_path, [scene], grid=grid)
    monkeypatch.setattr("orthostat.aggregation.compose.STRIP_ROWS", 7)
    assert (compose_one(tmp_path, [scene], grid=grid) == whole).all()
    for row, column in [(5, 5), (20, 30), (33, 40)]:
        x, y = tile_transform(grid, (0, 0)) * (column + 0.5, row + 0.5)
        longitude, latitude = Transformer.from_crs(UTM, 4326, always_xy=True).transform(x, y)
        i, j = int((45.0042 - latitude) / 0.0001), int((longitude - 15.0) / 0.0001)
        assert whole[row, column] == labels[i, j]


def test_a_tile_has_its_grid_nodata_colours_and_meaning(tmp_path):
    scene = write_scene(tmp_path, "A", [[1]])
    compose_one(tmp_path, [scene], tile=(0, 0))
    with rasterio.open(tmp_path / "composite.tif") as file:
        assert file.crs == rasterio.crs.CRS.from_epsg(32633)
        assert file.transform == tile_transform(GRID, (0, 0))
        assert (file.dtypes, file.nodata, file.shape) == (("uint8",), 255, (16, 16))
        assert file.colormap(1)[1] == (0x11, 0x22, 0x33, 255)
        assert file.tags()["UNOBSERVED"] == "254"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_labels_that_are_no_class_raster_are_refused(tmp_path):
    scene, path = write_scene(tmp_path, "A", [[1]])
    with rasterio.open(path, "r+") as file:
        file.nodata = 0
    with pytest.raises(GridError, match=r"nodata 0.0, needed is one uint8 band with nodata 255; predict"):
        compose_one(tmp_path, [(scene, path)])


def make_zones(*geometries, crs=UTM):
    """Boundaries, with the name of the file that would hold them."""
    ids = tuple("abcdefgh"[: len(geometries)])
    zones = ZoneSet(ids, ids, (None,) * len(ids), np.array(geometries, dtype=object), CRS(crs))
    return "boundaries.parquet", Boundaries(zones, zones)


def test_work_holds_the_tiles_that_scenes_and_zones_share_and_only_their_scenes():
    pipeline = make_pipeline(grid=GRID.model_dump())
    west = make_prediction("W", shape=(16, 32))
    far = make_prediction("F", shape=(16, 32), transform=(10.0, 0.0, 510_000.0, 0.0, -10.0, 4_983_400.0))
    zones = make_zones(box(500_170, 4_983_300, 500_900, 4_983_350))
    planned = plan_work(pipeline, "2024-01", [("s3://w", west), ("s3://f", far)], zones)
    [work] = planned.works
    assert [task.tile for task in work.tiles] == [(1, 0)]
    assert (work.item_uris, work.tiles) == (("s3://w",), tuple(planned.tasks))
    assert planned == plan_work(pipeline, "2024-01", [("s3://f", far), ("s3://w", west)], zones)
    assert TileWork.model_validate(work.model_dump(mode="json")) == work


def test_no_scene_and_no_zone_in_reach_make_no_work():
    pipeline = make_pipeline(grid=GRID.model_dump())
    zones = make_zones(box(0, 0, 1, 1))
    assert plan_work(pipeline, "2024-01", [], zones) == ([], [])
    assert plan_work(pipeline, "2024-01", [("s3://w", make_prediction("W"))], zones) == ([], [])


def test_tiles_are_shared_evenly_among_at_most_max_pods():
    pipeline = make_pipeline(grid=GRID.model_dump(), max_pods=3)
    scene = make_prediction("W", shape=(160, 160))
    zones = make_zones(box(500_000, 4_980_000, 510_000, 4_983_400))
    planned = plan_work(pipeline, "2024-01", [("s3://w", scene)], zones)
    assert [len(work.tiles) for work in planned.works] == [33, 33, 34]
    assert len({task.tile for work in planned.works for task in work.tiles}) == 100
    assert len(planned.tasks) == 100


def test_what_is_there_is_not_computed_again():
    """A tile that is composed but not tabulated is still to do; the period still consists of all."""
    pipeline = make_pipeline(grid=GRID.model_dump())
    scene = make_prediction("W", shape=(16, 48))
    zones = make_zones(box(500_000, 4_983_240, 500_480, 4_983_400))
    items = [("s3://w", scene)]
    first, second, third = plan_work(pipeline, "2024-01", items, zones).tasks
    there = {first.tile_uri, first.tabulation_uri, second.tile_uri}
    planned = plan_work(pipeline, "2024-01", items, zones, there)
    assert [work.tiles for work in planned.works] == [(second, third)]
    assert planned.tasks == [first, second, third]


def test_predictions_of_different_classes_are_refused():
    other = make_prediction("B", classes=(LabelClass(0, "water", "0000FF"),))
    with pytest.raises(GridError, match=r"scene B has the classes .* compose predictions of one model only"):
        plan_work(make_pipeline(), "2024-01", [("a", make_prediction("A")), ("b", other)], make_zones())
    large = make_prediction("B", classes=(LabelClass(254, "water", "0000FF"),))
    with pytest.raises(GridError, match="class id 254 of scene B is over the limit 253"):
        plan_work(make_pipeline(), "2024-01", [("b", large)], make_zones())


def test_a_grid_that_is_not_defined_where_the_zones_are_is_refused():
    pipeline = make_pipeline(grid={"crs": "EPSG:3035", "resolution_m": 10, "tile_size": 512})
    zones = make_zones(box(-1e9, -1e9, 1e9, 1e9), crs="EPSG:3035")
    scene = make_prediction("A", crs="EPSG:3035", transform=(10.0, 0.0, 9e8, 0.0, -10.0, 9e8))
    with pytest.raises(GridError, match="not defined everywhere"):
        plan_work(pipeline, "2024-01", [("a", scene)], zones)


def test_compose_writes_through_s3_and_leaves_finished_tiles_alone(tmp_path, s3_bucket):
    scene, path = write_scene(tmp_path, "A", np.ones((16, 20)))
    storage.upload(path, f"{s3_bucket}/labels.tif")
    scene = replace(scene, files={"labels.tif": File(f"{s3_bucket}/labels.tif", "ab" * 32)})
    storage.write_json(f"{s3_bucket}/item.json", to_stac(scene))
    done, missing = (
        TileTask(tile=(column, 0), tile_uri=f"{s3_bucket}/{column}.tif", tabulation_uri="none")
        for column in (0, 1)
    )
    work = TileWork(
        period="2024-01",
        grid=GRID,
        rule="newest",
        boundaries_uri="none",
        item_uris=(f"{s3_bucket}/item.json",),
        tiles=(done, missing),
    )
    storage.write_bytes(done.tile_uri, b"finished")
    compose(work)
    assert storage.read_bytes(done.tile_uri) == b"finished"
    first = storage.read_bytes(missing.tile_uri)
    with rasterio.MemoryFile(first) as memory, memory.open() as file:
        assert (file.read(1)[:, :4] == 1).all()
        assert (file.read(1)[:, 4:] == U).all()
    storage.delete(missing.tile_uri)
    compose(work)
    assert storage.read_bytes(missing.tile_uri) == first


def test_a_run_over_many_periods_has_no_more_pods_than_one_over_few():
    task = TileTask(tile=(0, 0), tile_uri="s3://t", tabulation_uri="s3://u", objects_uri=None)
    months = [make_work(f"{1900 + n // 12}-{n % 12 + 1:02d}", task) for n in range(813)]
    shares = share_work(months, 60)
    assert len(shares) == 60
    assert [one for share in shares for one in share.works] == months
    assert {len(share.works) for share in shares} == {13, 14}
    assert share_work(months[:3], 200) == [PodWork(works=tuple(months[:3]))]  # three tiles are worth one pod
    assert share_work([], 200) == []


def make_work(period: str, *tiles: TileTask) -> TileWork:
    return TileWork(
        period=period, grid=GRID, rule="newest", boundaries_uri="s3://z", item_uris=("s3://w",), tiles=tiles
    )
