"""Releases on a real PostgreSQL and an S3 API: what is a revision, why, and what it breaks."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from orthostat import storage
from orthostat.cli.main import main
from orthostat.errors import ReleaseError
from orthostat.pipelines.config import Pipeline
from orthostat.statistics.copy import read_vintage
from orthostat.statistics.database import migrate, open_database
from orthostat.statistics.release import ReleaseSummary, release
from orthostat.statistics.result import PeriodResult, read_result
from orthostat.statistics.vintages import current_periods
from tests.builders_statistics import (
    SAMPLE,
    Tables,
    make_inputs,
    make_release_pipeline,
    make_result,
    write_zones,
)


def read_rows(database_url: str, vintage: int | None = None) -> list[dict[str, Any]]:
    with open_database(database_url) as connection:
        rows: list[dict[str, Any]] = read_vintage(connection, "made", vintage).to_pylist()
        return rows


def read_all(database_url: str, query: str) -> list[dict[str, Any]]:
    with open_database(database_url) as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def water(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Figure of zone a's water by period."""
    return {
        row["period"]: row["area_m2"]
        for row in rows
        if row["zone_id"] == "a" and row["class_name"] == "water"
    }


def test_a_lock_that_somebody_forgot_is_not_waited_for_for_ever(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orthostat.statistics.database._LOCK_TIMEOUT", "100ms")
    lock = text("SELECT pg_advisory_xact_lock(1)")
    with open_database(database_url) as forgotten:
        forgotten.execute(lock)
        with (
            pytest.raises(ReleaseError, match=r"has held a lock for 100ms; .* pg_terminate_backend"),
            open_database(database_url) as connection,
        ):
            connection.execute(lock)


def test_nothing_is_released_yet(database_url: str) -> None:
    assert current_periods(database_url, "made") == {}


def test_first_figures_and_a_revision_that_leaves_the_old_vintage_readable(
    pipeline: Pipeline, database_url: str
) -> None:
    january, february = make_result(pipeline), make_result(pipeline, "2024-02")
    first = release(pipeline, "run-1", [january, february])
    assert (first.vintage, first.is_unchanged, first.periods) == (1, False, ("2024-01", "2024-02"))
    assert first.reason == "first figures for 2024-01, 2024-02"
    old = read_rows(database_url)
    assert len(old) == 2 * 2 * 2
    changed = make_result(pipeline, "2024-02", water_m2=260_000.0, scenes="others", model="cd" * 32)
    second = release(pipeline, "run-2", [january, changed])
    assert (second.vintage, second.supersedes, second.periods) == (2, first.release_id, ("2024-02",))
    assert second.reason == "revised figures for 2024-02 (scenes, model)"
    rows = read_rows(database_url)
    assert water(rows) == {"2024-01": 250_000.0, "2024-02": 260_000.0}
    assert {row["period"]: row["release_id"] for row in rows} == {
        "2024-01": first.release_id,
        "2024-02": second.release_id,
    }
    assert read_rows(database_url, 1) == old
    known = current_periods(database_url, "made")
    assert known["2024-02"].known == {changed.inputs.sha256}
    assert known["2024-02"].inputs == changed.inputs
    assert known["2024-01"].scene_ids == {"A"}
    current = read_all(database_url, "SELECT * FROM current_observation")
    assert water(current) == water(rows)
    assert {(row["period"], row["vintage"]) for row in current} == {("2024-01", 1), ("2024-02", 2)}


def test_a_revision_says_old_new_difference_and_cause(pipeline: Pipeline, database_url: str) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])

    def change(tables: Tables) -> None:
        """Bland's crop is withheld no more; its water is gone, and a third zone has come."""
        rows = tables["observation"]
        water, crop = (row for row in rows if row["zone_id"] == "b")
        crop |= {"area_m2": 5.0, "mapped_area_m2": 5.0, "obs_status": "G"}
        rows.remove(water)
        rows.append(water | {"zone_id": "c", "area_m2": 7.0, "mapped_area_m2": 7.0, "obs_status": "G"})

    release(
        pipeline, "run-2", [make_result(pipeline, water_m2=260_000.0, change=change, publication="other")]
    )
    found = read_all(database_url, "SELECT * FROM revision ORDER BY zone_id, class_id")
    names = ("zone_id", "class_id", "old_value", "new_value", "difference", "old_status", "new_status")
    assert [tuple(row[name] for name in names) for row in found] == [
        ("a", 0, 250_000.0, 260_000.0, 10_000.0, "G", "G"),
        ("a", 1, 700_000.0, 700_000.0, 0.0, "G", "G"),  # more of its zone was observed
        ("b", 0, None, None, None, "O", None),
        ("b", 1, None, 5.0, None, "O", "G"),
        ("c", 0, None, 7.0, None, None, "G"),
    ]
    assert {row["cause"] for row in found} == {"rules of publication"}


