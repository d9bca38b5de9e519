"""Several files of one scene: predicted as if they were one."""

import json

import numpy as np
import pytest
import rasterio

from orthostat.cli.main import main
from orthostat.errors import SceneError
from orthostat.prediction import batch as batch_module
from orthostat.prediction.blocks import Area
from orthostat.prediction.mosaic import write_mosaic
from orthostat.prediction.read import open_image
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import InThisProcess, write_image

ORIGIN = (500000, 4983400)


def part(path, bands, column=0, row=0, **profile):
    """An image whose first pixel is (column, row) of the scene's grid of 10 m."""
    transform = rasterio.Affine(10, 0, ORIGIN[0] + 10 * column, 0, -10, ORIGIN[1] - 10 * row)
    return write_image(path, np.asarray(bands, np.uint16), transform=transform, **profile)


def read(folder, parts, fill=None):
    """Values as the model gets them, and validity, of all of a mosaic."""
    write_mosaic({path.name: path for path in parts}, folder / "whole.vrt", fill)
    with open_image(folder / "whole.vrt", "scene", fill) as image:
        area = Area(0, 0, *image.shape)
        block = image.block(area)
        return block.chip(area, range(image.bands))[..., 0].tolist(), block.valid.tolist()


def test_later_parts_lie_on_top_and_what_none_covers_holds_no_data(tmp_path):
    below = part(tmp_path / "a.tif", [[[1, 2, 3]]])
    above = part(tmp_path / "b.tif", [[[7, 8], [9, 10]]], column=1, row=0)
    assert read(tmp_path, [below, above]) == ([[1, 7, 8], [0, 9, 10]], [[True] * 3, [False, True, True]])


def test_nodata_of_a_later_part_hides_nothing(tmp_path):
    below = part(tmp_path / "a.tif", [[[1, 2, 3]]], nodata=0)
    above = part(tmp_path / "b.tif", [[[0, 8]]], column=1, nodata=0)
    assert read(tmp_path, [below, above]) == ([[1, 2, 8]], [[True] * 3])


def test_transparent_pixels_of_a_later_part_hide_nothing(tmp_path):
    def with_alpha(name, values, alpha, column):
        path = part(tmp_path / name, [values, values, values, alpha], column, photometric="RGB", alpha="YES")
        with rasterio.open(path) as dataset:
            assert dataset.colorinterp[3].name == "alpha"
        return path

    below = with_alpha("a.tif", [[1, 2, 3]], [[65535, 65535, 0]], 0)
    above = with_alpha("b.tif", [[4, 8]], [[0, 65535]], 1)
    values, valid = read(tmp_path, [below, above])
    assert values == [[1, 2, 8]]
    assert valid == [[True] * 3]


def test_a_part_with_a_mask_and_one_without(tmp_path):
    below = part(tmp_path / "a.tif", [[[1, 2, 3]]])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        above = part(tmp_path / "b.tif", [[[7, 8, 9]]], column=1)
        with rasterio.open(above, "r+") as dataset:
            dataset.write_mask(np.array([[0, 255, 0]], np.uint8))
    assert read(tmp_path, [below, above]) == ([[1, 2, 8, 0]], [[True, True, True, False]])


