"""Cut the demo's two scenes out of the given Landsat files.

    python -m demo.landsat.crop SOURCE

SOURCE is the folder of the original bands; the result replaces `demo/landsat/{scenes,*.gpkg}`.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window, from_bounds

FOLDER = Path(__file__).parent
POLYGONS = "LC08_L1TP_224078_20200518_20200518_01_RT_polygons.gpkg"

# West, south, east, north in EPSG:32621 metres, on the scenes' own pixel borders. They overlap, three of the
# four zones meet in the second one, the fourth and a fill edge are in the first.
CROPS = {
    "LC08_L1TP_224077_20200518_20200518_01_RT": (702015.0, -2811615.0, 741015.0, -2799015.0),
    "LC08_L1TP_224078_20200518_20200518_01_RT": (731115.0, -2832615.0, 747915.0, -2788515.0),
}


def read_crop(
    source: Path, scene: str, bounds: tuple[float, float, float, float]
) -> tuple[NDArray[np.uint16], rasterio.Affine]:
    """Bands 2, 3 and 4 inside `bounds` as (3, rows, columns), and their transform."""
    stacked = source / f"{scene}.TIF"
    paths = [stacked] if stacked.exists() else [source / f"{scene}_B{band}.TIF" for band in (2, 3, 4)]
    bands = []
    for path in paths:
        with rasterio.open(path) as dataset:
            window: Window = from_bounds(*bounds, transform=dataset.transform)
            bands.append(dataset.read(window=window))
            transform = dataset.window_transform(window)
    return np.concatenate(bands), transform


def write_cog(path: Path, image: NDArray[np.uint16], transform: rasterio.Affine) -> None:
    """Write the bands as a lossless COG without a nodata tag: fill stays 0, as in the originals."""
    count, rows, columns = image.shape
    with rasterio.open(
        path,
        "w",
        driver="COG",
        count=count,
        height=rows,
        width=columns,
        dtype=image.dtype,
        crs="EPSG:32621",
        transform=transform,
        compress="deflate",
        level=9,
        predictor=2,
        blocksize=256,
        overviews="NONE",
    ) as dataset:
        dataset.write(image)
        for number, name in enumerate(("B2 blue", "B3 green", "B4 red"), start=1):
            dataset.set_band_description(number, name)


def main() -> None:
    """Cut both scenes and copy the two vector files."""
    parser = argparse.ArgumentParser(prog="python -m demo.landsat.crop", description=__doc__)
    parser.add_argument("source", type=Path, help="folder of the original bands, polygons and zones")
    source = parser.parse_args().source
    (FOLDER / "scenes").mkdir(exist_ok=True)
    for scene, bounds in CROPS.items():
        image, transform = read_crop(source, scene, bounds)
        write_cog(FOLDER / "scenes" / f"{scene}.tif", image, transform)
    shutil.copyfile(source / POLYGONS, FOLDER / "training.gpkg")
    shutil.copyfile(source / "zones.gpkg", FOLDER / "provinces.gpkg")


if __name__ == "__main__":
    main()
