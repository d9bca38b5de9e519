"""A pipeline's sample file and strata file: what is read and what is refused."""

from pathlib import Path

import pandas as pd
import pytest

from orthostat.errors import SampleError
from orthostat.estimation.sample import (
    SampleStratum,
    SampleUnit,
    check_reference_classes,
    read_sample,
    read_strata,
)
from orthostat.pipelines.config import Sample

UNITS = "unit_id,period,zone_id,stratum,x,y,reference_class\n7,2025-01,north,water,500015.5,-10,crop\n"
STRATA = "period,zone_id,stratum,size,area_m2\n2025-01,north,water,40,36000.5\n"


def configure(folder: Path, units: str = UNITS, strata: str = STRATA) -> Sample:
    (folder / "units.csv").write_text(units)
    (folder / "strata.csv").write_text(strata)
    return Sample(
        uri=str(folder / "units.csv"),
        strata_uri=str(folder / "strata.csv"),
        crs="EPSG:32621",
        sample_id="test-1",
        frame="all pixels",
    )


def test_rows_become_units_and_strata(tmp_path: Path) -> None:
    sample = configure(tmp_path)
    assert read_sample(sample) == [SampleUnit("7", "2025-01", "north", "water", 500015.5, -10.0, "crop")]
    assert read_strata(sample) == [SampleStratum("2025-01", "north", "water", 40, 36000.5)]


def test_parquet_reads_the_same(tmp_path: Path) -> None:
    sample = configure(tmp_path)
    for name in ("units", "strata"):
        pd.read_csv(tmp_path / f"{name}.csv").to_parquet(tmp_path / f"{name}.parquet")
    as_parquet = sample.model_copy(
        update={
            "uri": str(tmp_path / "units.parquet"),
            "strata_uri": str(tmp_path / "strata.parquet"),
        }
    )
    assert read_sample(as_parquet) == read_sample(sample)
    assert read_strata(as_parquet) == read_strata(sample)


def test_a_unit_may_come_back_in_another_period_but_not_in_the_same(tmp_path: Path) -> None:
    again = UNITS + "7,2025-02,north,water,1,1,crop\n"
    assert len(read_sample(configure(tmp_path, again))) == 2
    twice = again + "7,2025-01,south,water,2,2,crop\n"
    with pytest.raises(SampleError, match=r"row 3 below the header: unit_id '7' stands in row 1 already"):
        read_sample(configure(tmp_path, twice))


def test_a_stratum_stands_once_per_zone_and_period(tmp_path: Path) -> None:
    others = STRATA + "2025-02,north,water,40,1\n2025-01,south,water,40,1\n"
    assert len(read_strata(configure(tmp_path, strata=others))) == 3
    with pytest.raises(SampleError, match=r"row 4 below the header: stratum 'water' stands in row 1 already"):
        read_strata(configure(tmp_path, strata=others + "2025-01,north,water,9,9\n"))


@pytest.mark.parametrize(
    ("x", "message"),
    [("east", "x 'east' is no number"), ("inf", "x 'inf' must be finite"), ("", "no value in")],
)
def test_a_unit_needs_a_place(x: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=message):
        read_sample(configure(tmp_path, UNITS.replace("500015.5", x)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [(",40,", ",4.5,", "size '4.5'"), ("36000.5", "0", "area_m2 '0' must be above 0")],
)
def test_a_stratum_needs_size_and_area(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=message):
        read_strata(configure(tmp_path, strata=STRATA.replace(old, new)))


def test_reference_classes_follow_the_models_names(tmp_path: Path) -> None:
    units = read_sample(configure(tmp_path))
    check_reference_classes(units, ["crop", "water"])
    with pytest.raises(SampleError, match=r"\['crop'\] of the sample, e.g. of unit '7'.*\['Crop', 'water'\]"):
        check_reference_classes(units, ["water", "Crop"])
