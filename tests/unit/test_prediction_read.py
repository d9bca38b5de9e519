"""Which pixels hold data, and what a chip of the image looks like."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from orthostat.errors import SceneError
from orthostat.prediction.blocks import Area
from orthostat.prediction.facts import BandFacts
from orthostat.prediction.read import open_image
from tests.unit.prediction_images import write_image

WHOLE = Area(0, 0, 2, 3)
BANDS = np.array([[[0, 5, 9], [7, 0, 0]], [[0, 0, 8], [7, 3, 0]]], dtype=np.uint16)


def valid(path, fill=None):
    with open_image(path, "image", fill) as image:
        return image.block(WHOLE).valid.tolist()


@pytest.mark.parametrize(
    ("nodata", "fill", "expected"),
    [
        (None, None, [[1, 1, 1], [1, 1, 1]]),
        (0, None, [[0, 1, 1], [1, 1, 0]]),
        (None, 0, [[0, 1, 1], [1, 1, 0]]),
        (7, 0, [[1, 1, 1], [0, 1, 1]]),  # the file says so itself: fill is not asked
    ],
)
def test_a_pixel_without_data_has_none_in_any_band(tmp_path, nodata, fill, expected):
    assert valid(write_image(tmp_path / "a.tif", BANDS, nodata=nodata), fill) == expected


def test_an_alpha_band_says_where_data_are(tmp_path):
    alpha = np.array([[0, 255, 255], [1, 255, 0]], dtype=np.uint16)
    path = write_image(tmp_path / "a.tif", np.stack([*BANDS, alpha]))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha)
    assert valid(path, fill=5) == [[0, 1, 1], [1, 1, 0]]


def test_a_mask_says_where_data_are(tmp_path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_image(tmp_path / "a.tif", BANDS)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.array([[1, 0, 1], [1, 1, 0]], dtype=bool))
    assert valid(path) == [[1, 0, 1], [1, 1, 0]]


def test_not_a_number_in_a_band_that_the_model_reads_is_no_data_and_counted(tmp_path):
    values = np.array([[[np.nan, 1, np.inf], [1, 1, 1]], [[np.nan, np.nan, 1], [1, 1, 1]]], np.float32)
    path = write_image(tmp_path / "a.tif", values)
    assert valid(path) == [[0, 0, 0], [1, 1, 1]]
    with open_image(path, "image", None) as image:
        image.use_bands([1])
        assert image.block(WHOLE).valid.tolist() == [[0, 0, 1], [1, 1, 1]]
        assert image.values.nonfinite_pixels == 2
        assert image.facts() == [BandFacts(None, 1.0, 0.0)]
        assert image.block(WHOLE).chip(WHOLE, [0, 1])[0].tolist() == [[0, 0], [1, 0], [0, 1]]


def test_only_bands_that_the_model_reads_say_where_data_are(tmp_path):
    values = np.array([[[0, 5, 5]], [[7, 0, 0]]], np.uint16)
    with open_image(write_image(tmp_path / "a.tif", values, nodata=0), "image", None) as image:
        image.use_bands([0])
        assert image.block(Area(0, 0, 1, 3)).valid.tolist() == [[0, 1, 1]]


def test_complex_numbers_are_refused(tmp_path):
    path = write_image(tmp_path / "a.tif", np.ones((1, 2, 2), np.complex64))
    with (
        pytest.raises(SceneError, match=r"holds complex numbers .*write their amplitude"),
        open_image(path, "image", None),
    ):
        pass


def test_a_chip_over_the_edge_is_zero_outside_and_keeps_the_channel_order(tmp_path):
    with open_image(write_image(tmp_path / "a.tif", BANDS), "image", None) as image:
        chip = image.block(WHOLE).chip(Area(-1, 1, 2, 5), [1, 0])
    assert chip.shape == (3, 4, 2)
    assert chip[..., 0].tolist() == [[0, 0, 0, 0], [0, 8, 0, 0], [3, 0, 0, 0]]
    assert chip[..., 1].tolist() == [[0, 0, 0, 0], [5, 9, 0, 0], [0, 0, 0, 0]]


def test_nodata_is_zero_in_a_chip(tmp_path):
    with open_image(write_image(tmp_path / "a.tif", BANDS, nodata=7), "image", None) as image:
        assert image.block(WHOLE).chip(WHOLE, [0])[..., 0].tolist() == [[0, 5, 9], [0, 0, 0]]


def test_the_acquisition_time_is_the_tag_where_the_file_has_one(tmp_path):
    path = write_image(tmp_path / "a.tif", BANDS)
    with open_image(path, "image", None) as image:
        assert image.acquired() is None
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2020:05:18 13:35:01")
    with open_image(path, "image", None) as image:
        assert image.acquired() == datetime(2020, 5, 18, 13, 35, 1, tzinfo=UTC)


def test_a_text_file_is_no_image(tmp_path):
    (tmp_path / "a.tif").write_text("hello")
    message = r"s3://b/a.tif cannot be read as an image .*upload it again"
    with (
        pytest.raises(SceneError, match=message) as caught,
        open_image(tmp_path / "a.tif", "s3://b/a.tif", None),
    ):
        pass
    assert str(tmp_path) not in str(caught.value)


def test_a_truncated_image_is_damaged(tmp_path):
    path = write_image(tmp_path / "a.tif", np.ones((1, 400, 400), np.uint16), tiled=True)
    path.write_bytes(path.read_bytes()[:200_000])
    message = r"cannot be read as an image \(file, band 1: .*damaged"
    with open_image(path, "s3://b/a.tif", None) as image, pytest.raises(SceneError, match=message):
        image.block(Area(0, 0, 400, 400))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("profile", [{"crs": None}, {"transform": rasterio.Affine.identity()}])
def test_an_image_may_have_no_place_on_earth(tmp_path, profile):
    with open_image(write_image(tmp_path / "a.tif", BANDS, **profile), "image", None) as image:
        assert not image.is_placed


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"crs": "EPSG:4326"}, r"no place on Earth: its bounds \(500000.0, .* system EPSG:4326"),
        ({"crs": 'LOCAL_CS["mine",UNIT["metre",1]]'}, r"no place on Earth"),
        ({"crs": "EPSG:4258", "transform": rasterio.Affine(3, 0, -5, 0, -5, 95)}, r"no place on Earth"),
        ({"crs": "EPSG:6933", "transform": rasterio.Affine(1e5, 0, 4e6, 0, -1e5, 8e6)}, r"no place on Earth"),
        # A corner beyond the ellipse of the whole Earth, of which its Item could not tell the place.
        (
            {"crs": "ESRI:54009", "transform": rasterio.Affine(5e5, 0, -12e6, 0, -5e5, 7e6)},
            "no place on Earth",
        ),
    ],
)
def test_an_image_at_a_place_that_does_not_exist_is_refused(tmp_path, profile, message):
    path = write_image(tmp_path / "a.tif", BANDS, **profile)
    with pytest.raises(SceneError, match=message), open_image(path, "image", None):
        pass


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633"])
@pytest.mark.parametrize("width", [0.001, -0.001])
@pytest.mark.parametrize("height", [0.001, -0.001])
def test_an_image_may_lie_upside_down_or_mirrored(tmp_path, crs, width, height):
    transform = rasterio.Affine(width, 0, 15, 0, height, 45)
    with open_image(write_image(tmp_path / "a.tif", BANDS, crs=crs, transform=transform), "image", None) as a:
        assert a.is_placed
