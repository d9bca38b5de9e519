"""Objects of overlapping scenes: each one on the ground counts once, wherever seams and tiles lie.

The grid's pixels are 10 m, its tiles 160 m. Places are metres east and south of its corner.
"""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS
from shapely import box

from orthostat.aggregation.boundaries import Boundaries
from orthostat.aggregation.compose import compose
from orthostat.aggregation.detections import read_objects, read_points
from orthostat.aggregation.objects import compose_objects
from orthostat.aggregation.work import plan_work
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import GridError
from orthostat.pipelines.config import Grid
from orthostat.prediction.stac import to_stac
from tests.builders import make_pipeline
from tests.builders_objects import UTM, X, Y, make_sources, write_detections

GRID = Grid(crs=UTM, resolution_m=10, origin=(X, Y), tile_size=16)
ALL = np.zeros((16, 16))


def half(first, last):
    """Observed in the columns from `first` to before `last` of 16."""
    observed = np.full((16, 16), 255)
    observed[:, first:last] = 0
    return observed


def places(scenes, tile=(0, 0), rule="newest", threshold=0.5, grid=GRID):
    """East and south of the objects of a tile."""
    objects = compose_objects(grid, rule, threshold, tile, make_sources(scenes, grid))
    return sorted((round(float(x - X), 6), round(float(Y - y), 6)) for x, y in objects["point"])


def test_of_two_dates_the_newest_has_the_say_where_it_has_data(tmp_path):
    old = write_detections(tmp_path, "A", [(35, 35), (105, 35), (135, 95)], ALL, day=5)
    new = write_detections(tmp_path, "B", [(15, 15), (65, 75)], half(0, 8), day=9)
    # West of 80 m only the new scene's objects count: the old one's at (35, 35) has left.
    assert places([old, new]) == [(15, 15), (65, 75), (105, 35), (135, 95)]
    assert places([new, old]) == places([old, new])


def test_the_least_cloudy_scene_has_the_say_and_majority_is_newest(tmp_path):
    clear = write_detections(tmp_path, "A", [(35, 35)], ALL, day=5, cloud=1.0)
    cloudy = write_detections(tmp_path, "B", [(65, 65)], ALL, day=9, cloud=50.0)
    assert places([clear, cloudy], rule="least_cloudy") == [(35, 35)]
    assert places([clear, cloudy], rule="majority") == places([clear, cloudy]) == [(65, 65)]


def test_an_object_at_a_seam_that_both_scenes_see_counts_once(tmp_path):
    # The new scene wins east of 80 m. Each sees the object in its own part, 1 m apart: 30 / 42 in common.
    old = write_detections(tmp_path, "A", [(79.5, 35, 6, 6, 0, 0.99)], ALL, day=5)
    new = write_detections(tmp_path, "B", [(80.5, 35, 6, 6, 0, 0.7)], half(8, 16), day=9)
    assert places([old, new]) == [(79.5, 35)]  # both on own ground: the surer one
    assert places([old, new], threshold=0.8) == [(79.5, 35), (80.5, 35)]


def test_an_object_at_a_seam_that_each_scene_sees_on_the_others_side_is_not_lost(tmp_path):
    old = write_detections(tmp_path, "A", [(80.5, 35, 6, 6, 0, 0.7)], ALL, day=5)
    new = write_detections(tmp_path, "B", [(79.5, 35, 6, 6, 0, 0.99)], half(8, 16), day=9)
    assert places([old, new]) == [(79.5, 35)]


def test_an_object_on_own_ground_beats_a_surer_one_that_reaches_in(tmp_path):
    old = write_detections(tmp_path, "A", [(81, 35, 6, 6, 1, 0.99)], ALL, day=5)
    new = write_detections(tmp_path, "B", [(80.5, 35, 6, 6, 0, 0.6)], half(8, 16), day=9)
    found = compose_objects(GRID, "newest", 0.5, (0, 0), make_sources([old, new], GRID))
    assert found["class_id"].tolist() == [0]


