"""Make the demo's aerial scenes, training data, zones and true counts from the wheel of deepforest.

    pip download --no-deps deepforest==2.1.0
    python -m demo.trees.cut deepforest-2.1.0-py3-none-any.whl

The result replaces `demo/trees/{scenes,*.tif,*.gpkg,*.csv}`; it is always the same.
"""

import argparse
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio  # type: ignore[import-untyped]
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

FOLDER = Path(__file__).parent
CRS = "EPSG:32612"
PIXEL_M = 0.1
DAY = "20190701"
"""Nominal: the source says only that the camera flew in 2019."""
QUALITY = 75
"""Of JPEG. The four scenes are 3 MB then; at 90 they would be 4."""
TRAINING = "2019_YELL_2_541000_4977000_image_crop"
COUNTED = "2019_YELL_2_528000_4978000_image_crop2"

# First and last-but-one column and row of each scene. They overlap by 300 pixels, which is three tall crowns,
# and start on whole blocks of 16 pixels, so that JPEG rounds the shared pixels alike.
SCENES = {
    "YELL_A": (0, 0, 1308, 1388),
    "YELL_B": (1008, 0, 2299, 1388),
    "YELL_C": (0, 1088, 1308, 2472),
    "YELL_D": (1008, 1088, 2299, 2472),
}

# Made up: west, south, east, north in metres from EAST, NORTH. The border at 120 m east and the one at 880 m
# north run through the overlaps.
EAST, NORTH = 528000, 4978000
ZONES = {
    "Y1": ("North-west", (0, 880, 120, 1000)),
    "Y2": ("South-west", (0, 750, 120, 880)),
    "Y3": ("North-east", (120, 900, 230, 1000)),
    "Y4": ("Middle east", (120, 800, 230, 900)),
    "Y5": ("South-east", (120, 750, 230, 800)),
}


class Photo(NamedTuple):
    """An aerial image and the crowns that people boxed in it."""

    image: NDArray[np.uint8]
    """(3, rows, columns): red, green, blue."""
    boxes: NDArray[np.int64]
    """(crowns, 4): west, north, east, south in pixels from the upper left corner, from north to south."""
    west: int
    north: int
    """The upper left corner in metres."""

    def to_metres(self, boxes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Boxes in pixels as (boxes, 4): west, south, east, north."""
        west, north, east, south = boxes.T
        x, y = self.west, self.north
        edges = [x + PIXEL_M * west, y - PIXEL_M * south, x + PIXEL_M * east, y - PIXEL_M * north]
        return np.stack(edges, axis=1).round(1)


def read_photo(wheel: Path, name: str) -> Photo:
    """The image `name` of the wheel, put in the north-west corner of the kilometre that its name gives."""
    with zipfile.ZipFile(wheel) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(archive.read(f"deepforest/data/{name}.png")) as file, file.open() as dataset:
            image = dataset.read([1, 2, 3])
        annotation = ElementTree.fromstring(archive.read(f"deepforest/data/{name}.xml"))
    boxes = [
        [int(box.findtext(edge, "")) for edge in ("xmin", "ymin", "xmax", "ymax")]
        for box in annotation.iter("bndbox")
    ]
    boxes.sort(key=lambda box: (box[1], box[0], box[3], box[2]))
    west, south = (int(part) for part in name.split("_")[3:5])
    return Photo(image, np.array(boxes), west, south + 1000)


def write_image(path: Path, photo: Photo, window: tuple[int, int, int, int]) -> None:
    """Write the pixels of `window` (west, north, east, south) as a tiled JPEG GeoTIFF."""
    west, north, east, south = window
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=3,
        height=south - north,
        width=east - west,
        dtype="uint8",
        crs=CRS,
        transform=rasterio.Affine(
            PIXEL_M,
            0,
            round(photo.west + PIXEL_M * west, 1),
            0,
            -PIXEL_M,
            round(photo.north - PIXEL_M * north, 1),
        ),
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="jpeg",
        jpeg_quality=QUALITY,
        photometric="ycbcr",
    ) as dataset:
        dataset.write(photo.image[:, north:south, west:east])


def write_boxes(path: Path, columns: dict[str, list[str]], boxes: NDArray[np.float64 | np.int64]) -> None:
    """Write rectangles (west, south, east, north) as a GeoPackage that does not hold the time of writing."""
    path.unlink(missing_ok=True)  # or the new layer is put behind the old one's pages
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2019-07-01T00:00:00.000Z"})
    try:
        frame = gpd.GeoDataFrame(columns, geometry=shapely.box(*boxes.T), crs=CRS)
        frame.to_file(path, driver="GPKG", engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def assign_zones(crowns: NDArray[np.float64], zones: NDArray[np.int64]) -> list[str]:
    """The zone of each crown's centre; one on a shared border belongs to the zone east or north of it."""
    x, y = ((crowns[:, i] + crowns[:, i + 2]).round(1)[:, None] / 2 for i in (0, 1))
    west, south, east, north = zones.T
    inside = (west <= x) & (x < east) & (south <= y) & (y < north)
    if not (inside.sum(axis=1) == 1).all():
        raise ValueError("The zones leave out a crown or share one. Mend ZONES.")
    return [list(ZONES)[column] for column in inside.argmax(axis=1)]


def main() -> None:
    """Write everything that stands beside this file."""
    parser = argparse.ArgumentParser(prog="python -m demo.trees.cut", description=__doc__)
    parser.add_argument("wheel", type=Path, help="deepforest-2.1.0-py3-none-any.whl")
    wheel = parser.parse_args().wheel

    photo = read_photo(wheel, TRAINING)
    _, rows, columns = photo.image.shape
    write_image(FOLDER / "training.tif", photo, (0, 0, columns, rows))
    crowns = photo.to_metres(photo.boxes)
    write_boxes(FOLDER / "training.gpkg", {"name": ["tree"] * len(crowns)}, crowns)

    photo = read_photo(wheel, COUNTED)
    (FOLDER / "scenes").mkdir(exist_ok=True)
    for scene, window in SCENES.items():
        write_image(FOLDER / "scenes" / f"{scene}_{DAY}.tif", photo, window)
    zones = np.array([EAST, NORTH, EAST, NORTH]) + [box for _, box in ZONES.values()]
    names = [name for name, _ in ZONES.values()]
    write_boxes(FOLDER / "zones.gpkg", {"zone_id": list(ZONES), "zone_name": names}, zones)
    crowns = photo.to_metres(photo.boxes)
    table = pd.DataFrame(crowns, columns=["west", "south", "east", "north"])
    table.insert(0, "zone_id", assign_zones(crowns, zones))
    table.to_csv(FOLDER / "crowns.csv", index=False)
    table.groupby("zone_id").size().rename("count").to_csv(FOLDER / "truth.csv")


if __name__ == "__main__":
    main()
