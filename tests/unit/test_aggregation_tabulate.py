"""Class areas per zone, checkable by hand."""

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import CRS, Transformer
from rasterio.transform import from_origin
from shapely import box

from orthostat.aggregation.areas import measure_polygons
from orthostat.aggregation.borders import project_zones
from orthostat.aggregation.labels import tabulate_labels
from orthostat.aggregation.tabulate import measure_values
from orthostat.errors import GridError, StorageError
from tests.builders_tiles import EQUAL_AREA, X, Y, at, make_zones, write_labels

LABELS = [[1, 1, 2], [1, 255, 2], [3, 3, 3]]


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