def test_an_object_that_reaches_into_its_scenes_part_and_that_no_other_saw_counts(tmp_path):
    old = write_detections(tmp_path, "A", [(81, 35), (100, 100)], ALL, day=5)
    new = write_detections(tmp_path, "B", [], half(8, 16), day=9)
    assert places([old, new]) == [(81, 35)]


def test_an_object_that_stays_suppresses_and_one_that_goes_does_not(tmp_path):
    # Three boxes of 20 m, 6 m apart: neighbours have 14 / 26 in common, the outer two 8 / 32.
    first = write_detections(tmp_path, "A", [(79, 35, 20, 20, 0, 0.8)], half(0, 8))
    middle = write_detections(tmp_path, "B", [(85, 35, 20, 20, 0, 0.7)], half(8, 9))
    last = write_detections(tmp_path, "C", [(91, 35, 20, 20, 0, 0.6)], half(9, 16))
    assert places([first, middle, last]) == [(79, 35), (91, 35)]
    surest = write_detections(tmp_path, "B", [(85, 35, 20, 20, 0, 0.9)], half(8, 9))
    assert places([first, surest, last]) == [(85, 35)]


def test_an_object_that_the_edge_of_an_image_cuts_is_the_whole_one_that_another_scene_sees(tmp_path):
    # The new scene ends at 80 m: of the car it sees 4 of 10 m, of another one nothing.
    old = write_detections(tmp_path, "A", [(81, 35, 10, 10), (83, 75)], ALL, day=5)
    new = write_detections(tmp_path, "B", [(78, 35, 4, 10)], np.zeros((16, 8)), day=9)
    assert places([old, new]) == [(81, 35), (83, 75)]
    surer = write_detections(tmp_path, "B", [(78, 35, 4, 10, 0, 0.95)], np.zeros((16, 8)), day=9)
    assert places([old, surer]) == [(78, 35), (83, 75)]
    inland = write_detections(tmp_path, "B", [(78, 35, 4, 10, 0, 0.95)], ALL, day=9)
    small = write_detections(tmp_path, "A", [(81, 35, 10, 10)], half(8, 16), day=10)
    assert places([small, inland]) == [(78, 35), (81, 35)]


def test_neighbours_in_one_scene_never_remove_each_other(tmp_path):
    scene = write_detections(tmp_path, "A", [(35, 35), (36, 35)], ALL)
    assert places([scene]) == [(35, 35), (36, 35)]


def test_an_object_on_a_tiles_border_lies_in_one_tile(tmp_path):
    wide = np.zeros((32, 32))
    scene = write_detections(tmp_path, "A", [(160, 35), (35, 160), (160, 160)], wide)
    tiles = {tile: places([scene], tile) for tile in [(0, 0), (1, 0), (0, 1), (1, 1)]}
    assert tiles == {(0, 0): [], (1, 0): [(160, 35)], (0, 1): [(35, 160)], (1, 1): [(160, 160)]}


def test_a_pair_across_a_tiles_border_counts_in_one_of_the_tiles(tmp_path):
    old = write_detections(tmp_path, "A", [(159.5, 35, 6, 6, 0, 0.99)], np.zeros((16, 32)), day=5)
    new = write_detections(tmp_path, "B", [(160.5, 35, 6, 6, 0, 0.7)], ALL, x=160, day=9)
    assert (places([old, new], (0, 0)), places([old, new], (1, 0))) == ([(159.5, 35)], [])


def test_a_box_beyond_the_edge_of_its_image_lies_in_the_outermost_pixel(tmp_path):
    scene = write_detections(tmp_path, "A", [(163, 35, 10, 10)], ALL)
    assert places([scene]) == [(155, 35)]
    assert places([scene], (1, 0)) == []


def test_an_object_where_its_own_scene_has_no_data_does_not_count(tmp_path):
    scene = write_detections(tmp_path, "A", [(35, 35), (120, 35)], half(0, 8))
    assert places([scene]) == [(35, 35)]


