"""`orthostat bundle`: what a bundle is, and its ONNX model."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from orthostat.cli.main import main
from tests.integration.prediction_bundle import write_bundle
from tests.unit.prediction_images import write_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    values = np.random.default_rng(1).integers(1, 900, (3, 90, 110), dtype=np.uint16)
    return write_image(tmp_path_factory.mktemp("image") / "image.tif", values)


@pytest.mark.parametrize(
    ("task", "unit"),
    [("semantic_segmentation", "pixels"), ("object_detection", "boxes")],
)
def test_a_bundle_gets_its_onnx_model_when_the_engines_agree(tmp_path, image, task, unit, capsys):
    bundle, output = write_bundle(tmp_path / "a.zip", task, chip_sz=64, has_onnx=False), tmp_path / "b.zip"
    before = bundle.read_bytes()
    capsys.readouterr()  # what the network printed when it was made
    main(["bundle", "show", str(bundle), "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["auto"], shown["task"]) == ("raster-vision", task)
    assert shown["engines"]["onnx"]["why_not"] == "the bundle holds no model.onnx"
    arguments = ["bundle", "add-onnx", str(bundle), "--image", str(image), "--output", str(output)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert hashlib.sha256(output.read_bytes()).hexdigest() in printed
    assert f"{unit} differ" in printed
    assert bundle.read_bytes() == before
    main(["bundle", "show", str(output)])
    shown = capsys.readouterr().out
    assert "onnx: can run it" in shown
    assert "auto        onnx" in shown


def test_a_bundle_whose_engines_differ_by_more_than_the_limit_is_not_written(tmp_path, image, capsys):
    bundle = write_bundle(tmp_path / "a.zip", "chip_classification", img_size=32, chip_sz=32, has_onnx=False)
    arguments = [
        "bundle",
        "add-onnx",
        str(bundle),
        "--image",
        str(image),
        "--output",
        str(tmp_path / "b.zip"),
    ]
    assert main([*arguments, "--limit", "1e-12"]) == 1
    message = capsys.readouterr().err
    assert "differs from the original" in message
    assert "nothing was written" in message
    assert not (tmp_path / "b.zip").exists()


def test_the_output_is_never_the_input(tmp_path, image, capsys):
    bundle = write_bundle(tmp_path / "a.zip", chip_sz=64)
    arguments = ["bundle", "add-onnx", str(bundle), "--image", str(image), "--output", str(bundle)]
    assert main(arguments) == 2
    assert "is the input; give another place" in capsys.readouterr().err
