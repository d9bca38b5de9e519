"""Programs that outlive their starter: launched detached, found again, ended with their children."""

import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from orthostat import storage
from orthostat.errors import ServiceError

_GRACE_S = 10
"""What a program gets to end by itself before it is killed."""
_SAME_START_S = 2
"""Start times closer than this are the same; the clock may be set in between."""
_LOG_LINES = 20


@dataclass(frozen=True)
class Program:
    """One service, ready to be launched."""

    name: str
    command: Sequence[str]
    local_dir: Path
    """Has the pid file in `run/`, the log in `logs/`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables that make a difference: a program that runs with others is to be restarted."""
    inherited: Mapping[str, str] = field(default_factory=dict)
    """All other variables."""
    user: str | None = None
    """System user to run as, else the caller's."""
    stop_signal: signal.Signals = signal.SIGTERM
    signal_children: bool = True
    """Whether the children get the signal too, or are left to the parent."""

    @property
    def log_path(self) -> Path:
        """Where stdout and stderr go."""
        return self.local_dir / "logs" / f"{self.name}.log"

    @property
    def pid_path(self) -> Path:
        """Remembers the process: pid, start and settings."""
        return self.local_dir / "run" / f"{self.name}.json"

    @property
    def digest(self) -> str:
        """Changes when the program would have to be restarted."""
        return storage.digest([list(self.command), dict(self.settings)])


def launch(program: Program) -> None:
    """Start a program in a session of its own; its log is begun anew.

    What a killed one left behind ends first: its children share its connections, and so hold its locks.
    """
    stop([program])
    for path in (program.log_path, program.pid_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with program.log_path.open("wb") as log:
        process = subprocess.Popen(
            program.command,
            cwd=program.local_dir,
            env={**program.inherited, **program.settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **run_as(program.user),
        )
    record = {
        "pid": process.pid,
        "started_s": _started_s(psutil.Process(process.pid)),
        "digest": program.digest,
        "boot": _boot_id(),
    }
    program.pid_path.write_text(json.dumps(record))
    # The program outlives this object on purpose, which would be warned about.
    process.returncode = 0


def run_as(user: str | None) -> dict[str, Any]:
    """Arguments of subprocess to run a program as another system user, with none of root's groups."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def find(program: Program) -> psutil.Process | None:
    """The running process of a program; None when it does not run, whoever has its pid now."""
    record = _read_record(program)
    if record is None:
        return None
    try:
        process = psutil.Process(int(record["pid"]))
        same = abs(_started_s(process) - float(record["started_s"])) < _SAME_START_S
        return process if same and _is_alive(process) else None
    except psutil.NoSuchProcess:
        return None


def is_current(program: Program) -> bool:
    """Whether the program was launched with the present command and settings."""
    record = _read_record(program)
    return record is not None and record["digest"] == program.digest


def stop(programs: Sequence[Program]) -> list[str]:
    """End programs with all their descendants, at once; returns the names of those that ran."""
    members = {program.name: _members(program) for program in programs}
    for program in programs:
        leader = find(program)
        for process in members[program.name]:
            if program.signal_children or process == leader or leader is None:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(program.stop_signal)
    alive = wait_for_end(process for processes in members.values() for process in processes)
    # A task may have been started between the look and the signal.
    alive |= {process for program in programs for process in _members(program)}
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(alive)
    for program in programs:
        program.pid_path.unlink(missing_ok=True)
    return [program.name for program in programs if members[program.name]]


def require_alive(program: Program) -> None:
    """Raises ServiceError with the end of the log when the program does not run."""
    if find(program) is None:
        raise ServiceError(f"{program.name} ended while starting; {describe_log(program)}")


def describe_log(program: Program) -> str:
    """The path and the last lines of a program's log, for an error message."""
    lines = program.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join([f"the end of {program.log_path}:", *(f"  {line}" for line in lines)])


def _members(program: Program) -> list[psutil.Process]:
    """The program, its descendants, and what is left of its session when the program itself is gone."""
    record = _read_record(program)
    if record is None:
        return []
    pid = int(record["pid"])
    leader = find(program)
    if leader is None:
        # Numbers come again: after a restart of the machine, those of the session are somebody else's.
        is_reused = psutil.pid_exists(pid) and _is_alive(psutil.Process(pid))
        if is_reused or record.get("boot") != _boot_id():
            return []
    found = {leader, *leader.children(recursive=True)} if leader else set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == pid and _is_alive(process):
                found.add(process)
    return sorted(found, key=lambda process: process.pid)


def wait_for_end(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Wait for processes to end; returns those that did not."""
    deadline = time.monotonic() + _GRACE_S
    alive = {process for process in processes if _is_alive(process)}
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        alive = {process for process in alive if _is_alive(process)}
    return alive


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; not so one that ended and waits for its parent, perhaps for ever."""
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _read_record(program: Program) -> dict[str, int | float | str] | None:
    with suppress(FileNotFoundError, ValueError):
        record: dict[str, int | float | str] = json.loads(program.pid_path.read_text())
        return record
    return None


def _boot_id() -> str:
    """Names the time since the machine's start, where the system does."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else ""


def _started_s(process: psutil.Process) -> float:
    """Seconds from the machine's start to the process's: unlike the time of day, it is never set."""
    return float(process.create_time() - psutil.boot_time())