def test_scenes_in_other_systems_are_compared_in_the_grids(tmp_path):
    here = write_detections(tmp_path, "A", [(35, 35, 6, 6, 0, 0.8), (65, 65)], ALL, day=5)
    degrees = write_detections(tmp_path, "B", [(35.2, 35, 6, 6, 0, 0.9)], half(0, 4), day=9, crs="EPSG:4326")
    zone34 = write_detections(tmp_path, "C", [(120, 120)], half(8, 16), day=9, crs="EPSG:32634")
    found = places([here, degrees, zone34])
    assert found == [pytest.approx(place, abs=1e-3) for place in [(35.2, 35), (65, 65), (120, 120)]]


def test_objects_too_large_for_the_tiles_are_refused(tmp_path):
    scene = write_detections(tmp_path, "A", [(35, 35, 120, 120)], ALL)
    with pytest.raises(GridError, match=r"objects of up to 120.0 m reach too far for tiles of 160.0 m"):
        places([scene])


def test_a_file_without_rectangles_is_refused(tmp_path):
    scene = write_detections(tmp_path, "A", [(35, 35)], ALL)
    path = Path(scene.files["detections.parquet"].href)
    frame = gpd.read_parquet(path)
    frame.assign(geometry=frame.centroid.buffer(1)).to_parquet(path)
    with pytest.raises(GridError, match=r"scene A are not all rectangles; predict the scene again"):
        read_objects(scene, path, GRID)
    path.write_bytes(b"no table")
    with pytest.raises(GridError, match=r"detections of scene A cannot be read .* predict the scene again"):
        read_objects(scene, path, GRID)


coordinate = st.integers(0, 3200).map(lambda decimetres: decimetres / 10)
boxes = st.lists(
    st.tuples(
        coordinate,
        coordinate,
        st.sampled_from([6.0, 9.0, 14.0]),
        st.sampled_from([6.0, 9.0, 14.0]),
        st.integers(0, 1),
        st.sampled_from([0.5, 0.7, 0.9]),
    ),
    max_size=25,
)


