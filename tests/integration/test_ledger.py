"""What PostgreSQL itself keeps: nothing released changes, nothing is added later, whoever is connected."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from orthostat.errors import ConfigurationError, ReleaseError
from orthostat.pipelines.config import Pipeline
from orthostat.statistics import database
from orthostat.statistics.database import VERSION_TABLE, migrate, newest_revision, open_database
from orthostat.statistics.declared import METADATA
from orthostat.statistics.release import release
from orthostat.statistics.vintages import current_periods, read_releases
from tests.builders_statistics import make_result, make_tables


def execute(database_url: str, *statements: str) -> list[Any]:
    """Run statements in one transaction; the rows of the last one."""
    with open_database(database_url) as connection:
        for statement in statements:
            found = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        return list(found) if found.returns_rows else []


def count(database_url: str, table: str) -> int:
    return int(execute(database_url, f"SELECT count(*) FROM {table}")[0][0])


def test_the_migration_makes_the_declared_tables_and_may_run_again(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)
    with open_database(database_url) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": VERSION_TABLE}
        )
        assert compare_metadata(context, METADATA) == []


def test_released_rows_of_an_older_database_stay_as_they_are(pipeline: Pipeline, database_url: str) -> None:
    """Later migrations change no released row, and a right to read a view stays."""
    migrate(database_url, "0001")
    new: dict[str, Any] = {
        **dict.fromkeys(["object_count", "mapped_count", "uninterpreted_size", "frame_area_m2"]),
        **{"population": "zone", "period_state": "open", "break_note": None},
    }
    old = {name: value for name, value in make_tables()["observation"][0].items() if name not in new}
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
    with pytest.raises(DBAPIError, match="append-only"):
        execute(database_url, "UPDATE observation SET object_count = 1")
    assert current_periods(database_url, "made")["2024-01"].inputs is None
    second = release(pipeline, "run", [make_result(pipeline)])
    assert second.reason == "revised figures for 2024-01 (figures from before causes were kept)"


def test_the_newest_revision_is_known_without_alembic() -> None:
    """So that a database that is up to date is found to be so by one query."""
    folder = Path(database.__file__).parent / "migrations"
    assert newest_revision() == ScriptDirectory(str(folder)).get_current_head()


def test_two_processes_may_migrate_at_once(database_url: str) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for done in [processes.submit(migrate, database_url) for _ in range(2)]:
            done.result()
    assert count(database_url, "release") == 0


def test_a_database_of_a_newer_orthostat_is_named_as_such(database_url: str) -> None:
    migrate(database_url)
    execute(database_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ReleaseError, match=r"made by a newer Orthostat \(.*9999.*install the newer one"):
        migrate(database_url)


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://user:secret@/statistics?host={tmp_path}"
    with pytest.raises(ReleaseError, match=r"user:\*\*\*@.* does not answer") as raised:
        migrate(url)
    assert "secret" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="is no database URL"):
        migrate("statistics")


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
        "UPDATE revision SET difference = 0",
        "DELETE FROM confirmation",
        "UPDATE release SET reason = 'other'",
        "UPDATE release SET status = 'published', vintage = 7",
        "DELETE FROM release",
        "TRUNCATE release CASCADE",
    ],
)
def test_nothing_that_was_released_can_be_changed(
    pipeline: Pipeline, database_url: str, statement: str
) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])
    with pytest.raises(DBAPIError, match="append-only"):
        execute(database_url, statement)
    assert count(database_url, "current_observation") == 4


ROW = (
    "INSERT INTO observation SELECT (jsonb_populate_record(o, '{changes}'::jsonb)).* FROM observation o "
    "LIMIT 1"
)
NEXT = (
    "INSERT INTO release (release_id, pipeline, vintage, supersedes, reason, run_id, code_version) "
    "SELECT '{name}', 'made', {vintage}, {supersedes}, 'made up', 'run', '0' FROM release LIMIT 1"
)


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([ROW.format(changes='{"zone_id": "z"}')], "release v1-.* is sealed"),
        ([ROW.format(changes='{"class_id": 9, "period": "2024-02"}')], "release v1-.* is sealed"),
        (["INSERT INTO release_period SELECT release_id, '2024-02', 'x' FROM release"], "is sealed"),
        (
            ["INSERT INTO lineage SELECT release_id, period, 's', 'i', 'u', 'e', 'x' FROM lineage"],
            "is sealed",
        ),
        ([NEXT.format(name="v99", vintage=99, supersedes="release_id")], "the next one is vintage 2 and sup"),
        (
            [NEXT.format(name="v1", vintage=1, supersedes="NULL")],
            "the next one is vintage 2 and supersedes v1",
        ),
        (
            [NEXT.format(name="v2", vintage=2, supersedes="NULL")],
            "the next one is vintage 2 and supersedes v1",
        ),
        (
            [
                NEXT.format(name="v2", vintage=2, supersedes="release_id"),
                ROW.format(changes='{"release_id": "v2"}'),
            ],
            "rows of 2024-01 stand in a release that does not hold that period",
        ),
        (
            [
                NEXT.format(name="v2", vintage=2, supersedes="release_id"),
                "INSERT INTO release_period VALUES ('v2', '2024-01', 'x')",
                ROW.format(changes='{"release_id": "v2", "pipeline": "other"}'),
            ],
            "rows of pipeline other stand in a release of another one",
        ),
        (["UPDATE release SET status = 'published'"], "cannot go from draft to published"),
        (
            ["UPDATE release SET status = 'reviewed'", "UPDATE release SET status = 'draft'"],
            "cannot go from reviewed to draft",
        ),
    ],
)
def test_nothing_is_added_to_a_release_and_no_release_is_made_up(
    pipeline: Pipeline, database_url: str, statements: list[str], message: str
) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])
    with pytest.raises(DBAPIError, match=message):
        execute(database_url, *statements)
    assert count(database_url, "current_observation") == 4
    assert count(database_url, "release") == 1


def test_a_release_begins_as_a_draft_and_goes_forward(pipeline: Pipeline, database_url: str) -> None:
    migrate(database_url)
    with pytest.raises(DBAPIError, match="every release begins as draft"):
        execute(
            database_url,
            "INSERT INTO release (release_id, pipeline, vintage, status, reason, run_id, code_version) "
            "VALUES ('v1', 'made', 1, 'published', 'r', 'r', '0')",
        )
    release(pipeline, "run-1", [make_result(pipeline)])
    for status in ("reviewed", "published"):
        execute(database_url, f"UPDATE release SET status = '{status}'")
    with open_database(database_url) as connection:
        assert [found.status for found in read_releases(connection, "made")] == ["published"]


@pytest.mark.parametrize(
    "statement",
    [
        ROW.format(changes='{"zone_id": "z"}').replace("INTO observation", "INTO public.observation"),
        "INSERT INTO public.release_period SELECT release_id, '2024-02', 'x' FROM public.release",
        NEXT.format(name="v99", vintage=99, supersedes="release_id").replace("release (", "public.release ("),
    ],
    ids=["row", "period", "vintage"],
)
def test_no_temporary_table_stands_in_for_the_releases(
    pipeline: Pipeline, database_url: str, statement: str
) -> None:
    release(pipeline, "run-1", [make_result(pipeline)])
    with pytest.raises(DBAPIError, match=r"is sealed|the next one is vintage 2"):
        execute(
            database_url,
            "CREATE TEMP TABLE release AS SELECT * FROM public.release",
            "UPDATE release SET open_in = pg_current_xact_id()::text::bigint, vintage = 98",
            statement,
        )


def test_a_release_is_open_in_its_own_transaction_alone(pipeline: Pipeline, database_url: str) -> None:
    """Transactions are numbered anew in a restored database: no number may open a release again."""
    release(pipeline, "run-1", [make_result(pipeline)])
    assert execute(database_url, "SELECT open_in FROM release") == [(None,)]
    with pytest.raises(DBAPIError, match="append-only"):
        execute(database_url, "UPDATE release SET open_in = pg_current_xact_id()::text::bigint")
    early = NEXT.format(name="v2", vintage=2, supersedes="release_id")
    with pytest.raises(DBAPIError, match="release v2 is sealed"):
        execute(
            database_url,
            early,
            "SET CONSTRAINTS ALL IMMEDIATE",
            "INSERT INTO release_period VALUES ('v2', '2024-01', 'x')",
        )


def test_a_database_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names a sqlite database, releases are kept in PostgreSQL"):
        migrate("sqlite:///statistics.db")


@pytest.fixture
def users(database_url: str) -> Iterator[dict[str, str]]:
    """URLs of a user who may write, one who may read, and one who may nothing; the tables are there."""
    migrate(database_url)
    suffix = os.urandom(4).hex()
    names = {role: f"{role}_{suffix}" for role in ("writer", "reader", "nobody")}
    for role, name in names.items():
        execute(database_url, f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        if role != "nobody":
            execute(database_url, f"GRANT orthostat_{role} TO {name}")
    url = make_url(database_url)
    yield {
        role: url.set(username=name, password="secret").render_as_string(hide_password=False)
        for role, name in names.items()
    }
    for name in names.values():
        execute(database_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_writer_releases_and_can_do_no_more(
    pipeline: Pipeline, database_url: str, users: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", users["writer"])
    release(pipeline, "run-1", [make_result(pipeline)])
    release(pipeline, "run-2", [make_result(pipeline, water_m2=260_000.0, scenes="other")])
    assert count(users["reader"], "current_observation") == 4
    assert count(users["reader"], "revision") == 2
    for statement in (
        "ALTER TABLE observation DISABLE TRIGGER ALL",
        "DROP TRIGGER keep_observation ON observation",
        "DELETE FROM observation",
        "UPDATE release SET reason = 'other'",
        "UPDATE orthostat_migration SET version_num = '0001'",
        "DROP VIEW current_observation CASCADE",
    ):
        with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
            execute(users["writer"], statement)
    with pytest.raises(DBAPIError, match="permission denied"):
        execute(users["reader"], ROW.format(changes='{"zone_id": "z"}'))
    with pytest.raises(DBAPIError, match="permission denied"):
        execute(users["nobody"], "SELECT * FROM observation")


def test_who_may_not_make_the_tables_is_told_who_may(database_url: str, users: dict[str, str]) -> None:
    execute(database_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with pytest.raises(
        ReleaseError, match=r"(?s)its user may not make them .*run `orthostat statistics migrate`"
    ):
        migrate(users["writer"])
