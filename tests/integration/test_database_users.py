"""Who may do what in the databases, wherever their users were made.

Cloud SQL's own interface makes users that belong to `cloudsqlsuperuser`, which owns the databases; the roles
made here stand for it. What Google's PostgreSQL does otherwise, this cannot show.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from orthostat.cli.main import main
from orthostat.errors import ReleaseError, ServiceError
from orthostat.local import configuration, database_users, postgres, process, services
from orthostat.statistics import AIRFLOW, READER, WORKER
from orthostat.statistics.database import migrate
from orthostat.statistics.users import make_users

PASSWORDS = {AIRFLOW: "a", WORKER: "w", READER: "s"}
VARIABLES = {"AIRFLOW_PASSWORD": "a", "WORKER_PASSWORD": "w", "STATISTICIANS_PASSWORD": "s"}
CLOUD_SQL = """
    CREATE ROLE cloudsqlsuperuser CREATEDB CREATEROLE;
    CREATE ROLE orthostat LOGIN PASSWORD 'o' CREATEDB CREATEROLE IN ROLE cloudsqlsuperuser;
"""
Url = Callable[[str, str], str]
"""Of a database for a user."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a server; at the end it runs no more."""
    with tempfile.TemporaryDirectory(prefix="orthostat-test-") as name:
        yield Path(name)
        services.stop_postgres(Path(name))


@pytest.fixture(scope="module", params=["one machine", "given server", "as on Google's cloud"])
def url(request: pytest.FixtureRequest) -> Iterator[Url]:
    """The databases on a server of their own, made in one of the three ways."""
    with tempfile.TemporaryDirectory(prefix="orthostat-test-") as name:
        server = Path(name)
        try:
            services.start_postgres(server)
            yield make_databases(request.param, server)
        finally:
            services.stop_postgres(server)


def make_databases(way: str, server: Path) -> Url:
    if way == "one machine":
        database_users.make(server)
        return lambda user, database: postgres.url(server, database, user=user)
    owner = postgres.url(server, "postgres")
    execute(owner, *CLOUD_SQL.strip().splitlines())
    server_url = make_url(owner).set(username="orthostat", password="o")
    if way == "given server":
        return make_on_given(server / "given", server_url.render_as_string(hide_password=False))
    for name in ("airflow", "orthostat"):
        execute(owner, f"CREATE DATABASE {name} OWNER cloudsqlsuperuser")
    owner = server_url.set(database="orthostat").render_as_string(hide_password=False)
    make_by_command(owner)
    return make_by_command(owner)  # again, as for a change of passwords


def make_on_given(folder: Path, server_url: str) -> Url:
    configuration.write(folder, configuration.Configuration(postgres=server_url))
    database_users.make(folder)
    return lambda user, database: postgres.url(folder, database, user=user)


def make_by_command(owner_url: str) -> Url:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**VARIABLES, "ORTHOSTAT_DATABASE_URL": owner_url}.items():
            patch.setenv(name, value)
        assert main(["statistics", "users"]) == 0
    url = make_url(owner_url)
    return lambda user, database: url.set(
        username=user, password=PASSWORDS[user], database=database
    ).render_as_string(hide_password=False)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("user", "database", "statement"),
    [
        ("airflow", "airflow", "CREATE TABLE dag (id int)"),
        ("airflow_worker", "orthostat", "SELECT * FROM release"),
        ("airflow_worker", "orthostat", "INSERT INTO release SELECT * FROM release"),
        ("statisticians", "orthostat", "SELECT * FROM observation"),
    ],
)
def test_each_user_does_its_work(url: Url, user: str, database: str, statement: str) -> None:
    execute(url(user, database), statement)


@pytest.mark.parametrize(
    ("user", "database", "statement", "reason"),
    [
        ("airflow", "orthostat", "SELECT 1", "permission denied for database"),
        ("airflow", "airflow", "DROP DATABASE orthostat", "must be owner of database"),
        ("airflow_worker", "airflow", "SELECT 1", "permission denied for database"),
        ("airflow_worker", "orthostat", "DELETE FROM release", "permission denied for table"),
        ("airflow_worker", "orthostat", "CREATE TABLE mine (id int)", "permission denied for schema"),
        ("airflow_worker", "orthostat", "CREATE ROLE mine", "permission denied to create role"),
        (
            "statisticians",
            "orthostat",
            "UPDATE release SET status = 'published'",
            "permission denied for table",
        ),
        ("statisticians", "airflow", "SELECT 1", "permission denied for database"),
    ],
)
def test_no_user_does_more(url: Url, user: str, database: str, statement: str, reason: str) -> None:
    with pytest.raises(psycopg.Error, match=reason):
        execute(url(user, database), statement)


