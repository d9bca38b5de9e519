"""Class areas per zone, checkable by hand, and the identities that they must fulfil."""

import uuid
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.transform import from_origin
from shapely import box

from orthostat import storage
from orthostat.aggregation import boundaries as boundaries_module
from orthostat.aggregation.areas import measure_polygons
from orthostat.aggregation.borders import project_zones
from orthostat.aggregation.boundaries import project, store_boundaries
from orthostat.aggregation.identities import check_identities
from orthostat.aggregation.keys import TileTask
from orthostat.aggregation.labels import tabulate_labels
from orthostat.aggregation.table import PeriodTable, ZoneAreas, combine, read_table
from orthostat.aggregation.tabulate import measure_values, tabulate
from orthostat.aggregation.work import TileWork
from orthostat.aggregation.zones import ZoneSet
from orthostat.errors import GridError, IdentityError, MissingError, StorageError
from orthostat.layout import Layout
from orthostat.pipelines.config import Grid
from tests.builders import make_pipeline

EQUAL_AREA = "+proj=laea +lat_0=45 +lon_0=15 +x_0=500000 +y_0=4983400 +datum=WGS84"
"""A pixel of the plane is as large on the ground."""
X, Y = 500_000.0, 4_983_400.0
LABELS = [[1, 1, 2], [1, 255, 2], [3, 3, 3]]


def write_labels(path, values, *, x=X, y=Y, res=10.0, crs=EQUAL_AREA, dtype="uint8", nodata=255):
    values = np.asarray(values, dtype=dtype)
    bands = values.reshape((-1, *values.shape[-2:]))
    profile = {"count": len(bands), "dtype": dtype, "nodata": nodata, "crs": crs}
    rows, columns = values.shape[-2:]
    transform = from_origin(x, y, res, res)
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=columns, transform=transform, **profile
    ) as file:
        file.write(bands)
    return str(path)


def make_zones(crs=EQUAL_AREA, **geometries):
    ids = tuple(sorted(geometries))
    shapes = np.array([geometries[zone_id] for zone_id in ids], dtype=object)
    return ZoneSet(ids, ids, (None,) * len(ids), shapes, CRS(crs))


def at(west, south, east, north):
    """A box in pixels from the north-western corner, rows downwards."""
    return box(X + 10 * west, Y - 10 * south, X + 10 * east, Y - 10 * north)


def test_pixels_cut_by_a_border_count_with_their_share(tmp_path):
    zones = make_zones(
        all=at(0, 3, 3, 0),
        halves=at(0.5, 3, 2.5, 0),
        quarter=at(2.5, 0.5, 3, 0),
        triangle=shapely.Polygon([(X, Y), (X + 30, Y), (X, Y - 30)]),
        beyond=at(2, 1, 5, 0),
        outside=at(10, 11, 11, 10),
    )
    areas = tabulate_labels([write_labels(tmp_path / "a.tif", LABELS)], zones)
    assert areas["all"].classes == pytest.approx({1: 300, 2: 200, 3: 300})
    assert areas["all"].zone_area_m2 == pytest.approx(900)
    assert areas["all"].coverage == pytest.approx(8 / 9)
    assert areas["halves"].classes == pytest.approx({1: 200, 2: 100, 3: 200})
    assert areas["quarter"].classes == pytest.approx({2: 25})
    assert areas["triangle"].classes == pytest.approx({1: 300, 2: 50, 3: 50})
    assert areas["triangle"].valid_area_m2 == pytest.approx(400)  # the middle pixel's half is nodata
    assert areas["beyond"].classes == pytest.approx({2: 100})
    assert areas["beyond"].coverage == pytest.approx(1 / 3)
    assert (areas["outside"].classes, areas["outside"].coverage) == ({}, 0.0)


def test_holes_and_parts_of_a_zone(tmp_path):
    zones = make_zones(
        z=shapely.MultiPolygon([at(0, 1, 1, 0), at(2, 3, 3, 2)]), hole=at(0, 3, 3, 0) - at(1, 2, 2, 1)
    )
    areas = tabulate_labels([write_labels(tmp_path / "a.tif", LABELS)], zones)
    assert areas["z"].classes == pytest.approx({1: 100, 3: 100})
    assert areas["hole"].classes == pytest.approx({1: 300, 2: 200, 3: 300})
    assert areas["hole"].coverage == 1.0


