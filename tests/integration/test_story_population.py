"""What an estimate is about: a wrong or incomplete sample publishes no figure, and says why."""

import io
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from orthostat import storage
from orthostat.errors import SampleError
from tests.integration.story import Story, read_table, upload_scenes

JANUARY = ("2024-01-01", "2024-02-01")
Table = list[dict[str, str]]


def read_csv(uri: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(storage.read_bytes(uri)), dtype={"zone_id": str})


def write_csv(frame: pd.DataFrame, uri: str) -> None:
    storage.write_bytes(uri, frame.to_csv(index=False).encode())


def add_nation(story: Story, world: Path) -> Story:
    """The zones and a nation that they make up."""
    zones = gpd.read_file(world / "zones.gpkg")
    nation = gpd.GeoDataFrame(
        {"zone_id": ["N"], "zone_name": ["Nation"]}, geometry=[zones.union_all()], crs=zones.crs
    )
    path = story.folder / "nation.gpkg"
    pd.concat([zones.assign(part_of="N"), nation]).to_file(path)
    uri = story.pipeline.zones.uri.replace("zones.gpkg", "nation.gpkg")
    storage.upload(path, uri)
    return story.write(zones=story.pipeline.zones.model_dump() | {"uri": uri, "parent_column": "part_of"})


def estimates(story: Story) -> dict[str, Table]:
    """Rows of the estimates by zone."""
    rows: dict[str, Table] = {}
    for row in read_table(story):
        if row["method"] == "STRATIFIED":
            rows.setdefault(row["zone_id"], []).append(row)
    return rows


def test_a_nation_is_estimated_from_all_its_zones_and_the_frame_stands_in_the_row(
    story: Story, world: Path
) -> None:
    upload_scenes(story, world, "2024-01")
    story = add_nation(story, world)
    story.run("whole", *JANUARY)
    found = estimates(story)
    parts = [zone_id for zone_id in found if zone_id != "N"]
    for number, row in enumerate(found["N"]):
        assert row["population"] == "zone"
        assert float(row["frame_area_m2"]) == pytest.approx(float(row["zone_area_m2"]), rel=0.01)
        assert float(row["area_m2"]) == pytest.approx(
            sum(float(found[part][number]["area_m2"]) for part in parts), rel=1e-9
        )
        assert row["uninterpreted_size"] == "0"
    frame = float(found["N"][0]["frame_area_m2"])
    assert sum(float(row["area_m2"]) for row in found["N"]) == pytest.approx(frame, rel=1e-9)


