"""A step in its task's process: what Airflow is told of it, and what it sees."""

import argparse
import os
from collections.abc import Callable
from typing import Any

import pytest

from orthostat.cli import step as commands
from orthostat.errors import SceneError, StorageError
from orthostat_airflow.notes import NOTE, PLANNED

GATE = ["step", "gate", "--root", "s3://bucket/out", "--run-id", "run"]


class Told:
    """The task instance, as far as a step speaks to it."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.said[key] = value


def run(monkeypatch: pytest.MonkeyPatch, gate: Callable[[argparse.Namespace], Any], told: Told) -> Any:
    from orthostat_airflow.step import Step

    monkeypatch.setitem(commands._RUN_STEPS, "gate", (gate, "help"))
    return Step(task_id="gate", arguments=GATE).execute({"ti": told})


def fail_with(error: Exception) -> Callable[[argparse.Namespace], Any]:
    def gate(arguments: argparse.Namespace) -> Any:
        raise error

    return gate


def test_a_result_goes_to_the_note_and_to_the_steps_that_follow(monkeypatch) -> None:
    told = Told()
    result = {"note": "4 of 4", "planned": {"compose": 3}, "work": ["s3://a"]}
    assert run(monkeypatch, lambda arguments: result, told) == ["s3://a"]
    assert told.said == {NOTE: "gate: 4 of 4", PLANNED: {"compose": 3}}


def test_a_step_sees_what_it_needs_and_the_task_has_its_environment_again(monkeypatch) -> None:
    seen: dict[str, str] = {}

    def gate(arguments: argparse.Namespace) -> Any:
        seen.update(os.environ)
        raise StorageError("away")

    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("ORTHOSTAT_DATABASE_URL", "secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "needed")
    before = dict(os.environ)
    with pytest.raises(Exception, match="away"):
        run(monkeypatch, gate, Told())
    assert "secret" not in seen.values()
    assert seen["AWS_ACCESS_KEY_ID"] == "needed"
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("error", "is_final", "said"),
    [
        (StorageError("S3 is away"), False, "gate failed: S3 is away"),
        (SceneError("no scene"), True, "gate failed: no scene"),
        (ZeroDivisionError("oops"), False, "gate failed: ZeroDivisionError: oops (test_step.py"),
    ],
)
def test_an_error_is_told_and_tried_again_where_that_may_help(
    monkeypatch, error: Exception, is_final: bool, said: str
) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    told = Told()
    with pytest.raises(AirflowException) as raised:
        run(monkeypatch, fail_with(error), told)
    assert isinstance(raised.value, AirflowFailException) == is_final
    assert told.said[NOTE].startswith(said)
    assert told.said[NOTE] == f"gate failed: {raised.value}"


def test_arguments_that_are_none_fail_at_once(monkeypatch, capsys) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from orthostat_airflow.step import Step

    told = Told()
    with pytest.raises(AirflowFailException):
        Step(task_id="gate", arguments=["step", "gate", "--run-id", "-x"]).execute({"ti": told})
    assert told.said[NOTE] == "gate failed: is no step: orthostat step gate --run-id -x"
