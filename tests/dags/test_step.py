"""A step in its task's process: what Airflow is told of it, and what it sees."""

import argparse
import logging
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from orthostat.cli import step as commands
from orthostat.errors import SceneError, StorageError
from orthostat_airflow.notes import NOTE, PLANNED, PROGRESS
from tests.builders import make_pipeline

GATE = ["step", "gate", "--root", "s3://bucket/out", "--run-id", "run"]


class Told:
    """The task instance, as far as a step speaks to it."""

    get_task_states: Callable[..., Any]

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


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_progress_is_told_whatever_airflow_logs(monkeypatch, level: str) -> None:
    def gate(arguments: argparse.Namespace) -> Any:
        logging.getLogger("orthostat.any").info("3 of 3 tiles done")
        return {}

    monkeypatch.setattr(logging.getLogger("orthostat"), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger(), "level", logging.getLevelName(level))
    told = Told()
    run(monkeypatch, gate, told)
    assert told.said == {PROGRESS: {"done": 3, "failed": 0, "of": 3, "what": "tiles"}}


def test_progress_that_cannot_be_told_stops_no_step(monkeypatch) -> None:
    class Deaf(Told):
        def xcom_push(self, key: str, value: Any) -> None:
            raise RuntimeError("API_SERVER_ERROR")

    def gate(arguments: argparse.Namespace) -> Any:
        logging.getLogger("orthostat.any").info("3 of 3 tiles done")
        return {"work": ["s3://a"]}

    assert run(monkeypatch, gate, Deaf()) == ["s3://a"]


@pytest.mark.parametrize(
    ("release", "unneeded", "is_refused"),
    [(None, [], False), ("skipped", ["release"], False), ("skipped", ["verify"], True)],
)
def test_a_plan_that_had_skipped_all_and_finds_something_now_says_so(
    monkeypatch, release: str | None, unneeded: list[str], is_refused: bool
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from orthostat_airflow import step
    from orthostat_airflow.plan_step import PlanStep

    skipped: list[str] = []
    monkeypatch.setattr(commands, "plan", lambda arguments: {"work": [], "unneeded": unneeded})
    monkeypatch.setattr(step, "skip_steps", skipped.extend)
    told = Told()
    told.get_task_states = lambda dag_id, run_ids: {run_ids[0]: {"plan": "running", "release": release}}
    context = {
        "ti": told,
        "params": {"from": "2024-01-01", "to": "2024-01-31", "re_predict": False},
        "dag_run": SimpleNamespace(dag_id="made", run_id="run", run_type="manual", conf=None),
    }
    plan = PlanStep(task_id="plan", pipeline=make_pipeline(runner="process"))
    if is_refused:
        with pytest.raises(AirflowFailException, match="clear the run with all that follows"):
            plan.execute(context)
        assert "now there is something" in told.said[NOTE]
    else:
        assert plan.execute(context) == []
    assert skipped == unneeded
