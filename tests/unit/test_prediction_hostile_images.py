"""Images that would make a worker read other files, or speak to somebody."""

import os
import re
import struct
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
from orthostat.cli.main import main
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
    transform = rasterio.Affine(1e-4, 0, 500000, 0, -1e-4, 4983400)  # two thousand million pixels: 200 km
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


def write_tiff(path: Path, citation: bytes) -> Path:
    """A GeoTIFF of 4 x 4 pixels, by hand, with a coordinate system that its text describes."""
    pixels = np.full(16, 50, np.uint16).tobytes()
    text = b"ESRI PE String = " + citation + b"|\0"
    keys = struct.pack("<16H", 1, 1, 0, 3, 1024, 0, 1, 32767, 1025, 0, 1, 1, 3073, 34737, len(text) - 1, 0)
    scale, tie = struct.pack("<3d", 10, 10, 0), struct.pack("<6d", 0, 0, 0, 5e5, 5e6, 0)
    parts = {33550: (12, 3, scale), 33922: (12, 6, tie), 34735: (3, 16, keys), 34737: (2, len(text), text)}
    short = {256: 4, 257: 4, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: len(pixels)}
    data, entries = b"II*\0\0\0\0\0" + pixels, []
    entries += [struct.pack("<HHII", tag, 3, 1, value) for tag, value in short.items()]
    for tag, (kind, count, value) in parts.items():
        entries.append(struct.pack("<HHII", tag, kind, count, len(data)))
        data += value + b"\0" * (len(value) % 2)
    place = struct.pack("<I", len(data))
    data += struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[:4] + place + data[8:])
    return path


GEOGCS = (
    'GEOGCS["g",DATUM["d",SPHEROID["s",6378137,298.25]{}],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925]]'
)
PROJCS = 'PROJCS["p",{},PROJECTION["Transverse_Mercator"],PARAMETER["central_meridian",15],UNIT["metre",1]{}]'
PROJ4 = ',EXTENSION["PROJ4","+proj=tmerc +lon_0=15 +ellps=GRS80 +nadgrids={} +units=m +no_defs"]'


@pytest.mark.parametrize(
    "text",
    [
        PROJCS.format(GEOGCS.format(""), PROJ4.format("@PATH")),
        PROJCS.format(GEOGCS.format(""), PROJ4.format("PATH")),
        PROJCS.format(GEOGCS.format(',EXTENSION["PROJ4_GRIDS","PATH"]'), ""),
        'BOUNDCRS[ABRIDGEDTRANSFORMATION["t",METHOD["NTv2"],parameterfile["f", "PATH"]]]',
        'BOUNDCRS(ABRIDGEDTRANSFORMATION("t",METHOD("NTv2"),PARAMETERFILE("f,g", "PATH")))',
        PROJCS.format(GEOGCS.format(""), PROJ4.format("@null,PATH")),
        PROJCS.format(GEOGCS.format(',EXTENSION["PROJ4_GRIDS","@null,PATH"]'), ""),
        PROJCS.format(GEOGCS.format(""), PROJ4.format("@null").replace("+units", "+init=PATH:x +units")),
        PROJCS.format(GEOGCS.format(""), PROJ4.format("@null").replace("+units", "file=PATH +units")),
    ],
)
def test_a_coordinate_system_makes_no_file_be_read(tmp_path: Path, text: str) -> None:
    """PROJ would open the grid that it names: a pipe that nobody writes to would never end."""
    os.mkfifo(tmp_path / "grid.gsb")
    write_tiff(tmp_path / "scenes/A.tif", text.replace("PATH", str(tmp_path / "grid.gsb")).encode())
    batch = make_batch(tmp_path, ["A"])
    assert predict_batch(batch).failed == 1
    failure = storage.read_json(key_of(batch, 0).failure)
    assert failure["kind"] == "image"
    assert "its coordinate system names a file (" in failure["reason"]


def test_a_coordinate_system_in_text_is_fine(tmp_path: Path) -> None:
    for extension in ("", PROJ4.format("@null")):
        path = write_tiff(tmp_path / "a.tif", PROJCS.format(GEOGCS.format(""), extension).encode())
        with open_image(path, "a.tif", None) as image:
            assert image.is_placed


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_transform_that_is_none_is_one_scenes_failure(tmp_path: Path, number: float) -> None:
    for name, place in (("A", number), ("B", 500000.0)):
        transform = rasterio.Affine(10, 0, place, 0, -10, 4983400)
        write_image(
            tmp_path / f"scenes/{name}.tif", np.full((1, 4, 4), 50, np.uint16), crs=None, transform=transform
        )
    outputs = [
        "--output",
        str(tmp_path / "out"),
        "--engine",
        "onnx",
        "--bundle",
        make_recipe(tmp_path).bundle,
    ]
    images = [word for name in "AB" for word in ("--image", str(tmp_path / f"scenes/{name}.tif"))]
    assert main(["predict", *images, *outputs]) == 1
    assert "has no place on Earth: its transform is" in (tmp_path / "out/A/failure.json").read_text()
    assert (tmp_path / "out/B/item.json").is_file()


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_values_that_no_measurement_has_are_no_data_and_counted(tmp_path: Path, kind: str) -> None:
    values = np.full((1, 4, 4), 150, kind)
    values[0, 0, :2] = (np.finfo(kind).max, -np.finfo(kind).max)
    write_image(tmp_path / "scenes/A.tif", values)
    batch = make_batch(tmp_path, ["A"])
    assert predict_batch(batch).predicted == 1
    properties = storage.read_json(key_of(batch, 0).item)["properties"]
    assert properties["orthostat:nonfinite_pixels"] == 2
    assert sum(properties["orthostat:histogram"].values()) == 14


@pytest.mark.parametrize(
    ("images", "output", "message"),
    [
        (["...tif", "k.tif"], "out", "whose name is only dots gets no folder"),
        (["loop.tif"], "out", "is no path"),
        (["k.tif"], "file:///tmp/out", "is no address that is known here"),
        (["k.tif"], "", "is no address that is known here"),
        (["file:///tmp/k.tif"], "out", "is no address that is known here"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    images: list[str],
    output: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = make_recipe(tmp_path).bundle
    for name in ("...tif", "k.tif"):
        write_image(tmp_path / name, np.full((1, 4, 4), 50, np.uint16))
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    given = [word for image in images for word in ("--image", image)]
    assert main(["predict", *given, "--bundle", bundle, "--output", output]) in {1, 2}
    told = capsys.readouterr().err
    assert message in told
    assert "defect" not in told
    assert not [path for path in tmp_path.rglob("*") if path.name in {"item.json", "labels.tif"}]
