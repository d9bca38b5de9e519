"""Rasters in S3, of which only what is asked for is fetched."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin
from rasterio.windows import Window

from orthostat import storage
from orthostat.aggregation.windows import open_raster
from orthostat.errors import MissingError


def write_cog(folder: Path, seed: int = 0) -> tuple[Path, np.ndarray]:
    """Noise, which no compression makes small: about 3.5 MB."""
    labels = np.random.default_rng(seed).integers(0, 6, (3000, 3000)).astype(np.uint8)
    profile = {"count": 1, "dtype": "uint8", "nodata": 255, "crs": "EPSG:32633"}
    transform = from_origin(500_000, 4_983_400, 10, 10)
    with rasterio.open(
        folder / "plain.tif", "w", "GTiff", 3000, 3000, transform=transform, **profile
    ) as file:
        file.write(labels, 1)
    rasterio.shutil.copy(
        folder / "plain.tif", folder / "cog.tif", driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=512
    )
    return folder / "cog.tif", labels


def test_a_window_fetches_its_blocks(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, labels = write_cog(tmp_path)
    uri = f"{s3_bucket}/labels.tif"
    storage.upload(path, uri)
    fetched: list[int] = []
    read_range = storage.read_range

    def count(uri: str, start: int, length: int, etag: str) -> bytes:
        fetched.append(length)
        return read_range(uri, start, length, etag)

    monkeypatch.setattr(storage, "read_range", count)
    with open_raster(uri) as remote, rasterio.open(path) as local:
        assert (remote.profile, remote.nodata) == (local.profile, 255)
        window = Window(1100, 2300, 600, 500)
        assert (remote.read(1, window=window) == labels[2300:2800, 1100:1700]).all()
        assert sum(fetched) < 0.5 * path.stat().st_size
        assert (remote.read(1) == labels).all()


def test_a_raster_that_is_missing_or_was_replaced_is_not_read(
    s3_bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = write_cog(tmp_path)
    uri = f"{s3_bucket}/labels.tif"
    with pytest.raises(MissingError, match="there is no object"):
        open_raster(uri)
    storage.upload(path, uri)
    with open_raster(uri) as remote:
        storage.upload(write_cog(tmp_path, 1)[0], uri)
        with pytest.raises(rasterio.errors.RasterioIOError):
            remote.read(1)
    assert "was replaced after it was planned" in caplog.text
