"""Zones files: what is read, what is refused, and borders that stay where they are."""

import zipfile
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from orthostat.aggregation.areas import measure_polygons
from orthostat.aggregation.borders import cut_edges, project_zones
from orthostat.aggregation.zones import ZoneSet, read_zones
from orthostat.errors import StorageError, ZonesError

ROOT = Path(__file__).parents[2]
BOXES = [shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1), shapely.box(0, 0, 2, 1)]


def write(path, ids=("b", "a", "c"), geometries=BOXES, crs="EPSG:4326", **columns):
    frame = gpd.GeoDataFrame({"code": list(ids), **columns}, geometry=list(geometries), crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return str(path)


@pytest.mark.parametrize("name", ["zones.gpkg", "zones.geojson", "zones.parquet", "zones.shp"])
def test_every_format_gives_the_same_zones_in_the_order_of_ids(tmp_path, name):
    zones = read_zones(write(tmp_path / name, parent=["c", "c", None]), "code", parent_column="parent")
    assert zones.ids == zones.names == ("a", "b", "c")
    assert zones.parents == ("c", "c", None)
    assert shapely.equals(zones.geometries, [BOXES[1], BOXES[0], BOXES[2]]).all()
    assert zones.crs.equals(CRS("EPSG:4326"), ignore_axis_order=True)


def test_zipped_shapefile(tmp_path):
    write(tmp_path / "zones.shp")
    with zipfile.ZipFile(tmp_path / "zones.zip", "w") as archive:
        for path in tmp_path.glob("zones.[!z]*"):
            archive.write(path, path.name)
    assert read_zones(str(tmp_path / "zones.zip"), "code").ids == ("a", "b", "c")


def test_numeric_ids_and_parents_are_texts_without_decimals(tmp_path):
    uri = write(tmp_path / "z.gpkg", ids=[2, 1, 10], parent=[10.0, 10.0, np.nan])
    zones = read_zones(uri, "code", parent_column="parent")
    assert zones.ids == ("1", "10", "2")
    assert zones.parents == ("10", None, "10")


BOWTIE = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ["a", "a", "b"]}, "1 code value.* more than once: a; dissolve"),
        ({"ids": ["a", None, "b"]}, r"1 zone\(s\) have no code, 0 are allowed; give rows 1"),
        ({"geometries": [BOWTIE, *BOXES[1:]]}, r"'b': Self-intersection\[0.5 0.5\].*repair"),
        ({"geometries": [None, *BOXES[1:]]}, "'b': no geometry"),
        ({"geometries": [shapely.Point(0, 0), *BOXES[1:]]}, "'b': a Point, no polygon"),
        ({"crs": None}, "has no coordinate system"),
        ({"ids": [], "geometries": [], "parent": []}, "has no zones, at least 1"),
        ({"parent": ["x", None, None]}, r"no zone has the parent id\(s\) x"),
        ({"parent": ["a", "b", None]}, "is part of itself"),
    ],
)
def test_bad_zones_are_refused_with_ids_and_cure(tmp_path, changes, message):
    columns = {"parent": [None, None, None], **changes}
    with pytest.raises(ZonesError, match=message):
        read_zones(write(tmp_path / "z.parquet", **columns), "code", parent_column="parent")


def test_missing_columns_and_files_and_files_of_another_kind_are_refused(tmp_path):
    uri = write(tmp_path / "z.gpkg")
    with pytest.raises(ZonesError, match=r"no column \['id', 'title'\], it has \['code'\]"):
        read_zones(uri, "id", name_column="title")
    (tmp_path / "text.gpkg").write_text("no zones")
    (tmp_path / "text.parquet").write_text("no zones")
    for name in ("text.gpkg", "text.parquet"):
        with pytest.raises(ZonesError, match="cannot be read as zones"):
            read_zones(str(tmp_path / name), "code")
    with pytest.raises(StorageError, match="no file"):
        read_zones(str(tmp_path / "none.gpkg"), "code")


def test_a_geopackage_of_several_layers_is_refused(tmp_path):
    frame = gpd.GeoDataFrame({"code": ["a"]}, geometry=BOXES[:1], crs="EPSG:4326")
    frame.to_file(tmp_path / "z.gpkg", layer="one")
    frame.to_file(tmp_path / "z.gpkg", layer="two")
    with pytest.raises(ZonesError, match=r"layers \['one', 'two'\], exactly 1"):
        read_zones(str(tmp_path / "z.gpkg"), "code")


def test_a_layer_in_s3(s3_bucket):
    from orthostat import storage

    feature = {"type": "Feature", "properties": {"code": 7}, "geometry": shapely.geometry.mapping(BOXES[0])}
    storage.write_json(f"{s3_bucket}/z.geojson", {"type": "FeatureCollection", "features": [feature]})
    assert read_zones(f"{s3_bucket}/z.geojson", "code").ids == ("7",)


def test_straight_borders_stay_where_they_are_on_the_ground(tmp_path):
    utm = CRS("EPSG:32631")
    zones = read_zones(
        write(tmp_path / "z.geojson", geometries=[shapely.box(0, 50, 3, 51)], ids=["a"]), "code"
    )
    projected = project_zones(zones, utm, pixel_size=30).geometries[0]
    transformer = Transformer.from_crs(4326, utm, always_xy=True)
    along = [shapely.Point(*transformer.transform(x, y)) for x in np.linspace(0, 3, 101) for y in (50, 51)]
    assert max(projected.boundary.distance(point) for point in along) < 1e-5 * 30 + 1e-6
    corners_only = shapely.transform(zones.geometries[0], transformer.transform, interleaved=False)
    assert max(corners_only.boundary.distance(point) for point in along) > 1000
    assert len(projected.exterior.coords) < 20_000


