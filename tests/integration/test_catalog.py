"""The files of releases and the catalog that readers by S3 follow, on a real PostgreSQL and an S3 API."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from orthostat import storage
from orthostat.cli.main import main
from orthostat.errors import ConfigurationError
from orthostat.layout import Layout
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.window import window_of_days
from orthostat.planning.plan import make_plan
from orthostat.scenes.withdrawals import read_withdrawals
from orthostat.statistics import exports
from orthostat.statistics import publish as publish_module
from orthostat.statistics.copy import read_vintage
from orthostat.statistics.database import open_database
from orthostat.statistics.publish import publish, read_catalog
from orthostat.statistics.release import release
from tests.builders_statistics import SAMPLE, make_release_pipeline, make_result, write_zones

JANUARY = window_of_days(date(2024, 1, 1), date(2024, 1, 31))


@pytest.fixture
def pipeline(s3_bucket: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline with its zones in S3 and a fresh statistics database."""
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", database_url)
    pipeline = make_release_pipeline(s3_bucket, sample=SAMPLE)
    write_zones(pipeline.zones.uri)
    return pipeline


def files_of(pipeline: Pipeline) -> dict[str, str]:
    """Etags of the files of releases, by name."""
    folder = Layout(pipeline.output).releases()
    return {entry.uri.removeprefix(folder): entry.etag for entry in storage.list_objects(folder)}


def read_csv(uri: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(storage.read_bytes(uri).decode())))


def test_nothing_released_has_no_catalog(pipeline: Pipeline) -> None:
    assert publish(pipeline) is None
    assert files_of(pipeline) == {}


def test_an_output_of_another_pipeline_is_left_alone(pipeline: Pipeline) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])
    publish(pipeline)
    before = files_of(pipeline)
    other = pipeline.model_copy(update={"name": "other"})
    release(other, "run-1", [make_result(other)])
    message = r"is that of the pipeline 'made', .* give 'other' an output of its own"
    for use in (publish, publish_module.find_leftovers, lambda p: make_plan(p, "run-2", JANUARY)):
        with pytest.raises(ConfigurationError, match=message):
            use(other)
    assert files_of(pipeline) == before


