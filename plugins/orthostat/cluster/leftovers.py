"""Pods that nobody waits for: their run was ended by hand in the moment in which they were made."""

import logging
from collections.abc import Callable
from typing import Any

RUN = "orthostat/run-id"
"""Annotation: the run as Airflow calls it; a label may not hold every name."""
_IN_TIME: dict[str, Any] = {"_request_timeout": 15}

log = logging.getLogger(__name__)


def remove_leftovers(api: Any, namespace: str, dag_id: str, is_over: Callable[[str], bool]) -> list[str]:
    """Delete the pods of a DAG whose run, by its id, `is_over`; returns their names.

    `api` is a `kubernetes.client.ApiClient`. Whatever goes wrong is logged: the next run comes by, too.
    """
    from kubernetes.client import ApiException, CoreV1Api
    from urllib3.exceptions import HTTPError

    core, removed = CoreV1Api(api), []
    selector = f"app.kubernetes.io/name=orthostat,kubernetes_pod_operator=True,dag_id={dag_id}"
    try:
        for pod in core.list_namespaced_pod(namespace, label_selector=selector, **_IN_TIME).items:
            run_id = (pod.metadata.annotations or {}).get(RUN)
            if run_id is not None and is_over(run_id):
                core.delete_namespaced_pod(pod.metadata.name, namespace, **_IN_TIME)
                log.info("removed pod %s, which run '%s' left", pod.metadata.name, run_id)
                removed.append(pod.metadata.name)
    except (ApiException, HTTPError) as error:
        log.warning("pods that earlier runs may have left cannot be removed: %s", error)
    return removed
