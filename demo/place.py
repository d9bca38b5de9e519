"""Where the demo runs: on services that it starts on this machine, or in a system that runs already."""

import os
from dataclasses import dataclass
from pathlib import Path

from orthostat import settings, storage
from orthostat.errors import ConfigurationError, ServiceError
from orthostat.local import configuration, services
from orthostat.local.airflow_client import AirflowClient
from orthostat.local.environment import UNWANTED, service_settings
from orthostat.pipelines.options import EngineChoice


@dataclass(frozen=True)
class Place:
    """A running system; the environment leads to its S3 and to its figures."""

    client: AirflowClient
    described: str
    """For people: where S3 and Airflow are, and how to stop them."""


def start_services(engine: EngineChoice) -> Place:
    """Start the services of this machine, for that engine, and lead the environment to them."""
    local_dir = settings.local_dir()
    choose_engine(local_dir, engine)
    chosen = services.start(local_dir)
    for name in UNWANTED:
        os.environ.pop(name, None)
    os.environ.update(service_settings(local_dir))
    storage.s3.cache_clear()
    described = (
        f"S3: {chosen.s3_endpoint} (its keys: orthostat local env)\n"
        f"Airflow: {chosen.address}   user: {configuration.USER}   password: {chosen.password}\n"
        "Stop everything: make down"
    )
    return Place(AirflowClient.of(local_dir), described)


def find_system(address: str) -> Place:
    """The system whose Airflow is at `address`. Raises ConfigurationError without AIRFLOW_PASSWORD."""
    password = os.environ.get("AIRFLOW_PASSWORD")
    if not password:
        raise ConfigurationError("AIRFLOW_PASSWORD is not set; give the password of Airflow's user admin")
    return Place(AirflowClient(address, configuration.USER, password), "Stop everything: docker compose down")


def choose_engine(local_dir: Path, engine: EngineChoice) -> None:
    """Say what `auto` means to the services. Raises ServiceError when they were made for another engine."""
    is_new = not (local_dir / "config.json").is_file()
    chosen = configuration.read(local_dir)
    if is_new:
        configuration.write(local_dir, chosen.model_copy(update={"engine": engine}))
    elif chosen.engine != engine:
        raise ServiceError(
            f"the services in {local_dir} are for the engine {chosen.engine}, not {engine}; set "
            "ORTHOSTAT_LOCAL_DIR to another folder, or run make down and remove this one"
        )
