"""config/compose/make-env: secrets for docker compose."""

import base64
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(path: Path) -> dict[str, str]:
    subprocess.run([ROOT / "config/compose/make-env", path], check=True, capture_output=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if not line.startswith("#"))


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
    assert path.read_text().startswith("# mine\nPOSTGRES_PASSWORD=old\nAIRFLOW_PORT=8081\n")