def test_nodata_is_what_the_file_says_unless_it_is_given(tmp_path):
    zones = make_zones(z=at(0, 3, 3, 0))
    with_tag = write_labels(tmp_path / "a.tif", LABELS)
    without = write_labels(tmp_path / "b.tif", LABELS, nodata=None)
    assert set(tabulate_labels([with_tag], zones)["z"].classes) == {1, 2, 3}
    assert set(tabulate_labels([without], zones)["z"].classes) == {1, 2, 3, 255}
    assert set(tabulate_labels([with_tag], zones, nodata=3)["z"].classes) == {1, 2, 255}


def test_unobserved_pixels_of_a_composite_are_no_class(tmp_path):
    uri = write_labels(tmp_path / "tile.tif", [[1, 254, 255]])
    zones = make_zones(z=at(0, 1, 3, 0))
    assert set(tabulate_labels([uri], zones)["z"].classes) == {1, 254}
    with rasterio.open(uri, "r+") as file:
        file.update_tags(UNOBSERVED=254)
    assert set(tabulate_labels([uri], zones)["z"].classes) == {1}


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int16", "uint32", "int32", "int64"])
def test_every_integer_type_and_negative_values(tmp_path, dtype):
    low = 7 if dtype.startswith("u") else -7
    uri = write_labels(tmp_path / "a.tif", [[low, 1], [100, 0]], dtype=dtype, nodata=0)
    areas = tabulate_labels([uri], make_zones(z=at(0, 2, 2, 0)))
    assert areas["z"].classes == pytest.approx({low: 100, 1: 100, 100: 100})
    assert list(areas["z"].classes) == sorted(areas["z"].classes)


def test_zones_in_another_system_give_the_same_areas(tmp_path):
    uri = write_labels(tmp_path / "a.tif", np.arange(400).reshape(20, 20) % 3, nodata=None)
    zones = make_zones(z=shapely.Polygon([(X + 11, Y - 3), (X + 180, Y - 40), (X + 90, Y - 177)]))
    there = project_zones(zones, CRS("EPSG:4326"), 1e-6)
    [plain, degrees] = [tabulate_labels([uri], zones)["z"], tabulate_labels([uri], there)["z"]]
    assert degrees.classes == pytest.approx(plain.classes, rel=1e-6)
    assert degrees.zone_area_m2 == pytest.approx(plain.zone_area_m2, rel=1e-6)


@pytest.mark.parametrize(
    ("crs", "longitude", "latitude"),
    [
        ("EPSG:32633", 15.0, 45.0),
        ("EPSG:32633", 22.0, 60.0),  # 7 degrees out: 0.3 % too large in the plane
        ("EPSG:3035", -9.0, 37.0),  # at the edge, and turned
        ("EPSG:3395", 15.0, 60.0),  # 4 times too large in the plane
        ("EPSG:2154", -53.0, 4.0),  # Guiana on the mainland's grid: 60 % too large
    ],
)
def test_areas_are_those_of_the_ellipsoid_wherever_the_raster_lies(tmp_path, crs, longitude, latitude):
    column, row = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    uri = write_labels(tmp_path / "a.tif", np.ones((200, 200)), x=column, y=row, res=100.0, crs=crs)
    zone = shapely.Polygon([(column, row), (column + 20_000, row - 3_000), (column + 7_500, row - 20_000)])
    drawn = shapely.transform(
        shapely.segmentize(zone, 10.0),
        Transformer.from_crs(crs, CRS(crs).geodetic_crs, always_xy=True).transform,
        interleaved=False,
    )
    true = abs(CRS(crs).get_geod().geometry_area_perimeter(drawn)[0])
    found = tabulate_labels([uri], make_zones(crs, z=zone))["z"]
    assert found.zone_area_m2 == pytest.approx(true, rel=1e-8)
    assert found.classes[1] == pytest.approx(true, rel=1e-7)


@pytest.mark.parametrize("res", [0.5, 0.01, 0.0001])
def test_geographic_rasters_are_measured_on_the_ellipsoid(tmp_path, res):
    uri = write_labels(tmp_path / "a.tif", [[1, 1], [2, 2]], x=10, y=50, res=res, crs="EPSG:4326")
    cut = shapely.Polygon(
        [(10, 50), (10 + 2 * res, 50), (10 + 2 * res, 50 - 0.7 * res), (10, 50 - 1.7 * res)]
    )
    zones = make_zones("EPSG:4326", z=box(10, 50 - 2 * res, 10 + 2 * res, 50), cut=cut)
    areas = tabulate_labels([uri], zones)
    north, south = measure_polygons(
        CRS("EPSG:4326"),
        np.array([box(10, 50 - res, 10 + 2 * res, 50), box(10, 50 - 2 * res, 10 + 2 * res, 50 - res)]),
    )
    assert areas["z"].classes == pytest.approx({1: north, 2: south}, rel=1e-9)
    assert south > north
    assert areas["cut"].valid_area_m2 == pytest.approx(areas["cut"].zone_area_m2, rel=2e-6)


