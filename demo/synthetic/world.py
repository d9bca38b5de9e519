"""Write the synthetic world: what the pipeline sees, and the truth to hold its figures against."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio  # type: ignore[import-untyped]

from demo.synthetic.sample import draw_sample
from demo.synthetic.scenes import write_scenes
from demo.synthetic.truth import PERIODS, make_world, make_zones, truth_areas


def write_world(folder: Path) -> None:
    """Write scenes/, zones.gpkg, sample.csv, strata.csv and truth.csv into `folder`; always the same ones."""
    folder.mkdir(parents=True, exist_ok=True)
    world, zones = make_world(), make_zones()
    write_scenes(folder / "scenes", world)
    _write_zones(folder / "zones.gpkg", zones)
    sample, strata = draw_sample(world, zones)
    sample.to_csv(folder / "sample.csv", index=False)
    strata.to_csv(folder / "strata.csv", index=False)
    rows = [
        (period, zone_id, name, round(area, 3))
        for period, cover in zip(PERIODS, world.months, strict=True)
        for zone_id, areas in truth_areas(cover, zones).items()
        for name, area in areas.items()
    ]
    columns = ["period", "zone_id", "class_name", "area_m2"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "truth.csv", index=False)


def _write_zones(path: Path, zones: gpd.GeoDataFrame) -> None:
    """Write a GeoPackage that does not hold the time of writing."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2024-01-01T00:00:00.000Z"})
    try:
        zones.to_file(path, driver="GPKG", engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
