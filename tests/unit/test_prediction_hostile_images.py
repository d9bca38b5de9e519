"""Images that would make a worker read other files, or speak to somebody."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from orthostat import storage
from orthostat.aggregation.labels import tabulate_labels
from orthostat.errors import GridError, SceneError
from orthostat.prediction.batch import Summary, predict_batch
from orthostat.prediction.mosaic import write_mosaic
from orthostat.prediction.read import open_image
from tests.unit.prediction_images import key_of, make_batch, make_recipe, write_image

VRT = """<VRTDataset rasterXSize="4" rasterYSize="4"><SRS>EPSG:32633</SRS>
<GeoTransform>500000, 10, 0, 4983400, 0, -10</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""
WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>{source}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>10</UpperLeftY><LowerRightX>10</LowerRightX><LowerRightY>0
</LowerRightY><TileLevel>1</TileLevel></DataWindow><Projection>EPSG:3857</Projection><BandsCount>3</BandsCount>
</GDAL_WMS>"""


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def hostile(folder: Path, address: str) -> list[Path]:
    """Files that are called .tif, and are text that names another file or an address."""
    secret = write_image(folder / "secret.tif", np.ones((1, 4, 4), np.uint16))
    texts = {
        "file": VRT.format(source=secret),
        "curl": VRT.format(source=f"/vsicurl/{address}/a.tif"),
        "wms": WMS.format(source=address),
        "zip": VRT.format(source=f"/vsizip/{secret}"),
    }
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.tif")
        paths[-1].write_text(text)
    return paths


def test_no_image_makes_another_file_or_address_be_read(
    tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    honest = write_image(tmp_path / "honest.tif", np.ones((1, 4, 4), np.uint16))
    for path in hostile(tmp_path, address):
        with (
            pytest.raises(SceneError, match="first bytes are those of no GeoTIFF"),
            open_image(path, path.name, None),
        ):
            pass
        with pytest.raises(SceneError, match=f"{path.name} cannot be read as an image"):
            write_mosaic({"honest.tif": honest, path.name: path}, tmp_path / "whole.vrt", None)
        with pytest.raises(GridError, match="cannot be read as a raster"):
            tabulate_labels([str(path)], None)  # type: ignore[arg-type]
    with open_image(honest, "honest.tif", None) as image:
        assert image.bands == 1
    assert asked == []


def test_the_listener_hears_what_gdal_asks_for(tmp_path: Path, listener: tuple[str, list[str]]) -> None:
    """Opened without a list of formats, the same file speaks: the test above can fail."""
    address, asked = listener
    path = next(path for path in hostile(tmp_path, address) if path.stem == "curl")
    with pytest.raises(rasterio.errors.RasterioError), rasterio.open(path) as dataset:
        dataset.read(1)
    assert asked


def write_header(path: Path, columns: int, rows: int, **profile: Any) -> Path:
    """A sparse GeoTIFF: its header alone."""
    fields = {"count": 1, "dtype": "uint16", "crs": "EPSG:32633", "SPARSE_OK": True, "BIGTIFF": "YES"}
    transform = rasterio.Affine(0.01, 0, 500000, 0, -0.01, 4983400)
    with rasterio.open(
        path, "w", "GTiff", width=columns, height=rows, transform=transform, **(fields | profile)
    ):
        pass
    return path


HUGE = {
    "sparse": ((200_000, 200_000), {"tiled": True}, "pixels"),
    "row": ((2_000_000_000, 2), {"dtype": "uint8"}, "megabytes of a block"),
    "tile": (
        (32_768, 32_768),
        {"tiled": True, "blockxsize": 32_768, "blockysize": 32_768},
        "megabytes of a block",
    ),
    "bands": ((10, 10), {"count": 65_535, "interleave": "band"}, "bands"),
}


@pytest.mark.parametrize("name", HUGE)
def test_an_image_that_asks_for_all_there_is_fails_alone_and_soon(tmp_path: Path, name: str) -> None:
    shape, profile, what = HUGE[name]
    for good in "AC":
        write_image(tmp_path / f"scenes/{good}.tif", np.full((1, 4, 4), 50, np.uint16))
    write_header(tmp_path / "scenes/B.tif", *shape, **profile)
    batch = make_batch(tmp_path, ["A", "B", "C"])
    assert predict_batch(batch) == Summary(predicted=2, skipped=0, failed=1)
    failure = storage.read_json(key_of(batch, 1).failure)
    assert failure["kind"] == ("image" if name == "bands" else "limit")
    assert f"the {what} of " in failure["reason"] or "gives the model" in failure["reason"]


def test_an_image_of_too_many_megabytes_is_not_downloaded(tmp_path: Path) -> None:
    write_image(tmp_path / "scenes/A.tif", np.ones((1, 400, 400), np.uint16))
    batch = make_batch(tmp_path, ["A"], make_recipe(tmp_path, limits={"image_mb": 0.1}))
    assert predict_batch(batch).failed == 1
    assert "allowed are 0 (ORTHOSTAT_MAX_IMAGE_MB" in storage.read_json(key_of(batch, 0).failure)["reason"]


@pytest.mark.parametrize("seed", range(3))
def test_corrupt_bytes_are_one_line(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 200, (1, 600, 600)).astype(np.uint16)
    path = write_image(tmp_path / "scenes/A.tif", values, compress="deflate")
    data = bytearray(path.read_bytes())
    for place in random.integers(len(data) // 10, len(data), 200):
        data[place] = random.integers(256)
    path.write_bytes(data)
    batch = make_batch(tmp_path, ["A"])
    assert predict_batch(batch).failed == 1
    failure = storage.read_json(key_of(batch, 0).failure)
    assert failure["kind"] == "image"
    assert re.search(r"A\.tif cannot be read as an image", failure["reason"])
