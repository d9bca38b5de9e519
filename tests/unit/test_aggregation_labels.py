"""Where rasters and zones lie on the Earth: across the antimeridian, around it, and past each other."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from pyproj import CRS, Geod
from rasterio.transform import from_origin
from shapely import box

from orthostat.aggregation.labels import tabulate_labels
from orthostat.aggregation.table import ZoneAreas
from orthostat.aggregation.zones import ZoneSet, read_zones
from orthostat.errors import GridError, ZonesError

GEOD = Geod(ellps="WGS84")


def write_labels(path: Path, west: float, east: float, pixel: float = 0.1) -> str:
    """Class 1 in degrees, from the equator to 1 degree north, with a corner of nodata."""
    columns, rows = round((east - west) / pixel), round(1 / pixel)
    labels = np.ones((rows, columns), np.uint8)
    labels[0, 0] = 255
    profile = {"count": 1, "dtype": "uint8", "nodata": 255, "crs": "EPSG:4326"}
    transform = from_origin(west, 1.0, (east - west) / columns, pixel)
    with rasterio.open(path, "w", "GTiff", columns, rows, transform=transform, **profile) as file:
        file.write(labels, 1)
    return str(path)


def make_zones(**geometries: Any) -> ZoneSet:
    ids = tuple(geometries)
    return ZoneSet(ids, ids, (None,) * len(ids), np.array(list(geometries.values()), dtype=object), CRS(4326))


def on_earth(geometry: Any) -> float:
    """Area on the ellipsoid; edges along parallels are cut finely."""
    return abs(GEOD.geometry_area_perimeter(shapely.segmentize(geometry, 0.001))[0])


def assert_adds_up(areas: ZoneAreas) -> None:
    parts = [*areas.classes.values(), areas.nodata_m2, areas.unobserved_m2]
    assert sum(parts) == pytest.approx(areas.zone_area_m2, rel=1e-9)


SPLIT = box(179.5, 0.2, 180, 0.8) | box(-180, 0.2, -179.5, 0.8)
"""A zone across the antimeridian as GeoJSON wants it."""
BEYOND = box(179.5, 0.2, 180.5, 0.8)
BEFORE = box(-180.5, 0.2, -179.5, 0.8)


@pytest.mark.parametrize("zone", [SPLIT, BEYOND, BEFORE], ids=["split", "beyond 180", "before -180"])
@pytest.mark.parametrize(
    ("west", "east"), [(179, 181), (-181, -179), (-180, 180), (0, 360)], ids=["+", "-", "globe", "0 to 360"]
)
def test_a_zone_across_the_antimeridian_is_whole_however_it_is_drawn(
    tmp_path: Path, west: float, east: float, zone: Any
) -> None:
    found = tabulate_labels([write_labels(tmp_path / "a.tif", west, east)], make_zones(z=zone))["z"]
    assert found.classes[1] == pytest.approx(on_earth(SPLIT), rel=1e-6)
    assert found.coverage == pytest.approx(1.0)
    assert_adds_up(found)


def test_what_has_no_class_is_told_apart_from_what_has_no_pixel(tmp_path: Path) -> None:
    zones = make_zones(z=box(-0.5, 0.5, 0.5, 1.5))
    found = tabulate_labels([write_labels(tmp_path / "a.tif", 0, 1)], zones)["z"]
    assert found.nodata_m2 == pytest.approx(on_earth(box(0, 0.9, 0.1, 1)), rel=1e-6)
    assert found.classes[1] == pytest.approx(on_earth(box(0, 0.5, 0.5, 1)) - found.nodata_m2, rel=1e-6)
    assert_adds_up(found)


def test_rasters_that_go_around_the_earth_more_than_once_are_refused(tmp_path: Path) -> None:
    uri = write_labels(tmp_path / "a.tif", -190, 190, 0.5)
    with pytest.raises(GridError, match="spans longitudes -190 to 190, the limit is one turn of 360"):
        tabulate_labels([uri], make_zones(z=BEYOND))


def test_a_zone_that_goes_around_the_earth_more_than_once_is_refused(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"id": ["z"]}, geometry=[box(-190, 0, 190, 1)], crs=4326)
    frame.to_file(tmp_path / "z.gpkg")
    with pytest.raises(ZonesError, match="zone 'z' spans 380 degrees of longitude, the limit is 360"):
        read_zones(str(tmp_path / "z.gpkg"), "id")


def test_a_table_without_geometries_is_no_zones_file(tmp_path: Path) -> None:
    (tmp_path / "z.csv").write_text("id,name\n1,a\n")
    with pytest.raises(ZonesError, match="is a table without geometries; give a GeoPackage"):
        read_zones(str(tmp_path / "z.csv"), "id")


def test_zones_and_rasters_that_do_not_meet_are_an_error(tmp_path: Path) -> None:
    uri = write_labels(tmp_path / "a.tif", 10, 11)
    swapped = make_zones(z=box(0.2, 10.2, 0.8, 10.8))
    with pytest.raises(
        ZonesError, match=r"no zone touches the rasters: zones lie within .*10.2.*longitude comes"
    ):
        tabulate_labels([uri], swapped)
    one = tabulate_labels([uri], make_zones(far=box(50, 0, 51, 1), z=box(10.2, 0.2, 10.8, 0.8)))
    assert (one["far"].coverage, one["z"].coverage) == (0.0, pytest.approx(1.0))


def test_a_raster_near_the_end_of_its_projection_needs_no_ground_beyond_it(tmp_path: Path) -> None:
    """Blocks of 2048 pixels of 10 km would reach past the projection; the raster of 40 does not."""
    crs = CRS("ESRI:54009")  # Mollweide
    profile = {"count": 1, "dtype": "uint8", "crs": crs.to_wkt()}
    with rasterio.open(
        tmp_path / "a.tif", "w", "GTiff", 40, 40, transform=from_origin(0, 4e5, 1e4, 1e4), **profile
    ) as file:
        file.write(np.ones((40, 40), np.uint8), 1)
    square = np.array([box(1e5, 1e5, 3e5, 3e5)], dtype=object)
    found = tabulate_labels([str(tmp_path / "a.tif")], ZoneSet(("z",), ("z",), (None,), square, crs))["z"]
    assert found.classes[1] == pytest.approx(4e10, rel=1e-9)  # Mollweide keeps areas
