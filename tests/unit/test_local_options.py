"""What `orthostat local up` takes, before it starts anything."""

from pathlib import Path

import pytest

from orthostat.cli.main import build_parser
from orthostat.errors import ConfigurationError
from orthostat.local import airflow_service


@pytest.mark.parametrize(
    "url",
    [
        "postgres.example.org",
        "postgresql://db:5432",
        "postgresql://owner:secret@db:5432/orthostat",
        "postgresql://db:5432/?user=owner&password=secret",
        "postgresql://owner:a/b@db:5432",
        "postgresql://owner:a[b@db",
        "postgresql://owner:secret@db:port",
        "postgresql://owner:secret@/",
    ],
)
def test_a_postgres_without_a_user_of_its_own_is_refused(tmp_path: Path, url: str) -> None:
    arguments = build_parser().parse_args(
        ["local", "up", "--dir", str(tmp_path / "local"), "--postgres", url]
    )
    with pytest.raises(ConfigurationError, match="--postgres is no URL of a server") as error:
        arguments.run(arguments)
    assert "secret" not in str(error.value)
    assert not (tmp_path / "local").exists()


def test_services_with_other_code_are_other_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tasks are forks of what they have loaded."""
    code = tmp_path / "orthostat" / "rows.py"
    code.parent.mkdir()
    code.write_text("VERSION = 1")
    monkeypatch.setattr("orthostat.__file__", str(code.with_name("__init__.py")))

    def digests() -> dict[str, str]:
        return {program.name: program.digest for program in airflow_service.programs(tmp_path / "local")}

    before = digests()
    assert digests() == before
    code.with_name(".#rows.py").symlink_to("nobody@nowhere.1")  # as an editor leaves it
    assert digests() == before
    code.write_text("VERSION = 2")
    after = digests()
    assert [name for name in before if before[name] == after[name]] == []
