"""A step as a Kubernetes pod: how Airflow starts it, follows it, and says why it failed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from kubernetes.client import ApiException
from kubernetes.config import ConfigException

from orthostat.cluster.diagnosis import Diagnosis
from orthostat.cluster.endings import explain_end
from orthostat.cluster.pod import predict_pod, stats_pod
from orthostat.cluster.preflight import answered
from orthostat.cluster.refusals import explain_refusal
from orthostat.pipelines.resources import Resources
from orthostat_airflow.notes import NOTE
from orthostat_airflow.pod_trigger import PodTrigger

_QUOTA_S = 30
"""How long a pod that the quota has no room for waits before it asks again."""
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
    "schedule_timeout_seconds": 3600,
    "startup_timeout_seconds": 900,
    "on_finish_action": "delete_pod",
    # Names without the suffix collide on retry (apache/airflow#71743).
    "random_name_suffix": True,
    "durable": True,
    # A spot node may go at any time; work that is committed is skipped, so a retry costs one scene.
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "execution_timeout": timedelta(hours=12),
    "log_events_on_failure": False,  # the diagnosis has read them
}


class PodStep(KubernetesPodOperator):
    """Runs `orthostat ARGUMENTS` in a pod. A failure stands in the run's note with its cure.

    What another try cannot mend fails at once; what the cluster may have room for later is waited for.
    """

    def __init__(self, *, backfill_priority_class: str | None = None, **kwargs: Any) -> None:
        """`backfill_priority_class` is that of pods of backfills, which should wait for nightly ones."""
        super().__init__(**kwargs)
        self.backfill_priority_class = backfill_priority_class

    def execute(self, context: Any) -> Any:
        """Make the pod and wait for it outside a worker slot; asks again later where a quota is used up."""
        if context["dag_run"].run_type == "backfill" and self.backfill_priority_class is not None:
            self.priority_class_name = self.backfill_priority_class
        overloads = self._count_overloads(context)
        if overloads:
            self.arguments = [*self.arguments, "--overloads", str(overloads)]
        try:
            return super().execute(context)
        except ApiException as error:
            status, message = answered(error)
            diagnosis = explain_refusal(status, message, str(self.namespace))
            if diagnosis is None:
                self.log.info("The quota has no room for the pod yet, it waits: %s", message)
                trigger = TimeDeltaTrigger(timedelta(seconds=_QUOTA_S))
                self.defer(trigger=trigger, method_name="ask_again", timeout=self.execution_timeout)
            else:
                self._fail(context, diagnosis, error)
        except ConfigException as error:
            lacking = f"no cluster is known here ({error}); set the connection '{self.kubernetes_conn_id}'"
            self._fail(context, Diagnosis(lacking, is_final=True), error)

    def ask_again(self, context: Any, event: Any = None) -> Any:
        """Try to make the pod once more."""
        return self.execute(context)

    def defer(self, *, trigger: Any, **kwargs: Any) -> NoReturn:
        """Wait by the trigger of this house, which knows why pods do not start."""
        if not isinstance(trigger, TimeDeltaTrigger):
            trigger = PodTrigger.like(trigger)
        super().defer(trigger=trigger, **kwargs)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """Finish with the pod; what failed is explained before it is deleted."""
        diagnosis = None if event["status"] == "success" else self._diagnose(event)
        try:
            return super().trigger_reentry(context, event)
        except TaskDeferred:
            raise
        except Exception as error:
            self._fail(context, diagnosis or self._diagnose(event), error)

    def _diagnose(self, event: dict[str, Any]) -> Diagnosis:
        """What the trigger found, else what the pod's own status says."""
        if "diagnosis" in event:
            return Diagnosis(**event["diagnosis"])
        name, namespace = event["name"], event["namespace"]
        try:
            pod = self.hook.get_pod(name, namespace)
        except ApiException as error:
            if error.status != 404:
                return Diagnosis(f"the pod cannot be looked at ({answered(error)[1]})", is_final=False)
            pod = None
        as_json: Callable[[Any], Any] = self.client.api_client.sanitize_for_serialization
        events = self.client.list_namespaced_event(namespace, field_selector=f"involvedObject.name={name}")
        if event["status"] == "timeout" and pod is not None and pod.status.phase in {"Pending", "Running"}:
            return Diagnosis(f"{event['message']} The pod is {pod.status.phase}", is_final=False)
        field = "resources.memory" if self.task_id == "predict" else "resources.stats.memory"
        return explain_end(None if pod is None else as_json(pod), as_json(events.items), field)

    def _fail(self, context: Any, diagnosis: Diagnosis, error: Exception) -> None:
        context["ti"].xcom_push(NOTE, f"{self.task_id} failed: {diagnosis.reason}")
        is_final = diagnosis.is_final
        if diagnosis.is_overload:
            # Scene by scene, the next try finds the one that does it; a tile that is too large stays so.
            is_final = self.task_id != "predict"
            context["task_state_store"].set(_OVERLOADS, self._count_overloads(context) + 1)
        raise (AirflowFailException if is_final else AirflowException)(diagnosis.reason) from error

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