@given(data=st.data(), threshold=st.sampled_from([0.2, 0.5]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_four_tiles_hold_the_objects_of_one_large_tile_in_any_order_of_scenes(tmp_path, data, threshold):
    scenes = []
    shared = data.draw(boxes)
    for number in range(4):
        moved = data.draw(st.sampled_from([-1.0, 0.0, 1.5]))
        seen = [(east + moved, south, *rest) for east, south, *rest in shared] + data.draw(boxes)
        observed = np.zeros((32, 32))
        observed[:, : data.draw(st.integers(0, 24))] = 255
        observed[data.draw(st.integers(8, 31)) :] = 255
        day = data.draw(st.integers(1, 3))
        scenes.append(write_detections(tmp_path, f"S{number}", seen, observed, day=day))
    large = GRID.model_copy(update={"tile_size": 32})
    whole = places(scenes, grid=large, threshold=threshold)
    shuffled = data.draw(st.permutations(scenes))
    tiles = [(column, row) for column in (0, 1) for row in (0, 1)]
    assert whole == sorted(place for tile in tiles for place in places(shuffled, tile, threshold=threshold))


inland = st.integers(300, 2900).map(lambda decimetres: decimetres / 10)


def compose_by_hand(scenes, threshold):
    """What the rules say, pixel by pixel and pair by pair, for scenes of one extent."""
    ranked = sorted(scenes, key=lambda scene: (scene.acquired, scene.scene_id))
    rasters = {scene.scene_id: rasterio.open(scene.labels.href).read(1) for scene in ranked}
    winner = {
        (row, column): scene.scene_id
        for scene in ranked
        for row, column in np.argwhere(rasters[scene.scene_id] == 0).tolist()
    }
    candidates = []
    for scene in scenes:
        frame = gpd.read_parquet(scene.files["detections.parquet"].href)
        for shape, class_id, score in zip(frame.geometry, frame["class_id"], frame["score"], strict=True):
            west, south, east, north = shape.bounds
            own = winner.get((int((Y - (south + north) / 2) // 10), int(((west + east) / 2 - X) // 10)))
            touched = {
                winner.get((row, column))
                for row in range(32)
                for column in range(32)
                if west < X + 10 * column + 10 and east > X + 10 * column
                if south < Y - 10 * row and north > Y - 10 * row - 10
            }
            if scene.scene_id in touched:
                key = (own != scene.scene_id, -score, scene.scene_id, north, east, south, west, class_id)
                candidates.append((key, scene.scene_id, shape))
    kept = []
    for _, scene_id, shape in sorted(candidates, key=lambda candidate: candidate[0]):
        rivals = [other for other_id, other in kept if other_id != scene_id]
        if all(shape.intersection(o).area / shape.union(o).area <= threshold for o in rivals):
            kept.append((scene_id, shape))
    return sorted((round(s.centroid.x - X, 6), round(Y - s.centroid.y, 6)) for _, s in kept)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_rules_hold_pixel_by_pixel_and_pair_by_pair(tmp_path, data):
    places_of = st.lists(st.tuples(inland, inland, st.just(14.0), st.just(14.0)), max_size=8)
    shared, scenes = data.draw(places_of), []
    for number in range(3):
        moved = data.draw(st.sampled_from([-2.0, 0.0, 3.0]))
        seen = [(east + moved, *rest) for east, *rest in shared] + data.draw(places_of)
        scores = data.draw(st.permutations([0.5 + place / 100 for place in range(len(seen))]))
        boxes_of = [(*place, 0, score) for place, score in zip(seen, scores, strict=True)]
        observed = np.zeros((32, 32))
        observed[:, : data.draw(st.integers(0, 24))] = 255
        scenes.append(
            write_detections(tmp_path, f"S{number}", boxes_of, observed, day=data.draw(st.integers(1, 3)))
        )
    large = GRID.model_copy(update={"tile_size": 32})
    assert places(scenes, grid=large) == compose_by_hand(scenes, 0.5)


def test_compose_writes_each_object_once_whatever_pod_composes_its_tile(tmp_path):
    old = write_detections(tmp_path, "A", [(35, 35), (159.5, 35, 6, 6, 0, 0.99)], np.zeros((16, 32)), day=5)
    new = write_detections(tmp_path, "B", [(160.5, 35), (250, 35, 6, 6, 1)], ALL, x=160, day=9)
    items = {}
    for scene in (old, new):
        items[str(tmp_path / f"{scene.scene_id}.json")] = scene
        (tmp_path / f"{scene.scene_id}.json").write_text(json.dumps(to_stac(scene)))
    area = np.array([box(X + 10, Y - 150, X + 150, Y - 10)], dtype=object)
    zones = ZoneSet(("z",), ("z",), (None,), area, CRS(UTM))
    pipeline = make_pipeline("s3://none", grid=GRID.model_dump()).model_copy(update={"output": str(tmp_path)})
    boundaries = "none", Boundaries(zones, zones)
    [work] = plan_work(pipeline, "2024-01", list(items.items()), boundaries).works
    [first] = work.tiles
    assert (work.merge_threshold, first.tile) == (0.5, (0, 0))
    # B, which only touches the next tile, has a say in this one.
    assert work.item_uris == tuple(sorted(items))
    second = first.model_copy(
        update={"tile": (1, 0), "tile_uri": f"{tmp_path}/1.tif", "objects_uri": f"{tmp_path}/1.parquet"}
    )
    compose(work.model_copy(update={"tiles": (first, second)}))
    bytes_of_first = Path(first.objects_uri).read_bytes()
    frame = gpd.read_parquet(first.objects_uri)
    assert frame.columns.tolist() == ["class_id", "class_name", "score", "scene_id", "x", "y", "geometry"]
    assert frame[["class_name", "score", "scene_id", "x"]].values.tolist() == [
        ["car", 0.99, "A", X + 159.5],
        ["car", 0.9, "A", X + 35],
    ]
    points, class_ids = read_points(second.objects_uri)
    assert (points.tolist(), class_ids.tolist()) == ([[X + 250, Y - 35]], [1])
    alone = first.model_copy(update={"tile_uri": f"{tmp_path}/0.tif", "objects_uri": f"{tmp_path}/0.parquet"})
    compose(work.model_copy(update={"tiles": (alone,)}))
    assert Path(alone.objects_uri).read_bytes() == bytes_of_first
