"""What the trigger says of a pod that it waits for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock, call, patch

import pytest
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import TriggerEvent

from orthostat.cluster.diagnosis import Diagnosis
from orthostat_airflow import pod_trigger
from orthostat_airflow.pod_trigger import PodTrigger

REASON = "no node can take the pod (cpu 900)"
PLACE = {"dag_id": "d", "task_id": "predict", "run_id": "r", "map_index": 3}


async def give_up(self: KubernetesPodTrigger) -> AsyncIterator[TriggerEvent]:
    """The provider's trigger, of a pod that cannot start."""
    self._fired_event = True
    yield TriggerEvent({"status": "timeout"})


def events_of_a_hopeless_pod(monkeypatch: pytest.MonkeyPatch, said: Any, deleted: Any) -> list[TriggerEvent]:
    monkeypatch.setattr(pod_trigger, "_AT_LEAST_S", 0)
    trigger = PodTrigger("pod", "eo", MagicMock(), "base")
    trigger.task_instance = MagicMock(**PLACE)
    trigger.diagnosis = Diagnosis(REASON, is_final=True)
    trigger.hook = MagicMock(delete_pod=deleted)

    async def collect() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    with patch.object(KubernetesPodTrigger, "run", give_up), patch.object(XCom, "set", said):
        return asyncio.run(collect())


def test_the_pod_is_gone_and_the_reason_said_before_the_task_has_a_worker_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who reads the note and ends the run at once leaves no pod."""
    done = MagicMock()
    said, deleted = MagicMock(), AsyncMock()
    done.attach_mock(said, "say")
    done.attach_mock(deleted, "delete")
    [event] = events_of_a_hopeless_pod(monkeypatch, said, deleted)
    reason = call.say("orthostat_note", f"predict failed: {REASON}", **PLACE)
    assert done.mock_calls == [call.delete("pod", "eo"), reason]
    assert event.payload["diagnosis"]["reason"] == REASON


def test_what_cannot_be_said_or_deleted_keeps_no_task_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    away = {"side_effect": OSError("no API server")}
    [event] = events_of_a_hopeless_pod(monkeypatch, MagicMock(**away), AsyncMock(**away))
    assert event.payload["diagnosis"]["reason"] == REASON
