"""A step as a Kubernetes pod: how Airflow starts it, follows it, and says why it failed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from orthostat.cluster.diagnosis import Diagnosis
from orthostat.cluster.endings import explain_end
from orthostat.cluster.pod import predict_pod, stats_pod
from orthostat.cluster.preflight import answered
from orthostat.cluster.refusals import explain_refusal
from orthostat.pipelines.resources import Resources
from orthostat_airflow.notes import NOTE
from orthostat_airflow.pod_trigger import PodTrigger

_WAIT_S = 30
"""How long a pod that the quota has no room for, or an API server that is away, is left alone."""
_MOST_OUTAGES = 20
"""An API server that is away for ten minutes fails the try."""
_OVERLOADS = "overloads"
"""Key in the task's state, which outlives its tries: how many of its pods took more than they had."""

POD_DEFAULTS: dict[str, Any] = {
    # A worker slot per waiting pod would be the bottleneck of a large run.
    "deferrable": True,
    "poll_interval": 5,
    "logging_interval": 15,
    "startup_check_interval_seconds": 5,
    # Results are S3 objects; with the sidecar a vanished pod seems a success (apache/airflow#73117).
    "do_xcom_push": False,
    # The defaults of 120 s are too short for a GPU node that scales up and pulls a large image.
    # What is hopeless is known sooner; a pod of a backfill may wait for its turn on busy nodes.
    "schedule_timeout_seconds": 6 * 3600,
    "startup_timeout_seconds": 900,
    "on_finish_action": "delete_pod",
    # Names without the suffix collide on retry (apache/airflow#71743).
    "random_name_suffix": True,
    "durable": True,
    # A spot node may go at any time; work that is committed is skipped, so a retry costs one scene.
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "execution_timeout": timedelta(hours=12),
    # Whatever happens to Airflow meanwhile, no pod is left for ever.
    "active_deadline_seconds": 13 * 3600,
    "log_events_on_failure": False,  # the diagnosis has read them
}


