"""config/compose/make-env: secrets for docker compose."""

import base64
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE_ENV = ROOT / "config/compose/make-env"


def make(path: Path) -> dict[str, str]:
    subprocess.run([MAKE_ENV, path], check=True, capture_output=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    lines = [line for line in path.read_text().splitlines() if "=" in line]
    return {name.split()[-1]: value for name, value in (line.split("=", 1) for line in lines)}


def test_every_secret_is_made_once_and_differs(tmp_path: Path) -> None:
    made = make(tmp_path / ".env")
    example = (ROOT / "config/compose.env.example").read_text().splitlines()
    assert made.keys() == {line.removesuffix("=") for line in example if line.endswith("=")}
    assert len(set(made.values())) == len(made)
    assert min(map(len, made.values())) >= 32
    assert len(base64.urlsafe_b64decode(made["AIRFLOW_FERNET_KEY"])) == 32
    assert len(made["AIRFLOW_JWT_SECRET"]) >= 64
    assert make(tmp_path / ".env") == made


def test_what_is_there_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nPOSTGRES_PASSWORD=old\nWORKER_PASSWORD=\nAIRFLOW_PORT=8081")
    path.chmod(0o644)
    made = make(path)
    assert (made["POSTGRES_PASSWORD"], made["AIRFLOW_PORT"]) == ("old", "8081")
    assert len(made["WORKER_PASSWORD"]) == 32
    assert path.read_text().startswith("# mine\nPOSTGRES_PASSWORD=old\nWORKER_PASSWORD=\nAIRFLOW_PORT=8081\n")


@pytest.mark.parametrize(
    "line", ["export S3_SECRET_KEY=old", " S3_SECRET_KEY = 'old'", 'S3_SECRET_KEY="old"\r']
)
def test_a_secret_stays_however_its_line_is_written(tmp_path: Path, line: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{line}\n", newline="")
    make(path)
    assert path.read_text().count("S3_SECRET_KEY") == 1


@pytest.mark.parametrize("line", ["S3_SECRET_KEY=\r", 'S3_SECRET_KEY=""', "S3_SECRET_KEY= "])
def test_a_secret_that_docker_compose_takes_for_empty_is_made(tmp_path: Path, line: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{line}\n", newline="")
    assert len(make(path)["S3_SECRET_KEY"]) == 32


def test_of_two_at_once_one_waits_for_nobody_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    (tmp_path / ".env.lock").mkdir()
    done = subprocess.run([MAKE_ENV, path], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "another make-env" in done.stderr
    assert not path.exists()
