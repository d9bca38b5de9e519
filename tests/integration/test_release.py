"""Releases on a real PostgreSQL and an S3 API."""

import csv
import io
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from orthostat import storage
from orthostat.cli.main import main
from orthostat.errors import ConfigurationError, ReleaseError
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.statistics import exports
from orthostat.statistics import release as release_module
from orthostat.statistics.database import METADATA, VERSION_TABLE, migrate, open_database
from orthostat.statistics.release import ReleaseSummary, release
from orthostat.statistics.result import PeriodResult, read_result, write_result
from orthostat.statistics.vintages import current_periods, read_releases, read_vintage
from tests.builders_statistics import SAMPLE, make_release_pipeline, make_result, write_zones


@pytest.fixture
def pipeline(s3_bucket: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline with its zones in S3 and a fresh statistics database."""
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    pipeline = make_release_pipeline(s3_bucket)
    write_zones(pipeline.zones.uri)
    return pipeline


def make(pipeline: Pipeline, period: str = "2024-01", **changes: Any) -> PeriodResult:
    return make_result(period, pipeline, **changes)


def read_rows(database_url: str, pipeline: Pipeline, vintage: int | None = None) -> list[dict[str, Any]]:
    with open_database(database_url) as connection:
        return read_vintage(connection, pipeline.name, vintage)


def water(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Figure of zone a's water by period."""
    return {
        row["period"]: row["area_m2"]
        for row in rows
        if row["zone_id"] == "a" and row["class_name"] == "water"
    }


def count(database_url: str, table: str) -> int:
    with open_database(database_url) as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def files_of(pipeline: Pipeline) -> dict[str, str]:
    return {
        stored.uri.removeprefix(pipeline.output): stored.etag
        for stored in storage.list_objects(pipeline.output)
    }


def read_inputs(database_url: str) -> dict[str, str]:
    return {name: found.inputs_sha256 for name, found in current_periods(database_url, "made").items()}


def test_the_migration_makes_the_declared_tables_and_may_run_again(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)
    with open_database(database_url) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": VERSION_TABLE}
        )
        assert compare_metadata(context, METADATA) == []


def test_counts_join_a_database_that_holds_areas(pipeline: Pipeline, database_url: str) -> None:
    """Later migrations change no released row, and a right to read a view stays."""
    migrate(database_url, "0001")
    new = {
        **dict.fromkeys(["object_count", "mapped_count", "uninterpreted_size", "frame_area_m2"]),
        "population": "zone",
    }
    old = {name: value for name, value in make(pipeline).rows[0].items() if name not in new}
    names, values = ", ".join(old), ", ".join(f":{name}" for name in old)
    with open_database(database_url) as connection:
        connection.execute(
            text(
                "INSERT INTO release (release_id, pipeline, vintage, reason, run_id, code_version) "
                "VALUES ('v1-old', 'made', 1, 'first', 'run', '0.1.0')"
            )
        )
        connection.execute(text(f"INSERT INTO release_period VALUES ('v1-old', '2024-01', '{'1' * 64}')"))
        connection.execute(
            text(f"INSERT INTO observation (release_id, {names}) VALUES ('v1-old', {values})"), old
        )
        connection.execute(text("CREATE ROLE reader"))
        connection.execute(text("GRANT SELECT ON current_observation TO reader"))
        before = connection.execute(text("SELECT * FROM current_observation")).mappings().one()
    migrate(database_url)
    with open_database(database_url) as connection:
        after = connection.execute(text("SELECT * FROM current_observation")).mappings().one()
        granted = text("SELECT has_table_privilege('reader', 'current_observation', 'SELECT')")
        assert connection.execute(granted).scalar_one()
        connection.execute(text("DROP OWNED BY reader"))
        connection.execute(text("DROP ROLE reader"))
    assert dict(after) == dict(before) | new
    with pytest.raises(DBAPIError, match="append-only"), open_database(database_url) as connection:
        connection.execute(text("UPDATE observation SET object_count = 1"))
    [row] = read_rows(database_url, pipeline)
    assert (row["area_m2"], row["object_count"]) == (250_000.0, None)


