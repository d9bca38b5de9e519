"""Pods that nobody waits for: their run was ended by hand in the moment in which they were made."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

RUN, OUTPUT = "orthostat/run-id", "orthostat/output"
"""Annotations: the run as Airflow calls it, and the pipeline's output: another Airflow may have a DAG and
runs of the same names in the same namespace."""
_IN_TIME: dict[str, Any] = {"_request_timeout": 15}

log = logging.getLogger(__name__)


def remove_leftovers(
    api: Any, namespace: str, dag_id: str, output: str, is_over: Callable[[str], bool]
) -> list[str]:
    """Delete the pods of a pipeline's DAG whose run, by its id, `is_over`; returns their names.

    `api` is a `kubernetes.client.ApiClient`. What the cluster refuses is logged: the next run comes by, too.
    """
    from kubernetes.client import ApiException, CoreV1Api
    from urllib3.exceptions import HTTPError

    core, removed = CoreV1Api(api), []
    selector = f"app.kubernetes.io/name=orthostat,kubernetes_pod_operator=True,dag_id={dag_id}"
    try:
        pods = core.list_namespaced_pod(namespace, label_selector=selector, **_IN_TIME).items
        for pod in pods:
            name, annotations = pod.metadata.name, pod.metadata.annotations or {}
            run_id = annotations.get(RUN)
            if run_id is None or annotations.get(OUTPUT) != output or not is_over(run_id):
                continue
            try:
                core.delete_namespaced_pod(name, namespace, **_IN_TIME)
            except ApiException as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                continue  # another run was faster
            log.info("removed pod %s, which run '%s' left", name, run_id)
            removed.append(name)
    except (ApiException, HTTPError) as error:
        log.warning("pods that earlier runs may have left cannot be removed: %s", error)
    return removed
