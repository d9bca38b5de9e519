"""A system of docker compose under a name, ports and volumes of its own."""

import os
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import yaml

from orthostat.local.airflow_client import AirflowClient

ROOT = Path(__file__).parents[2]
_PORTS = ("AIRFLOW_PORT", "PREDICT_PORT", "S3_PORT", "POSTGRES_PORT")


class System:
    """What `make compose` makes, with its files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Choose its ports, its secrets, and a folder of pipelines: at first those that are shipped."""
        self.folder = folder
        self.pipelines_dir = folder / "pipelines"
        shutil.copytree(ROOT / "config/pipelines", self.pipelines_dir)
        (folder / "build").mkdir()
        subprocess.run([ROOT / "config/compose/make-env", folder / ".env"], check=True, capture_output=True)
        lines = (folder / ".env").read_text().splitlines()
        self.secrets = dict(line.split("=", 1) for line in lines)
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.variables = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": f"orthostat-test-{uuid.uuid4().hex[:6]}",
            "PIPELINES": str(self.pipelines_dir),
            "DEMO_RESULTS": str(folder / "build"),
        }

    def compose(self, *arguments: str) -> str:
        """Run `docker compose`; returns its stdout."""
        command = [
            "docker",
            "compose",
            "--progress",
            "quiet",
            "--env-file",
            str(self.folder / ".env"),
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=ROOT, env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def up(self) -> None:
        """Start what does not run."""
        self.compose("up", "--detach", "--wait")

    def client(self) -> AirflowClient:
        """Of its Airflow, from this machine."""
        address = f"http://127.0.0.1:{self.ports['AIRFLOW_PORT']}"
        return AirflowClient(address, "admin", self.secrets["AIRFLOW_PASSWORD"])

    def readers_url(self) -> str:
        """The figures, as a statistician reaches them."""
        password = self.secrets["STATISTICIANS_PASSWORD"]
        return f"postgresql://statisticians:{password}@127.0.0.1:{self.ports['POSTGRES_PORT']}/orthostat"

    def write_pipeline(self, name: str, **changes: Any) -> None:
        """The synthetic pipeline under another name, below an output of its own."""
        content = yaml.safe_load((ROOT / "config/pipelines/synthetic.yaml").read_text())
        content |= {"name": name, "schedule": None, "output": f"s3://orthostat-demo/{name}", **changes}
        (self.pipelines_dir / f"{name}.yaml").write_text(yaml.safe_dump(content))


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens to now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