def test_equal_figures_are_confirmed_and_not_released_again(pipeline: Pipeline, database_url: str) -> None:
    first = release(pipeline, "run-1", [make_result(pipeline)])
    again = make_result(pipeline, publication="other", model="cd" * 32)
    second = release(pipeline, "run-2", [again])
    assert second.is_unchanged
    assert (second.release_id, second.periods) == (first.release_id, ())
    assert len(read_all(database_url, "SELECT * FROM release")) == 1
    assert {row["model_sha256"] for row in read_rows(database_url)} == {"ab" * 32}
    known = current_periods(database_url, "made")["2024-01"]
    assert known.known == {make_inputs().sha256, again.inputs.sha256}
    release(pipeline, "run-3", [again])
    [confirmation] = read_all(database_url, "SELECT * FROM confirmation")
    assert (confirmation["run_id"], confirmation["inputs"]["publication"]) == ("run-2", "other")
    # What confirmed an older release says nothing of the next one.
    release(pipeline, "run-4", [make_result(pipeline, water_m2=260_000.0, scenes="others")])
    known = current_periods(database_url, "made")["2024-01"]
    assert known.known == {make_inputs(scenes="others").sha256}


def test_a_period_that_closes_is_a_revision_though_no_number_changed(
    pipeline: Pipeline, database_url: str
) -> None:
    release(pipeline, "run-1", [make_result(pipeline, period_state="open")])
    assert {row["period_state"] for row in read_rows(database_url)} == {"open"}
    second = release(pipeline, "run-2", [make_result(pipeline)])
    assert second.reason == "revised figures for 2024-01 (state of the period)"
    assert {row["period_state"] for row in read_rows(database_url)} == {"closed"}


def test_a_change_of_coverage_alone_is_a_revision_with_both(pipeline: Pipeline, database_url: str) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])

    def see_less(tables: Tables) -> None:
        for row in tables["observation"]:
            if row["zone_id"] == "a":
                row["coverage"] = 0.85

    release(pipeline, "run-2", [make_result(pipeline, change=see_less, scenes="others")])
    found = read_all(database_url, "SELECT * FROM revision")
    assert {
        (row["zone_id"], row["difference"], row["old_coverage"], row["new_coverage"]) for row in found
    } == {("a", 0.0, 0.95, 0.85)}
    assert len(found) == 2


def test_another_name_of_a_zone_is_no_revision(pipeline: Pipeline, database_url: str) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])

    def rename(tables: Tables) -> None:
        for row in tables["observation"]:
            row["zone_name"] += " (renamed)"

    assert release(pipeline, "run-2", [make_result(pipeline, change=rename, zone_names="o")]).is_unchanged


@pytest.mark.parametrize(
    ("changes", "causes"),
    [
        ({"options": "o", "labels": "o"}, ["options of the prediction"]),
        ({"scenes": "o", "labels": "o"}, ["scenes"]),
        ({"labels": "o"}, ["predictions"]),
        ({"rule": "majority", "period_state": "open"}, ["rule of composing", "state of the period"]),
        ({}, []),
    ],
)
def test_causes_name_what_decided_otherwise(changes: dict[str, Any], causes: list[str]) -> None:
    assert make_inputs(**changes).changes(make_inputs()) == causes


def test_a_zone_that_vanished_is_gone_from_the_period(pipeline: Pipeline, database_url: str) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])

    def change(tables: Tables) -> None:
        tables["observation"] = [row for row in tables["observation"] if row["zone_id"] == "a"]

    release(pipeline, "run-2", [make_result(pipeline, change=change, boundaries="other")])
    assert {row["zone_id"] for row in read_rows(database_url)} == {"a"}
    assert {row["zone_id"] for row in read_rows(database_url, 1)} == {"a", "b"}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"model": "cd" * 32}, "model"),
        ({"boundary_version": "2025", "boundaries": "other"}, "zones"),
        ({"options": "other"}, "options"),
        ({"grid": "other", "rule": "majority"}, "grid, rule"),
        ({"steps": "compose 2"}, "method"),
        ({"merge_threshold": 0.9}, None),
        ({"scenes": "other", "sample": "other", "publication": "other"}, None),
    ],
)
def test_what_makes_figures_another_series_breaks_it(
    pipeline: Pipeline, database_url: str, changes: dict[str, Any], note: str | None
) -> None:
    months = ["2024-01", "2024-02", "2024-03"]
    results = [
        make_result(pipeline, months[0]),
        *(make_result(pipeline, month, **changes) for month in months[1:]),
    ]
    release(pipeline, "run-1", results)
    breaks = {(row["period"], row["is_break"], row["break_note"]) for row in read_rows(database_url)}
    assert breaks == {
        ("2024-01", False, None),
        ("2024-02", note is not None, note),
        ("2024-03", False, None),
    }


def test_another_class_under_the_same_id_breaks_the_series(pipeline: Pipeline, database_url: str) -> None:
    def rename(tables: Tables) -> None:
        for row in tables["observation"]:
            row["class_name"] = {"water": "ice"}.get(row["class_name"], row["class_name"])

    release(pipeline, "run-1", [make_result(pipeline), make_result(pipeline, "2024-02", change=rename)])
    breaks = {(row["period"], row["class_name"], row["break_note"]) for row in read_rows(database_url)}
    assert ("2024-02", "ice", "class") in breaks
    assert ("2024-02", "crop", None) in breaks


