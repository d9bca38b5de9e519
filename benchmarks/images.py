"""Images for the benchmarks."""

import sys
from pathlib import Path

import numpy as np
import rasterio


def write_image(path: Path, side: int, *, half_empty: bool = False) -> Path:
    """A square uint8 image of patches with noise, tiled, deflated; the right half without data if asked."""
    generator = np.random.default_rng(side)
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(1, 0, 500000, 0, -1, 4983400),
        "nodata": 0,
        "tiled": True,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        for top in range(0, side, 256):
            rows = min(256, side - top)
            patches = generator.integers(20, 230, (3, rows // 32 + 1, side // 32 + 1))
            strip = patches.repeat(32, axis=1).repeat(32, axis=2)[:, :rows, :side]
            strip = np.clip(strip + generator.integers(-15, 16, strip.shape), 1, 255).astype(np.uint8)
            if half_empty:
                strip[:, :, side // 2 :] = 0
            dataset.write(strip, window=((top, top + rows), (0, side)))
    return path


def main() -> None:
    """Write an image: PATH SIDE [half]."""
    path, side, *rest = sys.argv[1:]
    write_image(Path(path), int(side), half_empty=rest == ["half"])


if __name__ == "__main__":
    main()
