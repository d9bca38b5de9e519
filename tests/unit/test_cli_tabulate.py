"""`orthostat tabulate` as other programs call it."""

import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from shapely import box

from orthostat import storage
from orthostat.cli.main import main

EQUAL_AREA = "+proj=laea +lat_0=45 +lon_0=15 +x_0=500000 +y_0=4983400 +datum=WGS84"


@pytest.fixture
def files(tmp_path):
    """A raster of 2 x 2 pixels of 10 m, values 10 2 / 2 255 (nodata), and two zones in degrees."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255, "crs": EQUAL_AREA}
    transform = from_origin(500_000, 4_983_400, 10, 10)
    with rasterio.open(
        tmp_path / "labels.tif", "w", height=2, width=2, transform=transform, **profile
    ) as file:
        file.write(np.array([[10, 2], [2, 255]], dtype=np.uint8), 1)
    zones = gpd.GeoDataFrame(
        {"code": ["in", "out"]},
        geometry=[box(500_000, 4_983_380, 500_020, 4_983_400), box(510_000, 4_983_000, 510_010, 4_983_010)],
        crs=EQUAL_AREA,
    )
    zones.to_crs(4326).to_file(tmp_path / "zones.geojson")
    return tmp_path


def call(files, *more):
    return main(
        [
            "tabulate",
            f"--labels={files}/labels.tif",
            f"--zones={files}/zones.geojson",
            "--zone-id=code",
            *more,
        ]
    )


def test_json_has_the_promised_shape(files, capsys):
    assert call(files, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["zones"]["in"] == {
        "zone_area_m2": pytest.approx(400, rel=1e-3),  # GeoJSON rounds degrees to 1e-7
        "valid_area_m2": pytest.approx(300, rel=1e-3),
        "nodata_m2": pytest.approx(100, rel=1e-3),
        "unobserved_m2": pytest.approx(0, abs=0.1),
        "coverage": pytest.approx(0.75, rel=1e-3),
        "classes": {"2": pytest.approx(200, rel=1e-3), "10": pytest.approx(100, rel=1e-3)},
    }
    assert list(result["zones"]["in"]["classes"]) == ["2", "10"]
    assert result["zones"]["out"]["classes"] == {}
    assert result["zones"]["out"]["valid_area_m2"] == result["zones"]["out"]["coverage"] == 0


def test_text_is_an_aligned_table(files, capsys):
    assert call(files, "--nodata", "10") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "zone",
        "zone_area_m2",
        "valid_area_m2",
        "coverage",
        "class_2_m2",
        "class_255_m2",
    ]
    assert lines[1].split() == ["in", "400.0", "300.0", "0.7500", "200.0", "100.0"]
    assert lines[2].split()[3:] == ["0.0000", "0.0", "0.0"]
    assert len({len(line) for line in lines}) == 1


def test_files_in_s3(files, s3_bucket, capsys):
    for name in ("labels.tif", "zones.geojson"):
        storage.upload(files / name, f"{s3_bucket}/{name}")
    call(files, "--json")
    local = capsys.readouterr().out
    arguments = ["--labels", f"{s3_bucket}/labels.tif", "--zones", f"{s3_bucket}/zones.geojson"]
    assert main(["tabulate", *arguments, "--zone-id", "code", "--json"]) == 0
    assert capsys.readouterr().out == local


def test_a_wrong_file_exits_with_1_and_says_why_on_stderr(files, capsys):
    assert main(["tabulate", "--labels=none.tif", f"--zones={files}/zones.geojson", "--zone-id=code"]) == 1
    assert (
        main(["tabulate", f"--labels={files}/labels.tif", f"--zones={files}/zones.geojson", "--zone-id=x"])
        == 1
    )
    output = capsys.readouterr()
    assert output.out == ""
    assert "there is no file none.tif" in output.err
    assert "has no column ['x'], it has ['code']" in output.err


def test_wrong_usage_exits_with_2(files):
    with pytest.raises(SystemExit) as error:
        main(["tabulate", "--labels=a.tif"])
    assert error.value.code == 2


def test_zones_that_lie_on_one_another_are_said(files, capsys):
    frame = gpd.read_file(files / "zones.geojson")
    frame.geometry = [frame.geometry.iloc[0]] * 2
    frame.to_file(files / "zones.geojson")
    assert call(files, "--json") == 0
    captured = capsys.readouterr()
    assert "note: 1 pair(s) of zones overlap, 0 may: 'in' and 'out'" in captured.err
    assert captured.err.count("do not add their areas up") == 1
    zones = json.loads(captured.out)["zones"]
    assert zones["in"] == zones["out"]


@pytest.mark.parametrize(("target", "reason"), [(">/dev/full", "No space left"), ("| true", "Broken pipe")])
def test_a_result_that_cannot_be_written_is_an_error(files, target, reason):
    command = (
        f"{sys.executable} -m orthostat tabulate --labels {files}/labels.tif --zones {files}/zones.geojson "
        f"--zone-id code {target}; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: the result cannot be written ({reason}" in done.stderr
    assert "Traceback" not in done.stderr
