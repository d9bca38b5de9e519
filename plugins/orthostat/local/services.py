"""Start, stop and describe the services of one machine."""

import fcntl
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orthostat.errors import ServiceError
from orthostat.local import airflow_service, configuration, database_users, postgres, process, s3
from orthostat.local.configuration import INNER_PORTS, Configuration
from orthostat.local.process import Program

_READY_WITHIN_S = 300

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now."""

    name: str
    pid: int | None
    """None when it does not run."""
    ready: bool
    log_path: Path


def start(local_dir: Path) -> Configuration:
    """Start every service that does not run, or runs with other settings, and wait until all are ready.

    Returns the ports and the password. Raises ServiceError with the end of its log when a service fails.
    """
    local_dir = local_dir.resolve()
    local_dir.mkdir(parents=True, exist_ok=True)
    with _alone(local_dir), _claimed_api_port(local_dir):
        _choose_s3_ports(local_dir)
        _start_stores(local_dir)
        database_users.make(local_dir)
        airflow_service.write_password(local_dir)
        airflow_service.migrate(local_dir)
        _bring_up(airflow_service.programs(local_dir))
    return configuration.read(local_dir)


def stop(local_dir: Path) -> list[str]:
    """End every service with all its children, PostgreSQL last; returns the names of those that ran."""
    local_dir = local_dir.resolve()
    if not (local_dir / "run").is_dir():
        return []
    with _alone(local_dir):
        # Whatever has become of the configuration: what runs is known by its name.
        names = sorted(path.stem for path in (local_dir / "run").glob("*.json"))
        stopped = process.stop([Program(name, [], local_dir) for name in names if name != "postgres"])
        with suppress(ServiceError):
            s3.release(local_dir)
        return stopped + stop_postgres(local_dir)


def start_postgres(local_dir: Path, *others: Program) -> None:
    """Start PostgreSQL, together with programs that do not need it, unless they run already."""
    program = postgres.program(local_dir)
    if process.find(program) is None or not process.is_current(program):
        process.stop([program])
        postgres.prepare(local_dir)
    _bring_up([program, *others])


def start_s3(local_dir: Path) -> Configuration:
    """Start the embedded S3 server alone, unless it runs already; returns its port and keys."""
    _choose_s3_ports(local_dir)
    _bring_up([_prepared_s3(local_dir)])
    return configuration.read(local_dir)


def stop_postgres(local_dir: Path) -> list[str]:
    """End PostgreSQL; returns its name if it ran."""
    stopped = process.stop([postgres.program(local_dir)])
    postgres.release_lock(local_dir)
    postgres.remove_socket_dir(local_dir)
    return stopped


def status(local_dir: Path) -> list[ServiceStatus]:
    """Every service, in the order in which they start."""
    local_dir = local_dir.resolve()
    programs = [*_stores(local_dir), *airflow_service.programs(local_dir)]
    running = {program.name: process.find(program) for program in programs}
    ready = _ready(local_dir, [program for program in programs if running[program.name]])
    return [
        ServiceStatus(program.name, found.pid if found else None, program.name in ready, program.log_path)
        for program in programs
        for found in [running[program.name]]
    ]


def _stores(local_dir: Path) -> list[Program]:
    """PostgreSQL and S3, where they are the embedded ones."""
    chosen = configuration.read(local_dir)
    programs = [postgres.program(local_dir)] if chosen.postgres is None else []
    return [*programs, s3.program(local_dir)] if chosen.s3 is None else programs


def _start_stores(local_dir: Path) -> None:
    """Start what is embedded. Raises ServiceError when a server that was given does not answer."""
    chosen = configuration.read(local_dir)
    others = [_prepared_s3(local_dir)] if chosen.s3 is None else []
    if chosen.postgres is None:
        start_postgres(local_dir, *others)
    else:
        _bring_up(others)
        if not postgres.is_ready(local_dir):
            address = urlsplit(chosen.postgres)
            raise ServiceError(
                f"PostgreSQL at {address.hostname}:{address.port or 5432} takes no connections of this user; "
                "check --postgres, its password and the way to it"
            )


def _prepared_s3(local_dir: Path) -> Program:
    program = s3.program(local_dir)
    if process.find(program) is None or not process.is_current(program):
        process.stop([program])
        s3.prepare(local_dir)
    return program


@contextmanager
def _claimed_api_port(local_dir: Path) -> Iterator[None]:
    """Keep Airflow's port of the last start, or move to a free one; nobody else takes it meanwhile."""
    chosen = configuration.read(local_dir)
    if process.find(airflow_service.programs(local_dir)[0]) is not None:
        with configuration.claimed_port(chosen.api_port):  # it may be started anew
            yield
        return
    with configuration.free_port(chosen.api_port) as port:
        configuration.write(local_dir, chosen.model_copy(update={"api_port": port}))
        yield


def _choose_s3_ports(local_dir: Path) -> None:
    """Keep the ports of the last start; move to free ones where somebody else has taken them."""
    chosen = configuration.read(local_dir)
    before = [chosen.s3_port, *chosen.s3_inner_ports]
    are_good = len(set(before)) == len(before) and all(map(configuration.is_free, before))
    if process.find(s3.program(local_dir)) is None and not are_good:
        port, *inner = configuration.free_ports(1 + INNER_PORTS)
        chosen = chosen.model_copy(update={"s3_port": port, "s3_inner_ports": inner})
    configuration.write(local_dir, chosen)


def _bring_up(programs: Sequence[Program]) -> None:
    """Launch the programs that do not run as they should, all at once, and wait until all are ready."""
    outdated = [program for program in programs if process.find(program) and not process.is_current(program)]
    for name in process.stop(outdated):
        logger.info("%-13s stopped: its settings have changed", name)
    if not programs:
        return
    started = time.monotonic()
    launched = {program.name for program in programs if process.find(program) is None}
    for program in programs:
        if program.name in launched:
            process.launch(program)
    waiting = list(programs)
    while waiting:
        for program in waiting:
            # What ran may have been about to end, for what it needs was away until now.
            if process.find(program) is None and program.name not in launched:
                process.launch(program)
                launched.add(program.name)
            process.require_alive(program)
        ready = _ready(programs[0].local_dir, waiting)
        seconds = time.monotonic() - started
        for name in [program.name for program in waiting if program.name in ready]:
            logger.info(
                "%-13s %s", name, f"ready after {seconds:.0f} s" if name in launched else "runs already"
            )
        waiting = [program for program in waiting if program.name not in ready]
        if waiting and seconds > _READY_WITHIN_S:
            late = waiting[0]
            raise ServiceError(
                f"{late.name} is not ready after {_READY_WITHIN_S} s; {process.describe_log(late)}"
            )
        time.sleep(0.5 if waiting else 0)


def _ready(local_dir: Path, programs: Sequence[Program]) -> set[str]:
    """The names of the programs that answer."""
    names = {program.name for program in programs}
    chosen = configuration.read(local_dir)
    ready = set()
    if "postgres" in names and postgres.is_ready(local_dir):
        ready.add("postgres")
    if "s3" in names and s3.is_ready(chosen):
        ready.add("s3")
    airflow = [program for program in programs if program.name not in ("postgres", "s3")]
    return ready | airflow_service.healthy(chosen.address, airflow)


@contextmanager
def _alone(local_dir: Path) -> Iterator[None]:
    """Keep two commands from starting and stopping the same services at once."""
    with (local_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServiceError(
                f"another command starts or stops the services of {local_dir}; wait for it"
            ) from error
        yield