def test_a_copied_file_withdraws_no_scene_of_the_owner(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    (tmp_path / "copied.yaml").write_text(pipeline.model_copy(update={"name": "copied"}).model_dump_json())
    release(pipeline, "run-1", [make_result(pipeline)])
    publish(pipeline)
    reason = ["--scene-id", "A_20240105", "--reason", "smoke"]
    for action in (["withdraw", *reason], ["restore", *reason[:2]]):
        assert main(["scenes", action[0], "--pipeline", "copied", *action[1:]]) == 2
        assert "is that of the pipeline 'made'" in capsys.readouterr().err
    assert read_withdrawals(Layout(pipeline.output)) == {}


def test_a_renamed_pipeline_keeps_the_releases_of_its_former_name(pipeline: Pipeline) -> None:
    """The cure that the plan's message names, followed to the letter."""
    release(pipeline, "run-1", [make_result(pipeline)])
    publish(pipeline)
    former = files_of(pipeline)
    storage.delete(Layout(pipeline.output).catalog())
    renamed = pipeline.model_copy(update={"name": "renamed"})
    release(renamed, "run-1", [make_result(renamed)])
    publish(renamed)
    assert publish_module.find_leftovers(renamed) == []
    assert files_of(renamed).items() >= {name: etag for name, etag in former.items() if "/" in name}.items()


def test_the_catalog_names_the_files_of_every_period_as_they_are_now(
    pipeline: Pipeline, database_url: str
) -> None:
    first = release(pipeline, "run-1", [make_result(pipeline), make_result(pipeline, "2024-02")])
    publish(pipeline)
    second = release(
        pipeline, "run-2", [make_result(pipeline, "2024-02", 260_000.0, scenes="others", model="cd" * 32)]
    )
    assert publish(pipeline) == f"{pipeline.output}/releases/catalog.json"
    catalog = read_catalog(Layout(pipeline.output))
    assert (catalog["current"], catalog["pipeline"]) == (second.release_id, "made")
    assert [(entry["vintage"], entry["status"]) for entry in catalog["releases"]] == [
        (1, "draft"),
        (2, "draft"),
    ]
    periods = catalog["periods"]
    assert {name: entry["release_id"] for name, entry in periods.items()} == {
        "2024-01": first.release_id,
        "2024-02": second.release_id,
    }
    assert {name: entry["breaks"] for name, entry in periods.items()} == {"2024-01": [], "2024-02": ["model"]}
    assert set(periods["2024-02"]["files"]) - set(periods["2024-01"]["files"]) == {"revisions.csv"}
    assert set(periods["2024-01"]["files"]) == {
        "accuracy.csv",
        "lineage.csv",
        "map.png",
        "statistics.csv",
        "statistics.parquet",
    }
    found = []
    for entry in periods.values():
        for name, facts in entry["files"].items():
            assert len(storage.read_bytes(f"{entry['uri']}/{name}")) == facts["size_bytes"]
        data = storage.read_bytes(f"{entry['uri']}/statistics.parquet")
        found += pq.read_table(io.BytesIO(data)).to_pylist()
    with open_database(database_url) as connection:
        rows = read_vintage(connection, "made").drop_columns(["is_break", "break_note"]).to_pylist()
    assert sorted(map(str, found)) == sorted(map(str, rows))


def test_files_say_what_the_database_says(pipeline: Pipeline) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])
    summary = release(pipeline, "run-2", [make_result(pipeline, water_m2=260_000.0, scenes="others")])
    publish(pipeline)
    folder = f"{summary.uri}/2024-01"
    lines = read_csv(f"{folder}/statistics.csv")
    parquet = pq.read_table(io.BytesIO(storage.read_bytes(f"{folder}/statistics.parquet")))
    assert parquet.column_names[-1] == "release_id"
    assert [line["area_m2"] and float(line["area_m2"]) for line in lines] == [
        "" if row["area_m2"] is None else row["area_m2"] for row in parquet.to_pylist()
    ]
    accuracy = read_csv(f"{folder}/accuracy.csv")
    assert [(line["class_name"], line["measure"], line["value"]) for line in accuracy][:2] == [
        ("ALL", "OA", "0.9"),
        ("crop", "PA", ""),
    ]
    assert {line["is_simulated"] for line in accuracy} == {"true"}
    revisions = read_csv(f"{folder}/revisions.csv")
    found = [(row["zone_id"], row["method"], row["difference"], row["cause"]) for row in revisions]
    assert found[0] == ("a", "MAP_COUNT", "10000", "scenes")
    assert {zone_id for zone_id, *_ in found} == {"a"}
    described = storage.read_json(f"{summary.uri}/release.json")
    assert described["periods"]["2024-01"]["cause"] == "scenes"
    assert described["periods"]["2024-01"]["inputs"]["boundary_version"] == "2024"


def test_the_model_card_stands_in_the_release(pipeline: Pipeline) -> None:
    uri = f"{pipeline.output}/card.json"
    checksum = f"1220{pipeline.model.sha256}"
    card = {"type": "Feature", "properties": {"gsd": 30}, "assets": {"model": {"file:checksum": checksum}}}
    storage.write_json(uri, card)
    model = pipeline.model.model_copy(update={"card": uri})
    with_card = pipeline.model_copy(update={"model": model})
    summary = release(with_card, "run-1", [make_result(with_card)])
    publish(with_card)
    described = storage.read_json(f"{summary.uri}/release.json")
    assert storage.read_json(f"{summary.uri}/{described['model_card']}") == card


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_files_that_were_damaged_are_written_again(pipeline: Pipeline, damage: str) -> None:
    summary = release(pipeline, "run-1", [make_result(pipeline)])
    publish(pipeline)
    before = files_of(pipeline)
    uri = f"{summary.uri}/2024-01/statistics.csv"
    if damage == "missing":
        storage.delete(uri)
    else:
        storage.write_bytes(uri, b"cut")
    publish(pipeline)
    assert files_of(pipeline) == before


