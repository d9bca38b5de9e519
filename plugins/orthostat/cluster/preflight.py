"""What can be known before the first pod: the namespace, the rights, the secret, what is refused."""

import json
from collections.abc import Callable
from typing import Any

from orthostat.cluster.diagnosis import Manifest
from orthostat.cluster.pod import predict_pod, stats_pod
from orthostat.cluster.refusals import explain_refusal
from orthostat.errors import ClusterError
from orthostat.pipelines.resources import Resources

_RIGHTS = (
    *(("pods", verb) for verb in ("create", "get", "list", "patch", "delete")),
    ("pods/log", "get"),
    ("events", "list"),
)
"""What scheduler, workers and triggerer do with pods."""
_IN_TIME: dict[str, Any] = {"_request_timeout": 15}
"""Seconds to wait for an answer; without, a firewall that drops packets is waited for without end."""


def check_cluster(api: Any, resources: Resources) -> list[str]:
    """What would keep the pods of a pipeline from starting, each with its cure; empty when nothing is known.

    `api` is a `kubernetes.client.ApiClient`. Makes nothing: pods are sent as a dry run. Raises ClusterError
    when the API server does not answer.
    """
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(api)
    refused = _dry_run(core, resources, predict_pod(resources)) or _dry_run(
        core, resources, stats_pod(resources)
    )
    if refused:
        return [refused]  # whoever lacks the namespace or the right would hear of it once more below
    problems = [_check_rights(api, resources.namespace), _check_secret(core, resources)]
    return [problem for problem in problems if problem]


def answered(error: Any) -> tuple[int, str]:
    """HTTP status and message of a `kubernetes.client.ApiException`."""
    try:
        body = json.loads(error.body)
        return int(error.status), str(body["message"])
    except (TypeError, ValueError, KeyError):
        return int(error.status or 0), str(error.reason or error)


def _dry_run(core: Any, resources: Resources, pod: Manifest) -> str | None:
    body = {**pod, "metadata": {**pod["metadata"], "generateName": "orthostat-check-"}}
    refusal = _ask(lambda: core.create_namespaced_pod(resources.namespace, body, dry_run="All", **_IN_TIME))
    if refusal is None:
        return None
    diagnosis = explain_refusal(*refusal, resources.namespace)
    return diagnosis.reason if diagnosis else None


def _check_rights(api: Any, namespace: str) -> str | None:
    from kubernetes.client import AuthorizationV1Api

    authorization, lacking = AuthorizationV1Api(api), []
    for resource, verb in _RIGHTS:
        name, _, part = resource.partition("/")
        attributes = {"namespace": namespace, "verb": verb, "resource": name, "subresource": part}
        review = {"spec": {"resourceAttributes": attributes}}
        made: list[Any] = []

        def ask(review: dict[str, Any] = review, made: list[Any] = made) -> None:
            made.append(authorization.create_self_subject_access_review(review, **_IN_TIME))

        if _ask(ask) is None and not made[0].status.allowed:
            lacking.append(f"{verb} {resource}")
    if not lacking:
        return None
    return (
        f"the account may not {', '.join(lacking)} in namespace '{namespace}'; bind it to the Role "
        "'pod-launcher' (config/kubernetes/base), as scheduler, workers and triggerer must be"
    )


def _check_secret(core: Any, resources: Resources) -> str | None:
    """Whether the Secret is there. An account that may not look at it cannot tell, and its pods will."""
    name, namespace = resources.environment_secret, resources.namespace
    if name is None:
        return None
    refusal = _ask(lambda: core.read_namespaced_secret(name, namespace, **_IN_TIME))
    if refusal is None or refusal[0] != 404:
        return None
    return (
        f"there is no secret '{name}' in namespace '{namespace}'; make it (see "
        "config/kubernetes/secret.example.yaml), or correct 'resources.environment_secret'"
    )


def _ask(request: Callable[[], Any]) -> tuple[int, str] | None:
    """The refusal, if there is one. Raises ClusterError when nobody answers."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        request()
    except ApiException as error:
        status, message = answered(error)
        if not 400 <= status < 500:
            raise ClusterError(f"the cluster fails ({status} {message}); try again") from error
        return status, message
    except (HTTPError, OSError) as error:
        raise ClusterError(
            f"the cluster does not answer ({error}); check its address and the way to it"
        ) from error
    return None