def test_children_still_fill_their_parent_after_projection(tmp_path):
    uri = write(
        tmp_path / "z.geojson",
        geometries=[shapely.box(0, 50, 1, 51), shapely.box(1, 50, 3, 51), shapely.box(0, 50, 3, 51)],
    )
    a, b, whole = shapely.area(project_zones(read_zones(uri, "code"), CRS("EPSG:32631"), 30).geometries)
    assert a + b == pytest.approx(whole, rel=1e-7)


def test_zones_that_the_system_cannot_show_are_refused(tmp_path):
    uri = write(tmp_path / "z.geojson", geometries=[shapely.box(80, -10, 100, 10)], ids=["far"])
    with pytest.raises(ZonesError, match="zone 'far' cannot be shown in WGS 84 / UTM zone 31N"):
        project_zones(read_zones(uri, "code"), CRS("EPSG:32631"), 30)


@pytest.mark.parametrize("x", [0.7, 1.1, 1.3, 2.9])
def test_a_hole_that_touches_the_border_is_still_a_valid_zone_after_projection(tmp_path, x):
    hole = [(x, 50), (x + 0.05, 50.5), (x - 0.05, 50.5)]
    zone = shapely.Polygon([(0, 50), (3, 50), (3, 51), (0, 51)], [hole])
    zones = read_zones(write(tmp_path / "z.gpkg", geometries=[zone], ids=["a"]), "code")
    projected = project_zones(zones, CRS("EPSG:32631"), 30).geometries[0]
    whole = project_zones(
        replace(zones, geometries=np.array([shapely.box(0, 50, 3, 51)])), CRS("EPSG:32631"), 30
    )
    filled = project_zones(
        replace(zones, geometries=np.array([shapely.Polygon(hole)])), CRS("EPSG:32631"), 30
    )
    assert projected.is_valid
    assert projected.area + filled.geometries[0].area == pytest.approx(whole.geometries[0].area, rel=1e-7)


def test_swapped_axes_are_found_by_their_latitudes(tmp_path):
    uri = write(tmp_path / "z.gpkg", geometries=[shapely.box(45, 100, 46, 101), *BOXES[1:]])
    with pytest.raises(ZonesError, match="zone 'b' reaches latitude 101, the limit is 90; its axes"):
        read_zones(uri, "code")


def test_a_zone_drawn_around_the_earth_is_refused_and_one_of_the_whole_earth_is_not(tmp_path):
    wrong = shapely.Polygon([(179.99, 0), (-179.99, 0), (-179.99, 0.02), (179.99, 0.02)])
    uri = write(tmp_path / "z.gpkg", geometries=[wrong, *BOXES[1:]])
    with pytest.raises(ZonesError, match=r"'b' has an edge .*, 359.98 degrees around .*; split it at 180"):
        read_zones(uri, "code")
    world = shapely.box(-180, -90, 180, 90)
    assert read_zones(write(tmp_path / "w.gpkg", geometries=[world, *BOXES[1:]]), "code").ids[1] == "b"


def test_a_zone_split_at_the_antimeridian_is_whole_in_utm():
    halves = shapely.MultiPolygon([shapely.box(179.99, 0, 180, 0.02), shapely.box(-180, 0, -179.99, 0.02)])
    zones = ZoneSet(("z",), ("z",), (None,), np.array([halves]), CRS(4326))
    [found] = project_zones(zones, CRS(32660), 10).geometries
    assert found.area == pytest.approx(2226 * 2211, rel=5e-3)


def test_a_border_that_the_target_tears_apart_is_refused_at_once():
    """Two kilometres across the antimeridian in UTM 60, asked for in degrees."""
    across = shapely.box(833_000, 0, 835_000, 2_000)
    zones = ZoneSet(("z",), ("z",), (None,), np.array([across]), CRS(32660))
    with pytest.raises(ZonesError, match=r"zone 'z' cannot be shown in WGS 84 .*torn apart"):
        project_zones(zones, CRS(4326), 1e-4)


def test_a_zone_with_a_spike_keeps_its_area_when_its_edges_are_cut():
    """Of this one, a piece of a province beside a hexagon, shapely's segmentize leaves less than 1 m2."""
    frame = gpd.read_file(ROOT / "demo/landsat/zones.gpkg").set_index("zone_id")
    zone = frame.geometry["PY-5-R"]
    assert zone.is_valid
    assert shapely.segmentize(zone, 0.005).area < 1e-6 * zone.area
    for step in (0.1, 0.005, 0.001):
        cut = cut_edges(zone, step)
        assert cut.area == pytest.approx(zone.area, rel=1e-12)
        assert cut.length == pytest.approx(zone.length, rel=1e-12)
        points = shapely.get_coordinates(cut)
        assert np.hypot(*np.diff(points, axis=0).T).max() <= step * (1 + 1e-9)
    zones = ZoneSet(("z",), ("z",), (None,), np.array([zone], dtype=object), CRS(4326))
    projected = project_zones(zones, CRS(32621), 30)
    [there] = measure_polygons(projected.crs, projected.geometries)
    [here] = measure_polygons(zones.crs, zones.geometries)
    assert there == pytest.approx(here, rel=1e-8)


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=9), st.floats(0.5, 200)
)
def test_cut_edges_are_the_same_border(corners, step):
    zone = shapely.convex_hull(shapely.MultiPoint(corners))
    if zone.geom_type != "Polygon" or zone.area < 1:
        return
    holed = zone - shapely.Point(zone.centroid).buffer(0.1)
    cut = cut_edges(holed, step)
    assert cut.area == pytest.approx(holed.area, rel=1e-9)
    assert cut.length == pytest.approx(holed.length, rel=1e-9)
    assert cut.hausdorff_distance(holed) < 1e-9