def test_ground_pixels_under_several_rasters_count_once_in_any_order(tmp_path):
    a = write_labels(tmp_path / "a.tif", [[1, 1, 255]])
    b = write_labels(tmp_path / "b.tif", [[2, 255, 2]], x=X + 10)
    zones = make_zones(z=at(0, 1, 5, 0))
    both = tabulate_labels([a, b], zones)
    assert both == tabulate_labels([b, a, b], zones)
    # Pixels: 1 of a; b beats a; neither; b; outside.
    assert both["z"].classes == pytest.approx({1: 100, 2: 200})
    assert both["z"].coverage == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x": X + 5},
            r"b.tif has pixels of 10.0 by 10.0 with a corner at \(500005.0.*not on one grid; warp",
        ),
        ({"res": 20.0}, "not on one grid"),
        ({"crs": "EPSG:32634"}, "is in WGS 84 / UTM zone 34N, .*a.tif in .*; warp"),
    ],
)
def test_rasters_on_different_grids_are_refused(tmp_path, changes, message):
    a = write_labels(tmp_path / "a.tif", LABELS)
    b = write_labels(tmp_path / "b.tif", LABELS, **changes)
    with pytest.raises(GridError, match=message):
        tabulate_labels([a, b], make_zones(z=at(0, 1, 1, 0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": "EPSG:3857"}, "Web Mercator"),
        ({"crs": None}, "has no coordinate system"),
        ({"dtype": "float32"}, "holds float32, class ids are integers"),
        ({"values": [LABELS, LABELS]}, "has 2 bands"),
    ],
)
def test_rasters_that_cannot_be_measured_are_refused(tmp_path, changes, message):
    uri = write_labels(tmp_path / "a.tif", **{"values": LABELS, **changes})
    with pytest.raises(GridError, match=message):
        tabulate_labels([uri], make_zones(z=at(0, 1, 1, 0)))


def test_missing_and_broken_rasters_are_refused(tmp_path):
    with pytest.raises(StorageError, match="no file"):
        tabulate_labels([str(tmp_path / "none.tif")], make_zones(z=at(0, 1, 1, 0)))
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(GridError, match=r"text.tif cannot be read as a raster"):
        tabulate_labels([str(tmp_path / "text.tif")], make_zones(z=at(0, 1, 1, 0)))


def test_zones_in_another_system_than_the_labels_never_give_zeros():
    polygons = np.array([at(0, 1, 1, 0)])
    with pytest.raises(GridError, match="project the zones first"):
        measure_values(
            np.ones((1, 1), np.uint8), from_origin(X, Y, 10, 10), CRS(EQUAL_AREA), polygons, CRS(4326)
        )


def test_large_rasters_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("orthostat.aggregation.labels._BLOCK", 7)
    labels = np.random.default_rng(0).integers(0, 3, (30, 40))
    uri = write_labels(tmp_path / "a.tif", labels)
    areas = tabulate_labels([uri], make_zones(z=at(0, 30, 40, 0)))["z"]
    assert areas.classes == pytest.approx({i: 100 * int((labels == i).sum()) for i in range(3)})


GRID = Grid(crs=EQUAL_AREA, resolution_m=10, origin=(X, Y), tile_size=16)


def make_task(root, tile, name="ab"):
    layout = Layout(str(root))
    return TileTask(
        tile=tile,
        tile_uri=layout.tile("2024-01", tile, name),
        tabulation_uri=layout.tabulation("2024-01", tile, name),
    )


def make_work(root, zones, tiles=((0, 0),), grid=GRID):
    """A pod's work and its boundaries, stored."""
    root.mkdir(exist_ok=True)
    zones.to_frame().to_file(root / "zones.gpkg", mode="w")
    columns = {"id_column": "zone_id", "parent_column": "parent_id"}
    pipeline = make_pipeline(
        "s3://none", grid=grid.model_dump(), zones={"uri": str(root / "zones.gpkg"), "version": "1"} | columns
    ).model_copy(update={"output": str(root)})
    boundaries_uri, boundaries = store_boundaries(pipeline)
    work = TileWork(
        period="2024-01",
        grid=grid,
        rule="newest",
        boundaries_uri=boundaries_uri,
        item_uris=(),
        tiles=tuple(make_task(root, tile) for tile in tiles),
    )
    return work, boundaries


def write_tile(task, values, **place):
    Path(task.tile_uri).parent.mkdir(parents=True, exist_ok=True)
    column, row = task.tile
    write_labels(task.tile_uri, values, **({"x": X + 160 * column, "y": Y - 160 * row} | place))


def test_a_period_is_the_sum_of_its_tiles_and_of_what_lies_outside(tmp_path):
    left = np.full((16, 16), 1)
    left[:, 8:] = 254
    right = np.full((16, 16), 255)
    right[:8] = 2
    zones = make_zones(z=at(0, 16, 40, 0), far=at(100, 101, 101, 100))
    work, boundaries = make_work(tmp_path, zones, ((0, 0), (1, 0)))
    for task, values in zip(work.tiles, (left, right), strict=True):
        write_tile(task, values)
    tabulate(work)
    table = read_table(work.tiles, boundaries, GRID)
    zone = table.zone("z")
    assert zone.classes == pytest.approx({1: 8 * 16 * 100, 2: 8 * 16 * 100})
    assert zone.nodata_m2 == pytest.approx(8 * 16 * 100)
    assert zone.unobserved_m2 == pytest.approx(8 * 16 * 100 + 8 * 16 * 100)  # 254, and columns 32 to 40
    assert zone.coverage == pytest.approx(16 / 40)
    assert table.zone("far").unobserved_m2 == pytest.approx(100)
    check_identities(table)
    assert PeriodTable.model_validate(table.model_dump(mode="json")) == table


def test_what_lies_outside_all_tiles_is_measured_on_the_ellipsoid_too(tmp_path):
    """In UTM 7 degrees out, where the plane is 0.6 % too large."""
    x, y = 1_050_000.0, 4_983_400.0
    grid = Grid(crs="EPSG:32633", resolution_m=100, origin=(x, y), tile_size=16)
    zones = make_zones(
        "EPSG:32633", z=box(x, y - 1600, x + 9_000, y), far=box(x, y + 9_000, x + 100, y + 9_100)
    )
    work, boundaries = make_work(tmp_path, zones, grid=grid)
    write_tile(work.tiles[0], np.ones((16, 16)), x=x, y=y, res=100.0, crs="EPSG:32633")
    tabulate(work)
    table = read_table(work.tiles, boundaries, grid)
    check_identities(table, tolerance=1e-8)
    zone = table.zone("z")
    assert zone.classes[1] < 1600**2 / 1.006
    assert zone.unobserved_m2 == pytest.approx(zone.classes[1] * 7400 / 1600, rel=1e-3)


def test_a_tile_that_is_not_tabulated_stops_the_sum(tmp_path):
    work, boundaries = make_work(tmp_path, make_zones(z=at(0, 16, 40, 0)), ((0, 0), (1, 0)))
    write_tile(work.tiles[0], np.ones((16, 16)))
    tabulate(work.model_copy(update={"tiles": work.tiles[:1]}))
    with pytest.raises(MissingError, match=r"there is no file .*/tabulations/1_0-ab.json"):
        read_table(work.tiles, boundaries, GRID)


def test_a_tile_that_is_tabulated_is_left_alone(tmp_path):
    work, _ = make_work(tmp_path, make_zones(z=at(0, 16, 16, 0)))
    storage.write_json(work.tiles[0].tabulation_uri, {"zones": {}})
    tabulate(work)
    assert storage.read_json(work.tiles[0].tabulation_uri) == {"zones": {}}


def test_no_tiles_at_all_leave_everything_unobserved():
    zone = combine({}, project(make_zones(z=at(0, 1, 1, 0)), GRID), GRID).zone("z")
    assert (zone.classes, zone.unobserved_m2, zone.coverage) == ({}, pytest.approx(100), 0.0)


def make_row(zone_id, classes, *, area=1000.0, nodata=0.0, unobserved=0.0, parent=None):
    return ZoneAreas(
        zone_id=zone_id,
        name=zone_id,
        parent_id=parent,
        zone_area_m2=area,
        classes=classes,
        nodata_m2=nodata,
        unobserved_m2=unobserved,
    )


def test_identities_hold_to_a_millionth_of_the_zone():
    check_identities(PeriodTable(zones=(make_row("a", {1: 600.0, 2: 300.0005}, nodata=50, unobserved=50),)))
    table = PeriodTable(zones=(make_row("a", {1: 600.0, 2: 300.002}, nodata=50, unobserved=50),))
    with pytest.raises(
        IdentityError,
        match=r"zone 'a': classes \+ nodata \+ unobserved = 1000.002 m2, its area is 1000.000 m2, difference "
        r"\+0.002 m2, allowed 0.001 m2",
    ):
        check_identities(table)
    check_identities(table, tolerance=1e-5)
    with pytest.raises(IdentityError, match="nan"):
        check_identities(PeriodTable(zones=(make_row("a", {1: float("nan")}),)))


def test_children_must_sum_to_their_parent_in_every_figure():
    parent = make_row("p", {1: 500.0, 2: 500.0})
    left = make_row("l", {1: 500.0}, area=500, parent="p")
    check_identities(PeriodTable(zones=(parent, left, make_row("r", {2: 500.0}, area=500, parent="p"))))
    wrong = make_row("r", {2: 400.0, 3: 100.0}, area=500, parent="p")
    with pytest.raises(IdentityError) as error:
        check_identities(PeriodTable(zones=(parent, left, wrong)))
    assert "2 figure(s)" in str(error.value)
    assert "class 2 is 500.000 m2, its 2 child zones sum to 400.000 m2, difference -100.000" in str(
        error.value
    )
    assert "class 3 is 0.000 m2, its 2 child zones sum to 100.000 m2" in str(error.value)
    with pytest.raises(IdentityError, match=r"zone area is 1000.000 m2, its 1 child zones sum to 500.000 m2"):
        check_identities(PeriodTable(zones=(parent, left)))


corner = st.tuples(st.floats(-8, 40), st.floats(-8, 24))


@given(corners=st.lists(corner, min_size=3, max_size=8), cut=st.floats(-5, 37), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_identities_hold_for_any_zones_and_any_composite(tmp_path, corners, cut, seed):
    whole = shapely.convex_hull(shapely.MultiPoint([(X + 10 * x, Y - 10 * y) for x, y in corners]))
    left = whole & box(X - 1000, Y - 1000, X + 10 * cut, Y + 1000)
    right = whole & box(X + 10 * cut, Y - 1000, X + 1000, Y + 1000)
    if min(shape.area if shape.geom_type == "Polygon" else 0 for shape in (whole, left, right)) < 1:
        return
    zones = ZoneSet(
        ("left", "right", "whole"),
        ("left", "right", "whole"),
        ("whole", "whole", None),
        np.array([left, right, whole], dtype=object),
        CRS(EQUAL_AREA),
    )
    work, boundaries = make_work(tmp_path / str(uuid.uuid4()), zones, ((0, 0), (1, 0)))
    rng = np.random.default_rng(seed)
    for task in work.tiles:
        write_tile(task, rng.choice([0, 1, 2, 254, 255], (16, 16)))
    tabulate(work)
    table = read_table(work.tiles, boundaries, GRID)
    check_identities(table)
    assert all(0 <= zone.coverage <= 1 for zone in table.zones)


def test_a_tabulation_says_what_each_zone_holds_of_the_tile(tmp_path):
    work, _ = make_work(tmp_path, make_zones(z=at(0, 16, 16, 0), far=at(100, 101, 101, 100)))
    write_tile(work.tiles[0], np.ones((16, 16)))
    tabulate(work)
    assert storage.read_json(work.tiles[0].tabulation_uri) == {
        "zones": {"z": {"area_m2": pytest.approx(25600.0), "values": {"1": pytest.approx(25600.0)}}}
    }


def test_zones_of_the_same_bytes_are_read_once_and_others_again(tmp_path, monkeypatch):
    read = []
    read_pipeline_zones = boundaries_module.read_pipeline_zones
    monkeypatch.setattr(
        boundaries_module,
        "read_pipeline_zones",
        lambda zones: read.append(zones) or read_pipeline_zones(zones),
    )
    zones = make_zones(a=at(0, 4, 4, 0), b=at(4, 4, 8, 0))
    work, first = make_work(tmp_path, zones)
    columns = {"id_column": "zone_id", "parent_column": "parent_id", "version": "1"}
    pipeline = make_pipeline(
        "s3://none", grid=GRID.model_dump(), zones={"uri": str(tmp_path / "zones.gpkg"), **columns}
    ).model_copy(update={"output": str(tmp_path)})
    uri, again = store_boundaries(pipeline)
    assert (uri, again.digest(), again.drawn.names) == (
        work.boundaries_uri,
        first.digest(),
        first.drawn.names,
    )
    assert len(read) == 1
    Path(uri).unlink()  # what lies below the output may be removed: it is made again
    assert store_boundaries(pipeline)[1].digest() == first.digest()
    other, changed = make_work(tmp_path, make_zones(a=at(0, 4, 4, 0), b=at(4, 4, 9, 0)))
    assert changed.digest() != first.digest()
    assert other.boundaries_uri != uri
    assert len(read) == 3
