"""`orthostat estimate` as other programs call it: files in, JSON or a table out, and what is refused."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from orthostat import storage
from orthostat.cli.main import main

CLASSES = ["deforestation", "gain", "forest", "non-forest"]
COUNTS = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
SIZES = [200_000, 150_000, 3_200_000, 6_450_000]


def write_olofsson(folder: Path) -> tuple[str, str]:
    """Golden example of Olofsson et al. (2014), areas in ha."""
    units = [
        (mapped, mapped, reference)
        for mapped, row in zip(CLASSES, COUNTS, strict=True)
        for reference, number in zip(CLASSES, row, strict=True)
        for _ in range(number)
    ]
    sample, strata = folder / "sample.csv", folder / "strata.csv"
    pd.DataFrame(units, columns=["stratum", "map_class", "reference_class"]).to_csv(sample, index=False)
    areas = [size * 0.09 for size in SIZES]
    pd.DataFrame({"stratum": CLASSES, "size": SIZES, "area": areas}).to_csv(strata, index=False)
    return str(sample), str(strata)


def estimate(capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    assert main(["estimate", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def write(folder: Path, sample: str, strata: str) -> list[str]:
    """Options for two CSV files with these lines."""
    (folder / "sample.csv").write_text(sample)
    (folder / "strata.csv").write_text(strata)
    return ["--sample", str(folder / "sample.csv"), "--strata", str(folder / "strata.csv")]


SAMPLE = "stratum,map_class,reference_class\na,1,1\na,1,2\na,2,2\n"
STRATA = "stratum,size\na,100\n"


def test_golden_example_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample, strata = write_olofsson(tmp_path)
    options = ["--no-finite-population", "--interval", "normal"]
    found = estimate(capsys, "--sample", sample, "--strata", strata, *options)

    def figures(measure: str, figure: str) -> list[float]:
        return [found["classes"][name][measure][figure] for name in CLASSES]

    assert list(found) == ["overall_accuracy", "classes", "sample"]
    assert found["sample"] == {"interpreted": 640, "mapped": 640, "uninterpreted": 0}
    overall = found["overall_accuracy"]
    assert overall["estimate"] == pytest.approx(0.946511888, abs=1e-6)
    assert overall["se"] == pytest.approx(0.009430417, abs=1e-6)
    assert overall["ci_lower"] == pytest.approx(0.946511888 - 1.96 * 0.009430417, abs=1e-6)
    assert overall["ci_upper"] == pytest.approx(0.946511888 + 1.96 * 0.009430417, abs=1e-6)
    expected = {
        ("users_accuracy", "estimate"): [0.88, 0.733333, 0.927273, 0.963077],
        ("users_accuracy", "se"): [0.037776, 0.051407, 0.020278, 0.010476],
        ("producers_accuracy", "estimate"): [0.748661, 0.847156, 0.934509, 0.961609],
        ("producers_accuracy", "se"): [0.108832, 0.129800, 0.017512, 0.009368],
        ("area_proportion", "estimate"): [0.023508625, 0.012984615, 0.317522145, 0.645984615],
        ("area_proportion", "se"): [0.003490722, 0.002129153, 0.008792424, 0.009229964],
    }
    for (measure, figure), values in expected.items():
        assert figures(measure, figure) == pytest.approx(values, abs=1e-6), (measure, figure)
    areas = [21157.762, 11686.154, 285769.930, 581386.154]
    half_widths = [6157.634, 3755.826, 15509.836, 16281.656]
    assert figures("area", "estimate") == pytest.approx(areas, abs=1e-3)
    lower = [area - half for area, half in zip(areas, half_widths, strict=True)]
    upper = [area + half for area, half in zip(areas, half_widths, strict=True)]
    assert figures("area", "ci_lower") == pytest.approx(lower, abs=2e-3)
    assert figures("area", "ci_upper") == pytest.approx(upper, abs=2e-3)


def test_finite_population_correction_is_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = write(tmp_path, SAMPLE, "stratum,size\na,4\n")
    with_correction = estimate(capsys, *options)["overall_accuracy"]["se"]
    without = estimate(capsys, *options, "--no-finite-population")["overall_accuracy"]["se"]
    assert with_correction == pytest.approx(without * math.sqrt(1 - 3 / 4))


def test_keys_and_nulls_of_the_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = "stratum,map_class,reference_class,note\na,1,2,x\na,1,2,\na,2,2,y\n"
    found = estimate(capsys, *write(tmp_path, sample, STRATA))
    assert list(found["classes"]) == ["1", "2"]
    measures = ["users_accuracy", "producers_accuracy", "area_proportion", "area"]
    for of_class in found["classes"].values():
        assert list(of_class) == measures
        assert all(list(of_class[m]) == ["estimate", "se", "ci_lower", "ci_upper"] for m in measures)
    assert set(found["classes"]["1"]["producers_accuracy"].values()) == {None}
    assert found["classes"]["1"]["area"]["estimate"] == 0
    area = found["classes"]["2"]["area"]
    assert (area["estimate"], area["se"], area["ci_upper"]) == (100, 0, 100)
    assert area["ci_lower"] < 60  # three units that agree prove little


def test_a_class_has_one_name_whatever_wrote_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], s3_bucket: str
) -> None:
    options = write(tmp_path, SAMPLE, STRATA)
    expected = estimate(capsys, *options)
    assert list(expected["classes"]) == ["1", "2"]
    table = pyarrow.table({"stratum": ["a"] * 3, "map_class": [1, 1, 2], "reference_class": [1.0, 2.0, 2.0]})
    pyarrow.parquet.write_table(table, tmp_path / "sample.parquet")
    storage.upload(tmp_path / "sample.parquet", f"{s3_bucket}/in/sample.parquet")
    storage.write_bytes(f"{s3_bucket}/in/strata.csv", b"\xef\xbb\xbfstratum,size\r\na,100.0\r\n\r\n")
    remote = ["--sample", f"{s3_bucket}/in/sample.parquet", "--strata", f"{s3_bucket}/in/strata.csv"]
    assert estimate(capsys, *remote) == expected
    floats = SAMPLE.replace("1,2", "1.0,2.0")
    assert estimate(capsys, *write(tmp_path, floats, STRATA)) == expected


def test_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample, strata = write_olofsson(tmp_path)
    assert main(["estimate", "--sample", sample, "--strata", strata, "--area-unit", "ha"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["measure", "class", "estimate", "se", "ci_lower", "ci_upper"]
    assert lines[1].split()[:2] == ["overall_accuracy", "0.946512"]
    area = next(line for line in lines if line.startswith("area [ha]") and " gain " in line)
    assert area.split()[3] == "11686.154"
    assert len({len(line) for line in lines[:-2]}) == 1
    assert "640 units" in lines[-1]


def test_undefined_and_degenerate_figures_are_pointed_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = "stratum,map_class,reference_class\na,1,2\na,1,2\na,2,2\n"
    assert main(["estimate", *write(tmp_path, sample, STRATA)]) == 0
    captured = capsys.readouterr()
    line = next(line for line in captured.out.splitlines() if line.startswith("producers_accuracy  1"))
    assert line.split()[2:] == ["-"] * 4
    assert "users_accuracy of class '2' has a standard error of 0" in captured.err


@pytest.mark.parametrize(
    ("sample", "strata", "message"),
    [
        ("", STRATA, "sample.csv is no valid csv file .it is empty"),
        ("stratum,map_class,reference_class\n", STRATA, "sample.csv has a header but no rows"),
        (
            "stratum;map_class\n",
            STRATA,
            r"lacks the column\(s\) \['stratum', 'map_class', 'reference_class'\]",
        ),
        (SAMPLE, "stratum,area\na,1\n", r"strata.csv lacks the column\(s\) \['size'\]"),
        (SAMPLE + "a,,1\n", STRATA, r"row 4 below the header: no value in \['map_class'\]"),
        (SAMPLE + "a,NaN,1\n", STRATA, r"row 4 below the header: no value in \['map_class'\]"),
        (
            SAMPLE + "a,1,NA\n",
            STRATA,
            r"row 4 below the header: no value in \['reference_class'\] .empty, NaN or NA",
        ),
        (SAMPLE + "a,1\n", STRATA, "row 4 below the header has 2 cells, the header 3"),
        (
            SAMPLE,
            "stratum,size\na,10.5\n",
            "row 1 below the header: size '10.5' must be a whole number above 0",
        ),
        (SAMPLE, "stratum,size\na,0\n", "size '0' must be a whole number above 0"),
        (SAMPLE, "stratum,size\na,-5\n", "size '-5' must be a whole number above 0"),
        (SAMPLE, "stratum,size\na,many\n", "size 'many' is no number"),
        (SAMPLE, "stratum,size,area\na,9,0\n", "area '0' must be above 0"),
        (SAMPLE, "stratum,size,area\na,9,inf\n", "area 'inf' must be finite"),
        (SAMPLE, "stratum,size,area\na,9,\n", r"no value in \['area'\]"),
        (SAMPLE, "stratum,size\na,9\na,9\n", r"strata \['a'\] stand more than once"),
        (SAMPLE, "stratum,size,size\na,9,9\n", r"column\(s\) \['size'\] more than once"),
        (SAMPLE, "stratum,size\na,2\n", "stratum 'a' has 3 sample units but a size of 2"),
        (SAMPLE, "stratum,size\na,9\nb,9\n", "stratum 'b' has 0 sample unit.*at least 2 are needed"),
        (SAMPLE, "stratum,size\nb,9\n", "sample has the stratum 'a', the strata are .'b'."),
    ],
)
def test_bad_files_give_one_clear_message(
    sample: str, strata: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", *write(tmp_path, sample, strata), "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.search(message, captured.err), captured.err


def test_files_that_are_not_there_or_not_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write(tmp_path, SAMPLE, STRATA)
    assert main(["estimate", "--sample", str(tmp_path / "none.csv"), *options[2:]]) == 1
    assert "there is no file" in capsys.readouterr().err
    (tmp_path / "sample.parquet").write_bytes(b"no parquet")
    assert main(["estimate", "--sample", str(tmp_path / "sample.parquet"), *options[2:]]) == 1
    assert "sample.parquet is no valid parquet file" in capsys.readouterr().err
    (tmp_path / "sample.csv").write_bytes(b"stratum,map_class\n\xff\xfe,1\n")
    assert main(["estimate", *options]) == 1
    assert "sample.csv is no valid csv file" in capsys.readouterr().err
    assert main(["estimate", "--sample", str(tmp_path / "sample.xlsx"), *options[2:]]) == 1
    assert "sample.xlsx is neither .csv nor .parquet" in capsys.readouterr().err


def test_missing_options_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["estimate", "--sample", "x.csv"])
    assert stopped.value.code == 2
    assert "--strata" in capsys.readouterr().err


HEADER = "stratum,map_class,reference_class\n"


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (f"{HEADER}a,x,x\na,x,unobserved\n", "has ['unobserved'] in the wrong column"),
        (f"{HEADER}a,x,x\na,x,nodata\n", "has ['nodata'] in the wrong column"),
        (f"{HEADER}a,x,x\na,uninterpreted,x\n", "has ['uninterpreted'] in the wrong column"),
        (f"{HEADER}a,x,x\na,x,Uninterpreted\n", "are one name in different spellings"),
        (f"{HEADER}a,x,x\na,NoData,x\n", "are one name in different spellings"),
        (f"{HEADER}a,Crop,crop\na,x,x\n", "has the classes ['Crop', 'crop'], which are one name"),
        (f"{HEADER}a,B\u00e4ume,Ba\u0308ume\na,x,x\n", "are one name in different spellings"),
        (f"{HEADER}a,1,water\na,2,crop\n", "map and reference have no class in common"),
        (
            "unit_id,stratum,map_class,reference_class\n1,a,x,x\n1,a,x,y\n2,a,x,x\n",
            "has 1 unit_id(s) more than once, 0 are allowed: ['1']",
        ),
    ],
)
def test_classes_and_units_that_would_be_lost_or_counted_twice_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sample: str, message: str
) -> None:
    assert main(["estimate", *write(tmp_path, sample, STRATA)]) == 1
    assert message in capsys.readouterr().err


def test_a_map_that_shows_no_unit_needs_no_class_in_common(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = estimate(capsys, *write(tmp_path, f"{HEADER}a,nodata,x\na,nodata,y\n", STRATA))
    assert found["overall_accuracy"]["estimate"] is None