@pytest.mark.parametrize("killed_at", ["before any file", "among the files", "before the catalog"])
def test_killed_after_the_commit_the_next_to_come_writes_the_same_files(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    def die(*arguments: Any, **names: Any) -> Any:
        raise KeyboardInterrupt

    results = [make_result(pipeline), make_result(pipeline, "2024-02")]
    release(pipeline, "run-1", results)
    with monkeypatch.context() as patch:
        if killed_at == "before any file":
            patch.setattr(exports, "write_release", die)
        elif killed_at == "among the files":
            patch.setattr(exports, "_maps", die)
        else:
            patch.setattr(publish_module, "_make_catalog", die)
        with pytest.raises(KeyboardInterrupt):
            publish(pipeline)
    assert "catalog.json" not in files_of(pipeline)
    assert release(pipeline, "run-1", results).is_unchanged
    publish(pipeline)
    mended = files_of(pipeline)
    assert {name.rpartition("/")[2] for name in mended} >= {"catalog.json", "release.json", "map.png"}
    for name in mended:
        storage.delete(Layout(pipeline.output).releases() + name)
    publish(pipeline)
    assert files_of(pipeline) == mended


def test_a_catalog_never_names_what_another_process_is_still_writing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = release(pipeline, "run-1", [make_result(pipeline)])
    publish(pipeline)
    second = release(pipeline, "run-2", [make_result(pipeline, water_m2=260_000.0, scenes="others")])
    with monkeypatch.context() as patch:  # the other one has committed, and its files are not there yet
        patch.setattr(exports, "write_release", lambda pipeline, release: None)
        publish(pipeline)
    assert read_catalog(Layout(pipeline.output))["current"] == first.release_id
    publish(pipeline)
    assert read_catalog(Layout(pipeline.output))["current"] == second.release_id


def test_several_who_publish_at_once_leave_one_whole_catalog(pipeline: Pipeline) -> None:
    def run(month: int) -> None:
        release(pipeline, f"run-{month}", [make_result(pipeline, f"2024-{month:02d}")])
        publish(pipeline)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, range(1, 5)))
    catalog = read_catalog(Layout(pipeline.output))
    assert len(catalog["releases"]) == 4
    assert list(catalog["periods"]) == ["2024-01", "2024-02", "2024-03", "2024-04"]
    assert catalog["current"] == catalog["releases"][-1]["release_id"]


def test_files_of_no_release_are_found_and_removed(
    pipeline: Pipeline,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    (tmp_path / "made.yaml").write_text(pipeline.model_dump_json())
    release(pipeline, "run-1", [make_result(pipeline)])
    publish(pipeline)
    before = files_of(pipeline)
    strange = Layout(pipeline.output).release("v2-0123456789ab", "2024-01", "statistics.csv")
    storage.write_bytes(strange, b"lost")
    assert main(["statistics", "clean", "--pipeline", "made"]) == 0
    assert strange in capsys.readouterr().out
    assert files_of(pipeline) != before
    assert main(["statistics", "clean", "--pipeline", "made", "--delete"]) == 0
    assert files_of(pipeline) == before
    with open_database(database_url) as connection:  # another database, or one that was lost
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    assert main(["statistics", "clean", "--pipeline", "made", "--delete"]) == 1
    assert "names 1 release(s) that the database does not have" in capsys.readouterr().err
    assert files_of(pipeline) == before


def test_the_whole_table_is_exported_as_one_file(
    pipeline: Pipeline, database_url: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    release(pipeline, "run-1", [make_result(pipeline), make_result(pipeline, "2024-02", model="cd" * 32)])
    for name in ("table.csv", "table.parquet"):
        assert main(["statistics", "export", "--pipeline", "made", "--output", str(tmp_path / name)]) == 0
    with open_database(database_url) as connection:
        rows = read_vintage(connection, "made")
        assert connection.execute(text("SELECT count(*) FROM observation")).scalar_one() == rows.num_rows
    assert pq.read_table(tmp_path / "table.parquet").to_pylist() == rows.to_pylist()
    lines = read_csv(str(tmp_path / "table.csv"))
    assert {(line["period"], line["is_break"], line["break_note"]) for line in lines} == {
        ("2024-01", "false", ""),
        ("2024-02", "true", "model"),
    }
    capsys.readouterr()
    assert main(["statistics", "export", "--pipeline", "made", "--output", str(tmp_path / "table.xls")]) == 1
    assert "is neither .csv nor .parquet" in capsys.readouterr().err
