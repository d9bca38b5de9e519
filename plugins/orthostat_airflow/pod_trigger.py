"""Waits for a pod outside a worker slot: sees why it does not start, and says how far it is."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from functools import cached_property
from typing import Any, Self

from aiohttp import ClientError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.triggers.pod import ContainerState, KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async
from kubernetes_asyncio.client import ApiException, CoreV1Api

from orthostat.cluster.diagnosis import Diagnosis
from orthostat.cluster.waiting import explain_wait, find_situation
from orthostat_airflow.notes import NOTE, PROGRESS, Progress, read_progress

_LOOK_AFTER_S = 15
"""Events are asked for when a situation has lasted so long; most pods have started by then."""
_NODES_S = 60
_AT_LEAST_S = 10
"""A task that goes on before a busy scheduler has seen that it waits counts as killed, and is tried again."""


class _Hook(AsyncKubernetesHook):
    """Reads logs, and tells when they say how far the step is."""

    def __init__(self, tell: Callable[[Progress], Awaitable[None]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tell = tell

    async def read_logs(self, *arguments: Any, **named: Any) -> list[str]:
        lines: list[str] = await super().read_logs(*arguments, **named)
        found = [progress for progress in map(read_progress, lines) if progress]
        if found:
            await self.tell(found[-1])
        return lines


class PodTrigger(KubernetesPodTrigger):
    """The provider's trigger, which gives up on a pod that cannot start as soon as that is known."""

    diagnosis: Diagnosis | None = None
    told: Progress | None = None
    nodes: list[Any] | None = None
    nodes_asked = -math.inf

    @classmethod
    def like(cls, trigger: KubernetesPodTrigger) -> Self:
        """The same wait. What opens the cluster is left out: the triggerer looks it up by itself, so that
        no credential stands in the trigger's row of the database.
        """
        arguments = trigger.serialize()[1]
        return cls(**{**arguments, "connection_extras": None, "config_dict": None})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The trigger as Airflow stores it."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The provider's events; one of a pod that cannot start bears the diagnosis."""
        began = time.monotonic()
        async for event in super().run():
            self._fired_event = False  # ended by hand meanwhile, the pod is deleted
            if self.diagnosis is not None:
                event.payload["diagnosis"] = asdict(self.diagnosis)
                await self._give_up(self.diagnosis)
            await asyncio.sleep(max(0.0, began + _AT_LEAST_S - time.monotonic()))
            self._fired_event = True
            yield event

    async def _give_up(self, diagnosis: Diagnosis) -> None:
        """Delete the pod, then say why: its task may have to wait for a worker slot, and whoever has read the
        note may end the run before.
        """
        try:
            await self.hook.delete_pod(self.pod_name, self.pod_namespace)
        except Exception as error:
            self.log.warning("The pod is left for its task to delete: %s", error)
        await self._say(NOTE, f"{self.task_id} failed: {diagnosis.reason}")

    @cached_property
    def hook(self) -> _Hook:
        """The way to the cluster: the connection's, as this triggerer has it."""
        return _Hook(
            self._tell_progress,
            conn_id=self.kubernetes_conn_id,
            in_cluster=self.in_cluster,
            cluster_context=self.cluster_context,
        )

    async def on_kill(self) -> None:
        """Delete the pod when a person has ended its task, and not when the trigger only moves elsewhere."""
        if await self._is_ended_by_hand():
            await super().on_kill()

    async def _is_ended_by_hand(self) -> bool:
        try:
            return await self.safe_to_cancel()
        except Exception as error:  # whoever deletes a run takes the task's state with it
            self.log.info("The task's state is not known any more: %s", error)
            return True

    async def _tell_progress(self, progress: Progress) -> None:
        if progress != self.told and await self._say(PROGRESS, progress):
            self.told = progress

    async def _say(self, key: str, value: Any) -> bool:
        """Say something of the task. Returns whether that went well: if not, the pod goes on all the same."""
        ti = self.task_instance
        if ti is None:
            return False
        place = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
        try:
            await sync_to_async(XCom.set)(key, value, **place)
        except Exception as error:
            self.log.warning("'%s' cannot be said: %s", value, error)
            return False
        return True

    async def _wait_for_pod_start(self) -> ContainerState:
        """Wait until the container runs or has ended; PodLaunchTimeoutException when it never will."""
        began = since = time.monotonic()
        situation = told = ""
        while True:
            pod = await self._get_pod()
            if pod.status.phase not in {"Pending", "Unknown"}:
                return self.define_pod_container_state(pod)
            now = time.monotonic()
            looked = await self._look(pod, situation, now - since)
            if looked is not None:
                if looked[0] != situation:
                    situation, since = looked[0], now
                self.diagnosis = looked[1]
            if self.diagnosis is not None:
                raise PodLaunchTimeoutException(self.diagnosis.reason)
            told = self._tell(pod, told)
            is_scheduled = pod.spec.node_name is not None
            allowed = self.schedule_timeout + (self.startup_timeout if is_scheduled else 0)
            if now - began > allowed:
                verb = "started" if is_scheduled else "got a node"
                late = f"the pod has not {verb} within {allowed} s: {told or 'see its events'}"
                self.diagnosis = Diagnosis(late, is_final=False)
                raise PodLaunchTimeoutException(self.diagnosis.reason)
            await asyncio.sleep(self.startup_check_interval)

    async def _look(self, pod: Any, situation: str, lasted_s: float) -> tuple[str, Diagnosis | None] | None:
        """The pod's situation, and what is hopeless of it; None when the cluster does not say now."""
        try:
            async with self.hook.get_conn() as api:
                core, as_json = CoreV1Api(api), api.sanitize_for_serialization
                found = find_situation(as_json(pod))
                lasted_s = lasted_s if found == situation else 0.0
                if lasted_s < _LOOK_AFTER_S:
                    return found, None
                selector = f"involvedObject.name={self.pod_name}"
                events = await core.list_namespaced_event(self.pod_namespace, field_selector=selector)
                nodes = await self._list_nodes(core) if found == "node" else []
                return found, explain_wait(
                    as_json(pod), as_json(events.items), None if nodes is None else as_json(nodes), lasted_s
                )
        except (ApiException, ClientError, TimeoutError) as error:
            self.log.warning("The cluster does not say why the pod waits: %s", error)
            return None

    async def _list_nodes(self, core: CoreV1Api) -> list[Any] | None:
        """The cluster's nodes, asked for once a minute; None for an account that may not list them: it must
        wait for the autoscaler's word.
        """
        if time.monotonic() - self.nodes_asked > _NODES_S:
            try:
                self.nodes = (await core.list_node()).items
            except ApiException:
                self.nodes = None
            self.nodes_asked = time.monotonic()
        return self.nodes

    def _tell(self, pod: Any, told: str) -> str:
        """Log what the pod waits for when that changes."""
        waiting = [c.message for c in pod.status.conditions or [] if c.status == "False" and c.message]
        containers = [c.state.waiting for c in pod.status.container_statuses or [] if c.state.waiting]
        now = "; ".join([*(w.reason for w in containers if w.reason), *waiting[:1]])
        if now and now != told:
            self.log.info("The pod waits: %s", now)
        return now
