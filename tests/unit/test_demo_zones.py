"""The zones of the demo's first pipeline are what their script makes, and add up to their provinces."""

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from demo.landsat.zones import CRS, make_hexagons, make_zones, read_footprint
from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.aggregation.zones import read_zones
from orthostat.pipelines.load import load_pipeline
from orthostat.statistics.exports import draw_zones
from orthostat.statistics.maps import draw_map

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "demo/landsat"


def test_the_zones_are_made_of_the_provinces_and_the_scenes() -> None:
    made = make_zones(gpd.read_file(FOLDER / "provinces.gpkg"), make_hexagons(read_footprint()))
    kept = gpd.read_file(FOLDER / "zones.gpkg")
    assert kept["zone_id"].tolist() == made["zone_id"].tolist()
    differences = shapely.symmetric_difference(kept.geometry.to_numpy(), made.geometry.to_numpy())
    assert shapely.area(differences).max() < 1e-9


def test_the_zones_can_be_drawn_whatever_part_of_them_is_shown() -> None:
    """One of them has a spike that crosses itself when its vertices alone are carried to the grid."""
    zones = read_zones(str(FOLDER / "zones.gpkg"), "zone_id", "zone_name", "part_of")
    drawn = draw_zones(zones, CRS)
    assert drawn.geometry.is_valid.all()
    assert not zones.to_frame().to_crs(CRS).geometry.is_valid.all()
    west, south, east, north = read_footprint().bounds
    assert len(drawn.clip(shapely.box(west, south, east, north))) > 20
    rows = [
        {
            "zone_id": zone_id,
            "class_id": 0,
            "class_name": "water",
            "period": "2020-05",
            "indicator": "AREA",
            "method": "MAP_COUNT",
            "area_m2": 1.0 if "H" in zone_id else None,
            "object_count": None,
            "ci_lower_m2": None,
            "zone_area_m2": 9.0,
            "valid_area_m2": 9.0,
            "coverage": 1.0,
            "scene_count": 2,
            "is_simulated": False,
            "release_id": "v1",
            "boundary_version": "1",
            "model_sha256": "0" * 64,
            "sample_id": None,
        }
        for zone_id in zones.ids
    ]
    assert draw_map(rows, drawn, "Made").startswith(b"\x89PNG")


def test_hexagons_and_rest_make_up_their_province() -> None:
    zones = load_pipeline(ROOT / "config/pipelines/landsat.yaml").zones
    found = read_pipeline_zones(zones.model_copy(update={"uri": str(FOLDER / "zones.gpkg")})).to_frame()
    flat = found.to_crs(CRS)
    for parent in flat["zone_id"][flat["parent_id"].isna()]:
        parts = flat.geometry[flat["parent_id"] == parent]
        whole = flat.geometry[flat["zone_id"] == parent].item()
        assert len(parts)
        assert parts.area.sum() == pytest.approx(whole.area, rel=1e-6)
