"""The allow-list: one list for the command line, the DAG and the service."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from orthostat.cli.main import main
from orthostat.errors import BundleError, ConfigurationError, RefusedError
from orthostat.pipelines.allow import AllowedBundle, AllowList, is_below, read_allow_list
from orthostat.planning.manifest import write_manifest
from tests.unit.prediction_images import make_batch, make_recipe, write_image

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("uri", "is_allowed"),
    [
        ("s3://images/a.tif", True),
        ("s3://images", True),
        ("s3://images-of-others/a.tif", False),
        ("s3://Images/a.tif", False),
        ("/images/a.tif", False),
        ("https://images/a.tif", False),
    ],
)
def test_a_prefix_is_a_folder(uri: str, is_allowed: bool) -> None:
    allowed = AllowList(images=("s3://images",))
    if is_allowed:
        allowed.require_image(uri)
    else:
        with pytest.raises(RefusedError, match=r"below none of the allowed prefixes \(s3://images/\)"):
            allowed.require_image(uri)


def test_local_prefixes_hold_after_links_and_dots(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("/etc")
    prefixes = (f"{tmp_path}/in/",)
    assert is_below(f"{tmp_path}/in/a.tif", prefixes)
    assert not is_below(f"{tmp_path}/in/../a.tif", prefixes)
    assert not is_below(f"{tmp_path}/in/link/passwd", prefixes)


def test_only_bundles_on_the_list_are_opened() -> None:
    allowed = AllowList(bundles=(AllowedBundle(uri="s3://m/a.zip", sha256=DIGEST),))
    allowed.require_bundle("s3://elsewhere/a.zip", DIGEST.upper())
    assert allowed.sha256_of("s3://m/a.zip") == DIGEST
    for sha256 in ("cd" * 32, None):
        with pytest.raises(RefusedError, match="is none of the 1 on the allow-list; a bundle is code"):
            allowed.require_bundle("s3://m/a.zip", sha256)
    AllowList().require_bundle("anything", None)


@pytest.mark.parametrize("text", ["bundles: 5", "[1]", "images: {", "surprise: 1", "{" * 20_000])
def test_a_list_that_is_none_allows_nothing(tmp_path: Path, monkeypatch, text: str) -> None:
    (tmp_path / "allow.yaml").write_text(text)
    monkeypatch.setenv("ORTHOSTAT_ALLOW", str(tmp_path / "allow.yaml"))
    with pytest.raises(ConfigurationError, match="is no allow-list"):
        read_allow_list()


def write_list(tmp_path: Path, monkeypatch, **content: object) -> None:
    (tmp_path / "allow.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setenv("ORTHOSTAT_ALLOW", str(tmp_path / "allow.yaml"))


def test_the_command_keeps_to_the_list(tmp_path: Path, monkeypatch, capsys) -> None:
    recipe = make_recipe(tmp_path)
    image = write_image(tmp_path / "in/a.tif", np.full((1, 4, 4), 50, np.uint16))
    bundle = {"uri": recipe.bundle, "sha256": recipe.sha256}
    places = {"images": [f"{tmp_path}/in"], "outputs": [f"{tmp_path}/out"]}
    command = ["predict", "--bundle", recipe.bundle, "--image", str(image), "--output"]
    write_list(tmp_path, monkeypatch, bundles=[bundle], **places)
    assert main([*command, f"{tmp_path}/out/a"]) == 0
    assert main([*command, f"{tmp_path}/in"]) == 1
    assert "may not be written" in capsys.readouterr().err
    write_list(tmp_path, monkeypatch, bundles=[bundle | {"sha256": DIGEST}], **places)
    assert main([*command, f"{tmp_path}/out/b"]) == 1
    assert "so it was not opened" in capsys.readouterr().err
    write_list(tmp_path, monkeypatch, digests=[DIGEST], **places)
    assert main([*command, f"{tmp_path}/out/b", "--sha256", str(recipe.sha256)]) == 1
    assert "is none of the 1 on the allow-list" in capsys.readouterr().err
    assert not (tmp_path / "out/b").exists()


def test_a_manifest_cannot_choose_another_bundle_than_the_pipeline(tmp_path: Path, capsys) -> None:
    write_image(tmp_path / "scenes/A.tif", np.full((1, 4, 4), 50, np.uint16))
    batch = make_batch(tmp_path, ["A"])
    write_manifest(str(tmp_path / "batch.json"), batch)
    command = ["step", "predict", "--batch", str(tmp_path / "batch.json"), "--sha256"]
    assert main([*command, DIGEST]) == 65
    assert "is none of the 1 on the allow-list" in capsys.readouterr().err
    assert main([*command, str(batch.recipe.sha256)]) == 0


def test_a_setting_allows_one_engine_alone(tmp_path: Path, monkeypatch) -> None:
    from orthostat.prediction.batch import open_model

    monkeypatch.setenv("ORTHOSTAT_ONLY_ENGINE", "onnx")
    with open_model(make_recipe(tmp_path)) as process:
        assert process.engine == "onnx"
    recipe = make_recipe(tmp_path, engine="raster-vision")
    with (
        pytest.raises(BundleError, match=r"raster-vision cannot run .*: only onnx runs here"),
        open_model(recipe),
    ):
        pass
