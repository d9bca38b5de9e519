"""The zones of the demo's first pipeline are what their script makes, and add up to their provinces."""

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from demo.landsat.zones import CRS, make_hexagons, make_zones, read_footprint
from orthostat.aggregation.hierarchy import read_pipeline_zones
from orthostat.pipelines.load import load_pipeline

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "demo/landsat"


def test_the_zones_are_made_of_the_provinces_and_the_scenes() -> None:
    made = make_zones(gpd.read_file(FOLDER / "provinces.gpkg"), make_hexagons(read_footprint()))
    kept = gpd.read_file(FOLDER / "zones.gpkg")
    assert kept["zone_id"].tolist() == made["zone_id"].tolist()
    differences = shapely.symmetric_difference(kept.geometry.to_numpy(), made.geometry.to_numpy())
    assert shapely.area(differences).max() < 1e-9


def test_hexagons_and_rest_make_up_their_province() -> None:
    zones = load_pipeline(ROOT / "config/pipelines/landsat.yaml").zones
    found = read_pipeline_zones(zones.model_copy(update={"uri": str(FOLDER / "zones.gpkg")})).to_frame()
    flat = found.to_crs(CRS)
    for parent in flat["zone_id"][flat["parent_id"].isna()]:
        parts = flat.geometry[flat["parent_id"] == parent]
        whole = flat.geometry[flat["zone_id"] == parent].item()
        assert len(parts)
        assert parts.area.sum() == pytest.approx(whole.area, rel=1e-6)