class PodStep(KubernetesPodOperator):
    """Runs `orthostat ARGUMENTS` in a pod. A failure stands in the run's note with its cure.

    What another try cannot mend fails at once; what the cluster may have room for later is waited for.
    """

    MAX_REDEFER_ATTEMPTS = 100  # a trigger that stumbles says nothing of a pod that runs

    def __init__(self, *, backfill_priority_class: str | None = None, **kwargs: Any) -> None:
        """`backfill_priority_class` is that of pods of backfills, which should wait for nightly ones."""
        super().__init__(**kwargs)
        self.backfill_priority_class = backfill_priority_class

    def execute(self, context: Any) -> Any:
        """Make the pod and wait for it outside a worker slot; asks again later where a quota is used up."""
        return self._make(context)

    def ask_again(self, context: Any, event: Any = None, outages: int = 0) -> Any:
        """Try to make the pod once more; `outages` times the API server was away before."""
        return self._make(context, outages)

    def _make(self, context: Any, outages: int = 0) -> Any:
        if context["dag_run"].run_type == "backfill" and self.backfill_priority_class is not None:
            self.priority_class_name = self.backfill_priority_class
        overloads = self._count_overloads(context)
        if overloads and self._goes_by_scenes:
            self.arguments = [*self.arguments, "--overloads", str(overloads)]
        try:
            return super().execute(context)
        except ApiException as error:
            status, message = answered(error)
            diagnosis = explain_refusal(status, message, str(self.namespace))
            if diagnosis is not None:
                self._fail(context, diagnosis, error)
            self.log.info("The quota has no room for the pod yet, it waits: %s", message)
            self._wait("ask_again")
        except HTTPError as error:
            self._wait_for_cluster(context, error, "ask_again", outages)
        except ConfigException as error:
            lacking = f"no cluster is known here ({error}); set the connection '{self.kubernetes_conn_id}'"
            self._fail(context, Diagnosis(lacking, is_final=True), error)

    def _wait_for_cluster(
        self, context: Any, error: Exception, method: str, outages: int, **kwargs: Any
    ) -> NoReturn:
        """The API server is away: its pods go on, so nothing has failed until it has been away for long."""
        if outages >= _MOST_OUTAGES:
            away = f"the cluster does not answer ({error}); check its address and the way to it"
            self._fail(context, Diagnosis(away, is_final=False), error)
        self.log.warning("The cluster does not answer, asking again in %d s: %s", _WAIT_S, error)
        self._wait(method, outages=outages + 1, **kwargs)

    def _wait(self, method: str, **kwargs: Any) -> NoReturn:
        trigger = TimeDeltaTrigger(timedelta(seconds=_WAIT_S))
        self.defer(trigger=trigger, method_name=method, kwargs=kwargs, timeout=self.execution_timeout)

    def defer(self, *, trigger: Any, **kwargs: Any) -> NoReturn:
        """Wait by the trigger of this house, which knows why pods do not start."""
        if not isinstance(trigger, TimeDeltaTrigger):
            trigger = PodTrigger.like(trigger)
        super().defer(trigger=trigger, **kwargs)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """Finish with the pod; what failed is explained before it is deleted."""
        return self._finish(context, event)

    def look_again(
        self, context: Any, event: Any = None, ended: dict[str, Any] | None = None, outages: int = 0
    ) -> Any:
        """Finish with the pod of which the trigger said `ended`, once the API server is back."""
        return self._finish(context, ended or {}, outages)

    def _finish(self, context: Any, event: dict[str, Any], outages: int = 0) -> Any:
        diagnosis = None
        try:
            diagnosis = None if event["status"] == "success" else self._diagnose(event)
            return super().trigger_reentry(context, event)
        except TaskDeferred:
            raise
        except HTTPError as error:
            self._wait_for_cluster(context, error, "look_again", outages, ended=event)
        except Exception as error:
            self._fail(context, diagnosis or Diagnosis(str(error), is_final=False), error)

    def _diagnose(self, event: dict[str, Any]) -> Diagnosis:
        """What the trigger found, else what the pod's own status says. Raises HTTPError in an outage."""
        if "diagnosis" in event:
            return Diagnosis(**event["diagnosis"])
        name, namespace = event["name"], event["namespace"]
        try:
            pod = self.hook.get_pod(name, namespace)
        except ApiException as error:
            if error.status != 404:
                return Diagnosis(f"the pod cannot be looked at ({answered(error)[1]})", is_final=False)
            pod = None
        if pod is not None and pod.status.phase in {"Pending", "Running"}:
            return Diagnosis(f"{event['message']} The pod is {pod.status.phase}", is_final=False)
        as_json: Callable[[Any], Any] = self.client.api_client.sanitize_for_serialization
        try:
            selector = f"involvedObject.name={name}"
            events = self.client.list_namespaced_event(namespace, field_selector=selector).items
        except ApiException:
            events = []  # they only tell more of a pod that is gone
        field = "resources.memory" if self.task_id == "predict" else "resources.stats.memory"
        return explain_end(None if pod is None else as_json(pod), as_json(events), field)

    def _fail(self, context: Any, diagnosis: Diagnosis, error: Exception) -> NoReturn:
        context["ti"].xcom_push(NOTE, f"{self.task_id} failed: {diagnosis.reason}")
        is_final = diagnosis.is_final
        if diagnosis.is_overload:
            # Scene by scene, the next try finds the one that does it; a tile that is too large stays so.
            is_final = not self._goes_by_scenes
            context["task_state_store"].set(_OVERLOADS, self._count_overloads(context) + 1)
        raise (AirflowFailException if is_final else AirflowException)(diagnosis.reason) from error

    @property
    def _goes_by_scenes(self) -> bool:
        """Whether the step has a batch of scenes, which it can try one by one."""
        return list(self.arguments or [])[:2] == ["step", "predict"]

    def _count_overloads(self, context: Any) -> int:
        return int(context["task_state_store"].get(_OVERLOADS) or 0)


def pod_step(task_id: str, resources: Resources, arguments: list[str]) -> Any:
    """One pod that predicts."""
    return PodStep(arguments=arguments, **_defaults(task_id, resources))


def mapped_pod_step(task_id: str, resources: Resources, **kwargs: Any) -> Any:
    """A pod for each of the arguments that it is expanded with."""
    return PodStep.partial(**_defaults(task_id, resources), **kwargs)


def _defaults(task_id: str, resources: Resources) -> dict[str, Any]:
    is_prediction = task_id == "predict"
    pod = predict_pod(resources) if is_prediction else stats_pod(resources)
    return {
        **POD_DEFAULTS,
        "task_id": task_id,
        # A pod that a quota has no room for would ask again and again.
        "pool": resources.pool if is_prediction else resources.stats_pool,
        "name": f"orthostat-{task_id}",
        "namespace": resources.namespace,
        "image": pod["spec"]["containers"][0]["image"],
        "pod_template_dict": pod,
        "backfill_priority_class": resources.backfill_priority_class,
        "termination_message_policy": "FallbackToLogsOnError",
        "automount_service_account_token": False,
    }