def test_counts_are_released_and_read_back_as_whole_numbers(pipeline: Pipeline, database_url: str) -> None:
    first = make(pipeline)
    counts = {"indicator": "COUNT", "area_m2": None, "mapped_area_m2": None}
    rows = tuple(
        row | counts | {"object_count": 5 if row["area_m2"] is not None else None, "mapped_count": 5}
        for row in first.rows
    )
    summary = release(pipeline, "run-1", [first.model_copy(update={"rows": rows})])
    found = read_rows(database_url, pipeline)
    assert {(row["indicator"], row["object_count"], type(row["mapped_count"])) for row in found} == {
        ("COUNT", 5, int),
        ("COUNT", None, int),
    }
    parquet = pq.read_table(io.BytesIO(storage.read_bytes(f"{summary.uri}/statistics.parquet")))
    assert parquet.to_pylist() == found
    assert release(pipeline, "run-2", [first.model_copy(update={"rows": rows})]).is_unchanged


def test_two_processes_may_migrate_at_once(database_url: str) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for done in [processes.submit(migrate, database_url) for _ in range(2)]:
            done.result()
    assert count(database_url, "release") == 0


def test_nothing_is_released_yet(database_url: str) -> None:
    assert current_periods(database_url, "made") == {}


def test_a_release_writes_its_rows_and_its_files(pipeline: Pipeline, database_url: str) -> None:
    summary = release(pipeline, "run-1", [make(pipeline), make(pipeline, "2024-02")])
    assert (summary.vintage, summary.is_unchanged, summary.periods) == (1, False, ("2024-01", "2024-02"))
    assert summary.reason == "first figures for 2024-01, 2024-02"
    assert read_inputs(database_url) == {"2024-01": "1" * 64, "2024-02": "1" * 64}
    rows = read_rows(database_url, pipeline)
    assert len(rows) == 2 * 2 * 2
    assert {row["release_id"] for row in rows} == {summary.release_id}
    assert [name.rpartition("/")[2] for name in sorted(files_of(pipeline))] == [
        "accuracy.csv",
        "lineage.csv",
        "map-2024-01.png",
        "map-2024-02.png",
        "release.json",
        "statistics.csv",
        "statistics.parquet",
    ]


def test_the_exports_equal_the_database(pipeline: Pipeline, database_url: str) -> None:
    summary = release(pipeline, "run-1", [make(pipeline)])
    rows = read_rows(database_url, pipeline)
    parquet = pq.read_table(io.BytesIO(storage.read_bytes(f"{summary.uri}/statistics.parquet")))
    assert parquet.to_pylist() == rows
    assert parquet.column_names[-2:] == ["release_id", "is_break"]
    lines = list(csv.DictReader(io.StringIO(storage.read_bytes(f"{summary.uri}/statistics.csv").decode())))
    assert [line["area_m2"] for line in lines] == [
        "" if row["area_m2"] is None else repr(row["area_m2"]) for row in rows
    ]
    assert {line["is_simulated"] for line in lines} == {"false"}
    described = storage.read_json(f"{summary.uri}/release.json")
    assert described["release_id"] == summary.release_id
    assert described["periods"]["2024-01"]["boundary_version"] == ["2024"]
    for name, facts in described["files"].items():
        assert len(storage.read_bytes(f"{summary.uri}/{name}")) == facts["size_bytes"]


def test_an_equal_result_changes_nothing(pipeline: Pipeline, database_url: str) -> None:
    first = release(pipeline, "run-1", [make(pipeline)])
    before = files_of(pipeline)
    second = release(pipeline, "run-2", [make(pipeline)])
    assert second.is_unchanged
    assert (second.release_id, second.periods) == (first.release_id, ())
    assert count(database_url, "release") == 1
    assert files_of(pipeline) == before