@pytest.mark.parametrize("fill", [0, 9])
def test_fill_means_no_data_where_no_part_says_so_itself(tmp_path, fill):
    left = part(tmp_path / "a.tif", [[[1, fill]]])
    right = part(tmp_path / "b.tif", [[[3, 4]]], column=3, row=1)
    _, valid = read(tmp_path, [left, right], fill)
    assert valid == [[True, False, False, False, False], [False, False, False, True, True]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"crs": "EPSG:32634"}, "coordinate system is EPSG:32634, not EPSG:32633"),
        ({"transform": rasterio.Affine(20, 0, 500000, 0, -20, 4983400)}, "pixel size"),
        (
            {"transform": rasterio.Affine(10, 0, 500004, 0, -10, 4983400)},
            r"place on the grid is \(0.4, 0.0\)",
        ),
        ({"transform": rasterio.Affine(10, 1, 500000, 0, -10, 4983400)}, "not north-up"),
        ({"nodata": 7}, "nodata"),
        ({"bands": np.zeros((2, 1, 1), np.uint16)}, "number of bands is 2, not 1"),
        ({"bands": np.zeros((1, 1, 1), np.float32)}, "type"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(tmp_path, change, reason):
    first = part(tmp_path / "first.tif", [[[1]]])
    other = write_image(tmp_path / "other.tif", **({"bands": np.ones((1, 1, 1), np.uint16)} | change))
    with pytest.raises(SceneError, match=f"other.tif is no.*{reason}|other.tif is {reason}"):
        write_mosaic({"first.tif": first, "other.tif": other}, tmp_path / "whole.vrt", None)


def test_the_command_predicts_parts_as_one_scene(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(batch_module, "ModelProcess", InThisProcess)
    write_onnx_bundle(tmp_path / "bundle.zip")
    values = np.random.default_rng(1).integers(1, 200, (1, 700, 900), np.uint16)
    whole = part(tmp_path / "whole.tif", values)
    parts = [
        part(tmp_path / f"{row}-{column}.tif", values[:, row : row + 320, column : column + 480], column, row)
        for row in (0, 250, 380)
        for column in (0, 420)
    ]
    command = ["predict", "--bundle", str(tmp_path / "bundle.zip"), "--json"]
    assert main([*command, "--image", str(whole), "--output", str(tmp_path / "one")]) == 0
    capsys.readouterr()
    images = [word for path in parts for word in ("--image", str(path))]
    assert main([*command, *images, "--mosaic", "--output", str(tmp_path / "many")]) == 0
    (item,) = json.loads(capsys.readouterr().out)
    assert item["id"] == "0-0"
    assert item["properties"]["orthostat:source_parts"] == [str(path) for path in parts]
    assert item["properties"]["orthostat:source_shape"] == [700, 900]
    one, many = (tmp_path / name / "labels.tif" for name in ("one", "many"))
    assert one.read_bytes() == many.read_bytes()

    (tmp_path / "0-0.tif").write_text("rubbish")
    assert main([*command, *images, "--mosaic", "--output", str(tmp_path / "many")]) == 1
    assert f"{parts[0]} cannot be read as an image" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["failure.json"]


def test_fill_of_a_later_part_cannot_hide_data_in_silence(tmp_path):
    below = part(tmp_path / "a.tif", [[[1, 2, 3]]])
    above = part(tmp_path / "b.tif", [[[0, 8]]], column=1)
    beside = part(tmp_path / "c.tif", [[[0, 9]]], column=3)
    with pytest.raises(SceneError, match=r"a.tif and b.tif overlap, and 0 \(--fill\) in the one would hide"):
        read(tmp_path, [below, above], fill=0)
    values, valid = read(tmp_path, [below, beside], fill=0)
    assert (values, valid) == ([[1, 2, 3, 0, 9]], [[True, True, True, False, True]])


def test_nan_of_a_later_part_hides_nothing(tmp_path):
    def floats(name, values, column):
        transform = rasterio.Affine(10, 0, ORIGIN[0] + 10 * column, 0, -10, ORIGIN[1])
        return write_image(tmp_path / name, np.asarray(values, np.float32), transform=transform)

    below, above = floats("a.tif", [[[1, 2, 3]]], 0), floats("b.tif", [[[np.nan, 8]]], 1)
    values, valid = read(tmp_path, [below, above])
    assert (values, valid) == ([[1, 2, 8]], [[True] * 3])


def test_parts_that_lie_far_from_one_another_are_no_scene(tmp_path):
    near = part(tmp_path / "a.tif", [[[1, 2, 3]]])
    far = part(tmp_path / "b.tif", [[[7, 8]]], column=1_000_000, row=1_000_000)
    with pytest.raises(SceneError, match=r"would have 1,000,003,000,002 pixels, .* 100 times as many; check"):
        read(tmp_path, [near, far])