def test_one_zone_left_out_of_the_sample_leaves_the_nation_empty(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story = add_nation(story, world)
    assert story.pipeline.sample is not None
    for uri in (story.pipeline.sample.uri, story.pipeline.sample.strata_uri):
        frame = read_csv(uri)
        left_out = sorted(frame["zone_id"].unique())[0]
        write_csv(frame[frame["zone_id"] != left_out], uri)
    run = story.run("part", *JANUARY)
    found = estimates(story)
    reason = f"zone 'N' needs all of its parts: zone '{left_out}' has no strata"
    assert reason in run.notes["estimate"]
    for zone_id, rows in found.items():
        is_empty = zone_id in ("N", left_out)
        assert {row["obs_status"] for row in rows} == ({"O"} if is_empty else {"G"})
        assert all((row["area_m2"] == "") == is_empty for row in rows)
    assert all(reason in row["obs_note"] for row in found["N"])


def test_strata_in_hectares_publish_no_estimate(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    assert story.pipeline.sample is not None
    strata = read_csv(story.pipeline.sample.strata_uri)
    write_csv(strata.assign(area_m2=strata["area_m2"] / 10_000), story.pipeline.sample.strata_uri)
    story.run("hectares", *JANUARY)
    rows = [row for rows in estimates(story).values() for row in rows]
    assert {row["area_m2"] for row in rows} == {""}
    assert all("-99.99%" in row["obs_note"] and "square metres" in row["obs_note"] for row in rows)
    accuracy = storage.read_bytes(story.files("2024-01")["accuracy.csv"]).decode()
    assert len(accuracy.splitlines()) == 1  # the header


def test_one_zone_in_hectares_takes_no_figure_and_no_accuracy_with_it(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    assert story.pipeline.sample is not None
    uri, strata_uri = story.pipeline.sample.uri, story.pipeline.sample.strata_uri
    whole = read_csv(strata_uri)
    wrong = whole["zone_id"] == sorted(whole["zone_id"].unique())[0]
    write_csv(whole.assign(area_m2=whole["area_m2"].where(~wrong, whole["area_m2"] / 10_000)), strata_uri)
    story.run("one", *JANUARY)
    for zone_id, rows in estimates(story).items():
        assert all((row["area_m2"] == "") == (zone_id == whole["zone_id"][0]) for row in rows)
    accuracy = storage.read_bytes(story.files("2024-01")["accuracy.csv"])
    units = read_csv(uri)
    write_csv(whole[~wrong], strata_uri)
    write_csv(units[units["zone_id"] != whole["zone_id"][0]], uri)
    story = story.write(output=f"{story.pipeline.output}-without", name="without")
    story.run("without", *JANUARY)
    without = storage.read_bytes(story.files("2024-01")["accuracy.csv"])
    values = [
        pd.read_csv(io.BytesIO(data))[["class_name", "measure", "value"]] for data in (accuracy, without)
    ]
    pd.testing.assert_frame_equal(*values)


def test_a_sample_of_a_part_is_published_as_what_it_is(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    assert story.pipeline.sample is not None
    strata = read_csv(story.pipeline.sample.strata_uri)
    halved = strata.assign(size=strata["size"] // 2, area_m2=strata["area_m2"] / 2)
    write_csv(halved, story.pipeline.sample.strata_uri)
    sample = {"population": "frame", "frame": "the cultivated half", "is_simulated": False}
    story = story.write(sample=story.pipeline.sample.model_dump() | sample)
    story.run("half", *JANUARY)
    for rows in estimates(story).values():
        assert sum(float(row["area_m2"] or 0) for row in rows) <= float(rows[0]["zone_area_m2"]) * 0.51
        assert {row["population"] for row in rows} == {"the cultivated half"}
        assert {row["obs_status"] for row in rows} <= {"D", "U", "Q"}
        assert any(row["obs_status"] == "D" for row in rows)


def test_a_region_and_its_parts_with_strata_stop_the_run(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story = add_nation(story, world)
    assert story.pipeline.sample is not None
    strata = read_csv(story.pipeline.sample.strata_uri)
    write_csv(pd.concat([strata, strata.head(1).assign(zone_id="N")]), story.pipeline.sample.strata_uri)
    with pytest.raises(SampleError, match="and zone 'N', which it is part of, both have strata in 2024-01"):
        story.run("twice", *JANUARY)


def test_a_wrong_coordinate_system_of_the_sample_stops_the_run(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    assert story.pipeline.sample is not None
    story = story.write(sample=story.pipeline.sample.model_dump() | {"crs": "EPSG:32634"})
    with pytest.raises(SampleError, match=r"(\d+) of \1 units of 2024-01 lie outside .*sample.crs"):
        story.run("misplaced", *JANUARY)


def test_estimates_do_not_need_the_map(story: Story, world: Path) -> None:
    """One of a month's four scenes: counts of the other zones are empty, estimates are as they were."""
    names = upload_scenes(story, world, "2024-01")
    story.run("whole", *JANUARY)
    whole = estimates(story)
    for name in names[1:]:
        storage.delete(storage.join(story.pipeline.scenes.uri, f"{name}.tif"))
    story = story.write(output=f"{story.pipeline.output}-part", name="part")
    story.run("part", *JANUARY)
    partly = estimates(story)
    rows = read_table(story)
    assert any(row["method"] == "MAP_COUNT" and row["obs_status"] == "O" for row in rows)
    for zone_id, there in whole.items():
        for row, other in zip(there, partly[zone_id], strict=True):
            assert (row["area_m2"], row["ci_upper_m2"]) == (other["area_m2"], other["ci_upper_m2"])
    accuracy = pd.read_csv(io.BytesIO(storage.read_bytes(story.files("2024-01")["accuracy.csv"])))
    overall = accuracy[accuracy["measure"] == "OA"].iloc[0]
    assert 0 < overall["mapped_size"] < overall["sample_size"]
    assert overall["value"] > 0.7  # of what the map shows


def test_units_that_could_not_be_interpreted_are_counted_and_too_many_refuse_the_figure(
    story: Story, world: Path
) -> None:
    upload_scenes(story, world, "2024-01")
    assert story.pipeline.sample is not None
    sample = read_csv(story.pipeline.sample.uri)
    zone_id = sorted(sample["zone_id"].unique())[0]
    mine = sample.index[(sample["zone_id"] == zone_id) & (sample["period"] == "2024-01")]
    sample.loc[mine[::2], "reference_class"] = "uninterpreted"
    write_csv(sample, story.pipeline.sample.uri)
    story.run("clouds", *JANUARY)
    for row in estimates(story)[zone_id]:
        assert (row["obs_status"], row["area_m2"]) == ("O", "")
        assert "of the units could not be interpreted, above 30.0%" in row["obs_note"]
        assert int(row["uninterpreted_size"]) == len(mine[::2])


def test_a_sample_too_small_is_refused_with_the_number_that_is_needed(story: Story, world: Path) -> None:
    upload_scenes(story, world, "2024-01")
    story = story.write(publication={**story.pipeline.publication.model_dump(), "min_sample_size": 100_000})
    run = story.run("small", *JANUARY)
    assert "100000 are needed" in run.notes["estimate"]
    rows = [row for row in read_table(story) if row["method"] == "STRATIFIED"]
    assert rows
    assert all(row["area_m2"] == "" and "100000 are needed" in row["obs_note"] for row in rows)
