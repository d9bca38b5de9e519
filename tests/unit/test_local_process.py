import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orthostat.errors import ServiceError
from orthostat.local import configuration, process, services
from orthostat.local.process import Program

SLEEP = "import time; time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{SLEEP}']).wait()"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    programs = []

    def launch_python(code: str) -> Program:
        programs.append(Program("test", [sys.executable, "-c", code], tmp_path, inherited=dict(os.environ)))
        process.launch(programs[-1])
        return programs[-1]

    yield launch_python
    process.stop(programs)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_leader(program: Program) -> psutil.Process:
    """Kill it alone; returns the child that it leaves behind."""
    leader = process.find(program)
    assert leader is not None
    wait_for(leader.children)
    (child,) = leader.children()
    leader.kill()
    wait_for(lambda: process.find(program) is None)
    return child


def test_program_is_found_again_and_ends_with_its_children(launch: Callable[[str], Program]) -> None:
    program = launch(PARENT)
    leader = process.find(program)
    assert leader is not None
    wait_for(leader.children)
    (child,) = leader.children()

    assert process.stop([program]) == ["test"]
    assert process.find(program) is None
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert process.stop([program]) == []


def test_a_program_that_ends_while_it_is_waited_for_is_started_again(
    launch: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a scheduler does that had lost its database before it came back."""
    program = launch("import time; time.sleep(2)")
    dying = process.find(program)

    def ready(_: Path, programs: list[Program]) -> set[str]:
        return {one.name for one in programs if process.find(one) not in (None, dying)}

    monkeypatch.setattr(services, "_ready", ready)
    services._bring_up([program])
    assert process.find(program) not in (None, dying)


@pytest.mark.parametrize("end", [lambda program: process.stop([program]), process.launch])
def test_orphans_of_a_killed_program_end_too(
    launch: Callable[[str], Program], end: Callable[[Program], None]
) -> None:
    program = launch(PARENT)
    child = kill_leader(program)

    end(program)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_another_process_with_the_same_pid_is_left_alone(launch: Callable[[str], Program]) -> None:
    program = launch(SLEEP)
    found = process.find(program)
    assert found is not None
    record = json.loads(program.pid_path.read_text())
    program.pid_path.write_text(json.dumps({**record, "started_s": record["started_s"] - 1000}))

    assert process.find(program) is None
    assert process.stop([program]) == []
    assert found.is_running()
    found.kill()


def test_a_session_of_before_the_machine_started_is_left_alone(launch: Callable[[str], Program]) -> None:
    program = launch(PARENT)
    child = kill_leader(program)
    record = json.loads(program.pid_path.read_text())
    program.pid_path.write_text(json.dumps({**record, "boot": "another"}))

    assert process.stop([program]) == []
    assert child.is_running()
    child.kill()


def test_services_are_stopped_whatever_has_become_of_their_configuration(
    launch: Callable[[str], Program], tmp_path: Path
) -> None:
    program = launch(SLEEP)
    (tmp_path / "config.json").write_text("{")
    assert services.stop(tmp_path) == ["test"]
    assert process.find(program) is None


def test_changed_settings_are_noticed(launch: Callable[[str], Program], tmp_path: Path) -> None:
    program = launch(SLEEP)
    assert process.is_current(program)
    assert not process.is_current(Program("test", program.command, tmp_path, settings={"PORT": "1"}))


def test_program_that_ends_at_start_is_reported_with_its_log(launch: Callable[[str], Program]) -> None:
    program = launch("import sys; sys.exit('the port is taken')")
    wait_for(lambda: process.find(program) is None)
    with pytest.raises(ServiceError, match=r"(?s)test ended while starting.*test\.log.*the port is taken"):
        process.require_alive(program)


def test_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with configuration.free_port(port) as first, configuration.free_port(port) as second:
            assert port < first < second  # which nobody listens to yet


def test_configuration_stays_the_same_and_private(tmp_path: Path) -> None:
    first = configuration.read(tmp_path)
    assert configuration.read(tmp_path) == first
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    assert len(first.jwt_secret) >= 64


def test_configuration_of_an_older_version_gets_its_secrets_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"s3_port": 5555}')
    first = configuration.read(tmp_path)
    assert first.s3_port == 5555
    assert configuration.read(tmp_path) == first


def test_damaged_configuration_is_reported(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"api_port": "often"}')
    with pytest.raises(ServiceError, match=r"config\.json is damaged"):
        configuration.read(tmp_path)
