"""`orthostat predict`: images outside any pipeline, as other programs call it."""

import json
import re

import numpy as np
import pytest
import rasterio

from orthostat.cli.main import main
from orthostat.prediction import batch as batch_module
from tests.onnx_bundle import write_onnx_bundle
from tests.unit.prediction_images import InThisProcess, write_image

VALUES = np.array([[[0, 50, 200], [150, 0, 101]]], dtype=np.uint16)


@pytest.fixture(autouse=True)
def model(monkeypatch):
    monkeypatch.setattr(batch_module, "ModelProcess", InThisProcess)


@pytest.fixture
def arguments(tmp_path):
    write_onnx_bundle(tmp_path / "bundle.zip")
    return ["predict", "--bundle", str(tmp_path / "bundle.zip"), "--output", str(tmp_path / "out")]


def test_one_image_goes_straight_under_the_output(tmp_path, arguments, capsys):
    image = write_image(tmp_path / "one.tif", VALUES)
    with rasterio.open(image, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2020:05:18 13:35:01")
    assert main([*arguments, "--image", str(image), "--fill", "0", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)
    assert [item["id"] for item in items] == ["one"]
    assert items[0]["properties"]["datetime"] == "2020-05-18T13:35:01Z"
    assert items == [json.loads((tmp_path / "out" / "item.json").read_text())]
    assert items[0]["assets"]["labels"]["href"] == str(tmp_path / "out" / "labels.tif")
    with rasterio.open(tmp_path / "out" / "labels.tif") as labels:
        assert labels.read(1).tolist() == [[255, 0, 1], [1, 255, 1]]


def test_several_images_get_a_folder_each_in_the_order_given(tmp_path, arguments, capsys):
    images = [str(write_image(tmp_path / f"{name}.tif", VALUES)) for name in ("b", "a")]
    assert main([*arguments, "--image", images[0], "--image", images[1], "--json"]) == 0
    assert [item["id"] for item in json.loads(capsys.readouterr().out)] == ["b", "a"]
    assert (tmp_path / "out" / "a" / "labels.tif").is_file()
    assert (tmp_path / "out" / "b" / "item.json").is_file()


def test_without_json_the_result_is_text_for_people(tmp_path, arguments, capsys):
    image = write_image(tmp_path / "one.tif", VALUES)
    assert main([*arguments, "--image", str(image), "--fill", "0"]) == 0
    out = capsys.readouterr().out
    assert "66.7% valid" in out
    assert "high" in out
    assert "75.0%" in out


def test_images_of_one_name_are_refused_before_any_work(tmp_path, arguments, capsys):
    images = [str(write_image(tmp_path / folder / "x.tif", VALUES)) for folder in ("1", "2")]
    assert main([*arguments, "--image", images[0], "--image", images[1]]) == 2
    assert "several images are named ['x']" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_images_that_fail_are_named_and_the_others_are_predicted(tmp_path, arguments, capsys):
    good = write_image(tmp_path / "good.tif", VALUES)
    (tmp_path / "text.tif").write_text("hello")
    images = [str(tmp_path / "text.tif"), str(tmp_path / "missing.tif"), str(good)]
    assert main([*arguments, *(word for image in images for word in ("--image", image)), "--json"]) == 1
    captured = capsys.readouterr()
    assert [item["id"] for item in json.loads(captured.out)] == ["good"]
    assert "2 of 3 images failed" in captured.err
    assert "text: " in captured.err
    assert "missing: there is no file" in captured.err
    assert (tmp_path / "out" / "good" / "item.json").is_file()
    for name in ("text", "missing"):
        assert [path.name for path in (tmp_path / "out" / name).iterdir()] == ["failure.json"]


def test_the_item_of_a_replaced_image_does_not_stay_beside_its_failure(tmp_path, arguments, capsys):
    image = write_image(tmp_path / "one.tif", VALUES)
    assert main([*arguments, "--image", str(image)]) == 0
    image.write_text("hello")
    assert main([*arguments, "--image", str(image)]) == 1
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert "failure.json" in left
    assert "item.json" not in left


@pytest.mark.parametrize("name", ["labels.tif", "preview.png", "item.json"])
def test_an_image_is_never_written_over(tmp_path, arguments, name, capsys):
    image = write_image(tmp_path / "out" / name, VALUES)
    before = image.read_bytes()
    (tmp_path / "link.tif").symlink_to(image)
    (tmp_path / "hard.tif").hardlink_to(image)
    for uri in (image, tmp_path / "link.tif", tmp_path / "hard.tif"):
        assert main([*arguments, "--image", str(uri)]) == 2
        assert f"{name} is an input, and would be replaced; give another output" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_what_another_model_left_in_the_same_place_goes(tmp_path, arguments):
    image = write_image(tmp_path / "one.tif", VALUES)
    assert main([*arguments, "--image", str(image), "--smooth", "--scores", "--polygons"]) == 0
    assert (tmp_path / "out" / "scores.tif").is_file()
    assert main([*arguments, "--image", str(image)]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"item.json", "labels.tif", "preview.png"}
    image.write_text("hello")
    assert main([*arguments, "--image", str(image)]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failure.json"]


def test_an_interrupted_command_says_so_in_a_line(tmp_path, arguments, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(InThisProcess, "predict", interrupt)
    image = write_image(tmp_path / "one.tif", VALUES)
    assert main([*arguments, "--image", str(image)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "error: interrupted"


def test_a_wrong_digest_is_an_error(tmp_path, arguments, capsys):
    image = write_image(tmp_path / "one.tif", VALUES)
    assert main([*arguments, "--image", str(image), "--sha256", "ab" * 32]) == 1
    assert "named was abab" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--chip-size", "0"], "--chip-size 0: Input should be greater than or equal to 16"),
        (["--batch-size", "-1"], "--batch-size -1: Input should be greater"),
        (["--score-threshold", "1.5"], "--score-threshold 1.5: .* less than or equal to 1"),
        (["--scores"], "are kept only where they are averaged; ask for smooth"),
    ],
)
def test_options_out_of_range_are_named(tmp_path, arguments, option, message, capsys):
    image = write_image(tmp_path / "one.tif", VALUES)
    assert main([*arguments, "--image", str(image), *option]) == (1 if option == ["--scores"] else 2)
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("option", [["--channel-order", "red"], ["--engine", "tflite"], ["--fill", "black"]])
def test_wrong_usage_exits_with_2(arguments, option):
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--image", "x.tif", *option])
