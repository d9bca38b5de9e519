"""What the service is asked for, in few words."""

from pathlib import Path
from typing import Any

from orthostat.layout import PredictionKey
from orthostat.prediction.scene import Work
from orthostat.service.job import Job, Ticket, now
from orthostat.service.request import PredictionRequest
from tests.builders import make_scene

REQUEST = PredictionRequest(image="s3://images/a.tif", model="s3://models/b.zip", output="s3://results/a")


def ticket(name: str, megabytes: float = 1, **changes: Any) -> Ticket:
    job = Job(job_id=name, caller="me", request=REQUEST, sha256="ab" * 32, created=now(), **changes)
    scene = make_scene(name, size_bytes=int(megabytes * 1e6))
    return Ticket(job, Work(scene, PredictionKey(f"s3://results/{name}")))


def write_tokens(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "tokens").write_text("\n".join(lines))
    return tmp_path / "tokens"