def test_a_changed_period_supersedes_and_the_old_vintage_stays_readable(
    pipeline: Pipeline, database_url: str
) -> None:
    first = release(pipeline, "run-1", [make(pipeline), make(pipeline, "2024-02")])
    old = read_rows(database_url, pipeline)
    changed = make(pipeline, "2024-02", water_m2=260_000.0, inputs_sha256="2" * 64)
    second = release(pipeline, "run-2", [make(pipeline), changed])
    assert (second.vintage, second.supersedes, second.periods) == (2, first.release_id, ("2024-02",))
    assert second.reason == "revised figures for 2024-02"
    rows = read_rows(database_url, pipeline)
    assert water(rows) == {"2024-01": 250_000.0, "2024-02": 260_000.0}
    assert {row["period"]: row["release_id"] for row in rows} == {
        "2024-01": first.release_id,
        "2024-02": second.release_id,
    }
    assert read_rows(database_url, pipeline, 1) == old
    assert read_inputs(database_url) == {"2024-01": "1" * 64, "2024-02": "2" * 64}
    with open_database(database_url) as connection:
        current = connection.execute(text("SELECT * FROM current_observation")).mappings().all()
    assert water([dict(row) for row in current]) == water(rows)
    assert {(row["period"], row["vintage"]) for row in current} == {("2024-01", 1), ("2024-02", 2)}


def test_a_zone_that_vanished_is_gone_from_the_period(pipeline: Pipeline, database_url: str) -> None:
    first = make(pipeline)
    release(pipeline, "run-1", [first])
    only_a = tuple(row | {"inputs_sha256": "2" * 64} for row in first.rows if row["zone_id"] == "a")
    lineage = tuple(row | {"inputs_sha256": "2" * 64} for row in first.lineage)
    changes = {"rows": only_a, "lineage": lineage, "inputs_sha256": "2" * 64}
    release(pipeline, "run-2", [first.model_copy(update=changes)])
    assert {row["zone_id"] for row in read_rows(database_url, pipeline)} == {"a"}
    assert {row["zone_id"] for row in read_rows(database_url, pipeline, 1)} == {"a", "b"}


@pytest.mark.parametrize("changes", [{"model_sha256": "cd" * 32}, {"boundary_version": "2025"}])
def test_another_model_or_other_boundaries_break_the_series(
    pipeline: Pipeline, database_url: str, changes: dict[str, str]
) -> None:
    months = ["2024-01", "2024-02", "2024-03"]
    results = [make(pipeline, months[0]), *(make(pipeline, month, **changes) for month in months[1:])]
    release(pipeline, "run-1", results)
    breaks = {(row["period"], row["is_break"]) for row in read_rows(database_url, pipeline)}
    assert breaks == {("2024-01", False), ("2024-02", True), ("2024-03", False)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE observation SET area_m2 = 0",
        "DELETE FROM observation",
        "TRUNCATE observation",
        "UPDATE accuracy SET value = 1",
        "DELETE FROM accuracy",
        "UPDATE lineage SET image_uri = 'other'",
        "DELETE FROM lineage",
        "DELETE FROM release_period",
        "UPDATE release SET reason = 'other'",
        "UPDATE release SET status = 'published', vintage = 7",
        "DELETE FROM release",
        "TRUNCATE release CASCADE",
    ],
)
def test_nothing_that_was_released_can_be_changed(
    pipeline: Pipeline, database_url: str, statement: str
) -> None:
    release(pipeline, "run-1", [make(pipeline)])
    with pytest.raises(DBAPIError, match="append-only"), open_database(database_url) as connection:
        connection.execute(text(statement))
    assert len(read_rows(database_url, pipeline)) == 4


def test_the_status_of_a_release_may_change(pipeline: Pipeline, database_url: str) -> None:
    release(pipeline, "run-1", [make(pipeline)])
    with open_database(database_url) as connection:
        connection.execute(text("UPDATE release SET status = 'published'"))
        assert [found.status for found in read_releases(connection, "made")] == ["published"]


