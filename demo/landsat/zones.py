"""Make the zones of the demo's first pipeline: provinces, divided into hexagons and what is left of them.

    python -m demo.landsat.zones

writes `demo/landsat/zones.gpkg` from `provinces.gpkg` and the scenes. Two crops of scenes show a few per cent
of a province, so that no figure of one can be published; hexagons of 9 km they show whole, in part or hardly.
"""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import rasterio.features
import shapely

FOLDER = Path(__file__).parent
CRS = "EPSG:32621"
FLAT_M = 9000.0
"""Distance between opposite sides: 70.1 km2."""
CORNER = (739_500.0, -2_810_000.0)
"""Centre of a hexagon, in the middle of the second scene."""
_LEAST_SEEN = 0.5
"""A hexagon of which less is in a scene is left in the rest of its provinces."""
_LEAST_PIECE = 0.05
"""So is a piece of a hexagon that is smaller than this part of it."""


def read_footprint() -> shapely.Geometry:
    """The ground that the scenes show, in CRS."""
    parts = []
    for path in sorted((FOLDER / "scenes").glob("*.tif")):
        with rasterio.open(path) as scene:
            is_valid = (scene.read() != 0).any(axis=0).astype(np.uint8)
            found = rasterio.features.shapes(is_valid, mask=is_valid == 1, transform=scene.transform)
            parts += [shapely.geometry.shape(outline) for outline, _ in found]
    return shapely.union_all(parts)


def make_hexagons(footprint: shapely.Geometry) -> gpd.GeoSeries:
    """The hexagons that the footprint shows by half or more, from north to south and west to east."""
    radius = FLAT_M / np.sqrt(3)
    angles = np.radians(30 + 60 * np.arange(6))
    found = []
    for row in range(9, -10, -1):
        for column in range(-9, 10):
            x = CORNER[0] + FLAT_M * (column + 0.5 * (row % 2))
            y = CORNER[1] + 1.5 * radius * row
            corners = np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])
            hexagon = shapely.Polygon(corners)
            if shapely.area(hexagon & footprint) > _LEAST_SEEN * hexagon.area:
                found.append(hexagon)
    return gpd.GeoSeries(found, crs=CRS)


def make_zones(provinces: gpd.GeoDataFrame, hexagons: gpd.GeoSeries) -> gpd.GeoDataFrame:
    """Columns zone_id, zone_name, part_of, geometry: each province, its pieces of hexagons, and its rest."""
    rows = []
    for province in provinces.itertuples():
        whole, pieces = province.geometry, []
        rows.append((province.zone_id, province.zone_name, None, whole))
        for number, hexagon in enumerate(hexagons.to_crs(provinces.crs), start=1):
            piece = hexagon & whole
            if piece.area > _LEAST_PIECE * hexagon.area:
                pieces.append(piece)
                name = f"H{number:02d} {province.zone_name}"
                rows.append((f"{province.zone_id}-H{number:02d}", name, province.zone_id, piece))
        rest = whole - shapely.union_all(pieces)
        rows.append((f"{province.zone_id}-R", f"Rest of {province.zone_name}", province.zone_id, rest))
    frame = pd.DataFrame(rows, columns=["zone_id", "zone_name", "part_of", "geometry"])
    return gpd.GeoDataFrame(frame, geometry="geometry", crs=provinces.crs)


def main() -> None:
    """Write the zones."""
    provinces = gpd.read_file(FOLDER / "provinces.gpkg")
    zones = make_zones(provinces, make_hexagons(read_footprint()))
    zones.to_file(FOLDER / "zones.gpkg", layer="zones")
    print(f"{len(zones)} zones in {FOLDER / 'zones.gpkg'}")


if __name__ == "__main__":
    main()