def count_objects(tables: Tables) -> None:
    """Make the rows those of counted objects."""
    for row in tables["observation"]:
        is_shown = row["area_m2"] is not None
        row |= {"indicator": "COUNT", "area_m2": None, "mapped_area_m2": None}
        row |= {"object_count": 5, "mapped_count": 5} if is_shown else {}


def test_counts_are_released_and_read_back_as_whole_numbers(pipeline: Pipeline, database_url: str) -> None:
    results = [
        make_result(pipeline, change=count_objects),
        make_result(pipeline, "2024-02", change=count_objects, merge_threshold=0.9),
    ]
    release(pipeline, "run-1", results)
    rows = read_rows(database_url)
    assert {(row["indicator"], row["object_count"]) for row in rows} == {("COUNT", 5), ("COUNT", None)}
    assert {row["period"]: row["break_note"] for row in rows} == {
        "2024-01": None,
        "2024-02": "merge_threshold",
    }
    assert release(pipeline, "run-2", results).is_unchanged


def test_concurrent_releases_of_different_periods_are_two_consistent_vintages(
    pipeline: Pipeline, database_url: str
) -> None:
    summaries = release_at_once(pipeline, [make_result(pipeline)], [make_result(pipeline, "2024-02")])
    assert sorted(summary.vintage or 0 for summary in summaries) == [1, 2]
    first, second = sorted(summaries, key=lambda summary: summary.vintage or 0)
    assert second.supersedes == first.release_id
    assert set(water(read_rows(database_url))) == {"2024-01", "2024-02"}


def test_concurrent_releases_of_equal_figures_are_one(pipeline: Pipeline, database_url: str) -> None:
    summaries = release_at_once(pipeline, [make_result(pipeline)], [make_result(pipeline)])
    assert sorted(summary.is_unchanged for summary in summaries) == [False, True]
    assert len({summary.release_id for summary in summaries}) == 1
    assert len(read_all(database_url, "SELECT * FROM release")) == 1


def release_at_once(pipeline: Pipeline, *results: list[PeriodResult]) -> list[ReleaseSummary]:
    with ThreadPoolExecutor(len(results)) as threads:
        runs = [threads.submit(release, pipeline, f"run-{n}", each) for n, each in enumerate(results)]
        return [run.result() for run in runs]


def test_a_result_survives_its_way_through_s3(pipeline: Pipeline) -> None:
    result = make_result(pipeline)
    assert read_result(storage.join(result.uri, "result.json")) == result


def test_tables_that_are_not_those_that_were_estimated_are_not_released(
    pipeline: Pipeline, database_url: str
) -> None:
    result, other = make_result(pipeline), make_result(pipeline, water_m2=260_000.0)
    name = "observation.parquet"
    data = storage.read_bytes(storage.join(other.uri, name))
    storage.write_bytes(storage.join(result.uri, name), data)
    with pytest.raises(ReleaseError, match=r"2024-01 under .* are not those that were estimated"):
        release(pipeline, "run-1", [result])
    assert read_all(database_url, "SELECT * FROM release") == []


def break_schema(tables: Tables) -> None:
    tables["observation"][0]["coverage"] = 2.0


def move_to_another_period(tables: Tables) -> None:
    tables["lineage"][0]["period"] = "2024-02"


def move_to_another_pipeline(tables: Tables) -> None:
    for row in tables["accuracy"]:
        row["pipeline"] = "other"


def take_everything(tables: Tables) -> None:
    tables["observation"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (break_schema, r"coverage: .* at most 1"),
        (move_to_another_period, r"rows of period \['2024-02'\] stand in the result of .*2024-01"),
        (move_to_another_pipeline, r"rows of pipeline \['other'\] stand in the result of .*made"),
        (take_everything, "period 2024-01 has no rows"),
    ],
)
def test_a_wrong_table_releases_nothing(
    s3_bucket: str, database_url: str, monkeypatch: pytest.MonkeyPatch, change: Any, message: str
) -> None:
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    pipeline = make_release_pipeline(s3_bucket, sample=SAMPLE)
    write_zones(pipeline.zones.uri)
    with pytest.raises(ReleaseError, match=message):
        release(pipeline, "run-1", [make_result(pipeline, "2024-02"), make_result(pipeline, change=change)])
    migrate(database_url)
    assert read_all(database_url, "SELECT * FROM release") == []


def test_the_command_shows_the_current_table_and_an_earlier_one(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])
    release(pipeline, "run-2", [make_result(pipeline, water_m2=260_000.0, scenes="others")])
    assert main(["statistics", "show", "--pipeline", "made"]) == 0
    shown = capsys.readouterr().out
    assert "0.260" in shown
    assert "G: experimental" in shown
    assert main(["statistics", "show", "--pipeline", "made", "--vintage", "1"]) == 0
    assert "0.250" in capsys.readouterr().out
    assert main(["statistics", "show", "--pipeline", "made", "--vintage", "3"]) == 1
    assert "no vintage 3; there are 1 to 2" in capsys.readouterr().err
    assert main(["statistics", "show", "--pipeline", "other"]) == 1
    assert "pipeline 'other' has no release" in capsys.readouterr().err