def test_killed_between_the_files_and_the_commit_nothing_is_released_and_a_retry_gives_the_same(
    pipeline: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_die(*arguments: Any) -> None:
        exports.write_exports(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(release_module, "write_exports", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            release(pipeline, "run-1", [make(pipeline)])
    assert [count(database_url, table) for table in ("release", "observation", "lineage")] == [0, 0, 0]
    before = files_of(pipeline)
    assert len(before) == 6
    assert release(pipeline, "another-run", [make(pipeline)]).vintage == 1
    assert files_of(pipeline) == before
    assert release(pipeline, "run-1", [make(pipeline)]).is_unchanged


def test_concurrent_releases_of_different_periods_are_two_consistent_vintages(
    pipeline: Pipeline, database_url: str
) -> None:
    summaries = _release_at_once(pipeline, [make(pipeline)], [make(pipeline, "2024-02")])
    assert sorted(summary.vintage or 0 for summary in summaries) == [1, 2]
    first, second = sorted(summaries, key=lambda summary: summary.vintage or 0)
    assert second.supersedes == first.release_id
    assert set(water(read_rows(database_url, pipeline))) == {"2024-01", "2024-02"}


def test_concurrent_releases_of_equal_figures_are_one(pipeline: Pipeline, database_url: str) -> None:
    summaries = _release_at_once(pipeline, [make(pipeline)], [make(pipeline)])
    assert sorted(summary.is_unchanged for summary in summaries) == [False, True]
    assert len({summary.release_id for summary in summaries}) == 1
    assert count(database_url, "release") == 1


def test_estimates_bring_their_accuracy_table_and_are_called_simulated(
    s3_bucket: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    pipeline = make_release_pipeline(s3_bucket, sample=SAMPLE)
    write_zones(pipeline.zones.uri)
    summary = release(pipeline, "run-1", [make(pipeline)])
    lines = list(csv.DictReader(io.StringIO(storage.read_bytes(f"{summary.uri}/accuracy.csv").decode())))
    assert [(line["class_name"], line["measure"], line["value"]) for line in lines][:2] == [
        ("ALL", "OA", "0.9"),
        ("crop", "PA", ""),
    ]
    assert {line["is_simulated"] for line in lines} == {"true"}
    assert release(pipeline, "run-2", [make(pipeline)]).is_unchanged


def test_a_result_survives_its_way_through_s3(pipeline: Pipeline, s3_bucket: str) -> None:
    result = make(pipeline)
    write_result(f"{s3_bucket}/result.json", result)
    assert read_result(f"{s3_bucket}/result.json") == result


def test_a_table_that_breaks_its_schema_releases_nothing(pipeline: Pipeline, database_url: str) -> None:
    result = make(pipeline)
    broken = result.model_copy(update={"rows": (result.rows[0] | {"coverage": 2.0}, *result.rows[1:])})
    with pytest.raises(ReleaseError, match=r"coverage: .* at most 1"):
        release(pipeline, "run-1", [broken])
    migrate(database_url)
    assert count(database_url, "release") == 0
    assert files_of(pipeline) == {}


def test_zones_that_were_replaced_after_the_tabulation_release_nothing(
    pipeline: Pipeline, database_url: str
) -> None:
    result = make(pipeline)
    moved = tuple(row | {"zone_id": "z" + row["zone_id"]} for row in result.rows)
    with pytest.raises(ReleaseError, match=r"zones \['za', 'zb'\], which the zones file lacks"):
        release(pipeline, "run-1", [result.model_copy(update={"rows": moved})])
    assert count(database_url, "release") == 0


def test_a_row_in_the_result_of_another_period_is_refused(pipeline: Pipeline) -> None:
    result = make(pipeline)
    with pytest.raises(ReleaseError, match=r"stands in the result of .*2024-02"):
        release(pipeline, "run-1", [result.model_copy(update={"period": "2024-02"})])


def test_the_command_shows_the_current_table_and_an_earlier_one(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    release(pipeline, "run-1", [make(pipeline)])
    release(pipeline, "run-2", [make(pipeline, water_m2=260_000.0, inputs_sha256="2" * 64)])
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


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://user:secret@/statistics?host={tmp_path}"
    with pytest.raises(ReleaseError, match=r"user:\*\*\*@.* does not answer") as raised:
        migrate(url)
    assert "secret" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="is no database URL"):
        migrate("statistics")


def _release_at_once(pipeline: Pipeline, *results: list[PeriodResult]) -> list[ReleaseSummary]:
    with ThreadPoolExecutor(len(results)) as threads:
        runs = [threads.submit(release, pipeline, f"run-{n}", each) for n, each in enumerate(results)]
        return [run.result() for run in runs]


def test_keys_lie_below_the_pipeline_and_carry_the_release(pipeline: Pipeline) -> None:
    summary = release(pipeline, "run-1", [make(pipeline)])
    assert summary.release_id is not None
    assert summary.release_id.startswith("v1-")
    assert summary.uri == Layout(pipeline.output).release(summary.release_id)
