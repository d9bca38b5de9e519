"""The first step of a run: resolves the run's window, then plans."""

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRuntimeError

from orthostat.cluster.leftovers import remove_leftovers
from orthostat.cluster.preflight import check_cluster
from orthostat.errors import ConfigurationError, OrthostatError
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.resources import Resources
from orthostat.pipelines.window import Window, resolve_window
from orthostat_airflow.notes import NOTE
from orthostat_airflow.step import Step

_OVER = {"success", "failed"}
_ACTIVE = {"scheduled", "queued", "running", "deferred", "up_for_retry", "restarting"}
_SKIPPED = "release"
"""Only a plan that finds nothing to do skips it."""
_log = logging.getLogger(__name__)
FORM = {
    "from": Param(
        None,
        type=["null", "string"],
        format="date",
        title="From",
        description="First day of acquisition. A run by hand needs both days.",
    ),
    "to": Param(
        None,
        type=["null", "string"],
        format="date",
        title="To",
        description="Last day of acquisition, included.",
    ),
    "re_predict": Param(
        False,
        type="boolean",
        title="Predict again",
        description="Also predict scenes that are already predicted, e.g. after an upgrade.",
    ),
}
"""The trigger form of every pipeline."""


class PlanStep(Step):
    """Runs `orthostat step plan` for the window of this run."""

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        super().__init__(
            arguments=["step", "plan", "--pipeline", pipeline.name, "--run-id", "{{ run_id }}"], **kwargs
        )
        self.lookback_days = pipeline.lookback_days
        self.results_uri = pipeline.output
        self.cluster = pipeline.resources if pipeline.runner == "kubernetes" else None

    def execute(self, context: Any) -> Any:
        """Resolve the window, plan, and ask the cluster whether it would take the pods that are to come.

        A window that cannot be resolved, or pods that would be refused, fail the task at once.
        """
        run = context["dag_run"]
        before = states_of(context["ti"], run.dag_id, run.run_id)
        try:
            require_known(run.conf)
            window = run_window(context, self.lookback_days)
            self.arguments += ["--start", window.start.isoformat(), "--end", window.end.isoformat()]
            if context["params"]["re_predict"]:
                self.arguments.append("--re-predict")
            if self.cluster is not None:
                remove_pods(self.cluster, self.results_uri, context, before)
            batches = super().execute(context)
            if before.get(_SKIPPED) == "skipped" and _SKIPPED not in self.unneeded:
                raise ConfigurationError(
                    "an earlier try of this step found nothing to do and skipped all others; now there "
                    "is something: clear the run with all that follows"
                )
            if batches and self.cluster is not None:
                require_cluster(self.cluster)
        except OrthostatError as error:
            context["ti"].xcom_push(NOTE, f"{self.task_id} failed: {error}")
            raise (AirflowFailException if error.is_final else AirflowException)(str(error)) from error
        return batches


def require_known(conf: Mapping[str, Any] | None) -> None:
    """Raises ConfigurationError for what the form does not have: a misspelt day would be left out."""
    unknown = sorted(set(conf or {}) - set(FORM))
    if unknown:
        raise ConfigurationError(f"the run is given {unknown}, the form has {list(FORM)}; correct the names")


def states_of(ti: Any, dag_id: str, run_id: str) -> dict[str, str | None]:
    """The states of a run's tasks, by task id, and index where one is mapped."""
    found: dict[str, str | None] = ti.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
    return found


def remove_pods(resources: Resources, output: str, context: Any, states: Mapping[str, str | None]) -> None:
    """Remove what runs of this DAG left that are over, and this run before it was cleared.

    `states` are those of this run's tasks. Whatever goes wrong is logged: the next run comes by, too.
    """
    run, ti = context["dag_run"], context["ti"]
    is_awaited = any(state in _ACTIVE for task_id, state in states.items() if task_id != ti.task_id)

    @cache
    def is_over(run_id: str) -> bool:
        if run_id == run.run_id:  # its first step is this one, and was perhaps cleared alone
            return not is_awaited
        try:
            return ti.get_dagrun_state(run.dag_id, run_id) in _OVER
        except AirflowRuntimeError:
            return False  # of another Airflow, as far as is known here

    try:
        remove_leftovers(cluster_api(), resources.namespace, run.dag_id, output, is_over)
    except Exception:
        _log.exception("pods that earlier runs may have left cannot be looked for")


def require_cluster(resources: Resources) -> None:
    """Raises ConfigurationError when the cluster would refuse the pods, ClusterError when it is silent."""
    problems = check_cluster(cluster_api(), resources)
    if problems:
        raise ConfigurationError("\n".join(problems))


def cluster_api() -> Any:
    """The cluster's `ApiClient`, by Airflow's connection. Raises ConfigurationError where there is none."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.config import ConfigException

    try:
        return KubernetesHook(conn_id=KubernetesHook.default_conn_name).api_client
    except ConfigException as error:
        raise ConfigurationError(
            f"no cluster is known here ({error}); set the connection '{KubernetesHook.default_conn_name}'"
        ) from error


def run_window(context: Mapping[str, Any], lookback_days: int) -> Window:
    """The acquisitions of a run: its form's days, the backfill's interval, or the nightly look back."""
    params = context["params"]
    start = _moment(context.get("data_interval_start"))
    end = _moment(context.get("data_interval_end"))
    run_type = context["dag_run"].run_type
    # By hand, the interval is that of a date which nobody has thought about: it would be some day or other.
    interval = None if start is None or end is None or run_type == "manual" else (start, end)
    return resolve_window(
        _day(params["from"]), _day(params["to"]), interval, lookback_days if run_type == "scheduled" else None
    )


def _moment(moment: datetime | None) -> datetime | None:
    """Airflow's pendulum times as plain ones: after a change of zone theirs lose it in a subtraction."""
    return None if moment is None else datetime.fromtimestamp(moment.timestamp(), UTC)


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