def test_nobody_enters_without_a_password(url: Url) -> None:
    given = make_url(url(READER, "orthostat")).set(password="wrong").render_as_string(hide_password=False)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        execute(given, "SELECT 1")


def test_users_who_could_do_more_are_refused(folder: Path) -> None:
    """PostgreSQL itself says nothing, or warns."""
    services.start_postgres(folder)
    owner = postgres.url(folder, "postgres")
    execute(owner, f"CREATE ROLE {READER} LOGIN CREATEROLE")
    with pytest.raises(ReleaseError, match="user statisticians was there before and may make users"):
        database_users.make(folder)
    execute(owner, f"ALTER ROLE {READER} NOCREATEROLE", "CREATE ROLE office", f"GRANT office TO {READER}")
    execute(owner, "GRANT CONNECT ON DATABASE airflow TO office")
    with pytest.raises(ReleaseError, match="statisticians may still enter the database airflow"):
        database_users.make(folder)


@pytest.mark.parametrize(
    "there", [["CREATE DATABASE airflow"], ["CREATE ROLE airflow LOGIN PASSWORD 'of another Airflow'"]]
)
def test_another_airflow_on_a_given_server_is_left_alone(folder: Path, there: list[str]) -> None:
    services.start_postgres(folder)
    owner = postgres.url(folder, "postgres")
    execute(owner, *there)
    with pytest.raises(ServiceError, match=r"not of this folder: another Airflow may work with it; give a"):
        make_on_given(folder / "given", owner)
    with psycopg.connect(owner) as connection:
        (known,) = connection.execute(
            "SELECT (SELECT count(*) FROM pg_database WHERE datname = 'orthostat') "
            "+ (SELECT count(*) FROM pg_roles WHERE rolname = 'statisticians')"
        ).fetchone() or (None,)
    assert known == 0


def test_a_given_server_is_known_again(folder: Path) -> None:
    services.start_postgres(folder)
    address = postgres.url(folder, "postgres")
    for _ in range(2):
        configuration.write(
            folder / "given", configuration.read(folder / "given").model_copy(update={"postgres": address})
        )
        database_users.make(folder / "given")
    with pytest.raises(ServiceError, match="not of this folder"):
        make_on_given(folder / "a colleague's", address)


def test_an_owner_who_may_not_make_users_is_told_what_is_missing(folder: Path) -> None:
    services.start_postgres(folder)
    execute(postgres.url(folder, "postgres"), "CREATE ROLE small LOGIN PASSWORD 'x'")
    small = make_url(postgres.url(folder, "postgres")).set(username="small", password="x")
    address = small.render_as_string(hide_password=False)
    configuration.write(folder / "small", configuration.Configuration(postgres=address))
    with pytest.raises(
        ServiceError, match=r"may not make the database airflow .* give it CREATEDB and CREATEROLE"
    ):
        database_users.make(folder / "small")
    execute(postgres.url(folder, "postgres"), "ALTER ROLE small CREATEDB")
    with pytest.raises(ReleaseError, match="who may create roles"):
        database_users.make(folder / "small")
    with pytest.raises(ReleaseError, match="the owner of the databases is called airflow"):
        make_users(small.set(username="airflow").render_as_string(hide_password=False), {})


def test_a_folder_of_the_version_before_comes_up_again_with_users(folder: Path) -> None:
    """Its server lets everybody in as the owner, who has made Airflow's tables, too, and runs still."""
    before = start_as_before(folder)
    execute(before.format("postgres"), "CREATE DATABASE airflow", "CREATE DATABASE orthostat")
    execute(before.format("airflow"), "CREATE TABLE dag (id serial)")
    migrate(before.format("orthostat"))
    services.start_postgres(folder)
    database_users.make(folder)
    airflow = postgres.url(folder, "airflow", user=AIRFLOW)
    execute(airflow, "INSERT INTO dag VALUES (DEFAULT)", "DROP TABLE dag")
    execute(postgres.url(folder, "orthostat", user=READER), "SELECT * FROM observation")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        execute(before.format("orthostat"), "SELECT 1")


def start_as_before(folder: Path) -> str:
    """Start a server on pg_hba.conf as initdb writes it; returns the address of its databases."""
    program = postgres.program(folder)
    postgres.prepare(folder)
    place = next(index for index, part in enumerate(program.command) if part.startswith("hba_file="))
    command = [*program.command[: place - 1], *program.command[place + 1 :]]
    process.launch(replace(program, command=command))
    (folder / "config.json").write_text("{}")
    address = f"postgresql://postgres@/{{}}?host={postgres.socket_dir(folder)}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError):
            execute(address.format("postgres"), "ALTER ROLE postgres PASSWORD NULL")
            return address
        time.sleep(0.1)
    raise AssertionError("the server does not answer")
