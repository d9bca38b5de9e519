"""Why the API server does not take a pod."""

import re
from collections.abc import Callable

from orthostat.cluster.diagnosis import Diagnosis
from orthostat.pipelines.resources import amount

_APPLY = "apply config/kubernetes/base or your overlay of it (kubectl apply --server-side -k), or correct"


def explain_refusal(status: int, message: str, namespace: str) -> Diagnosis | None:
    """What is wrong, from the answer's HTTP status and message.

    None where waiting helps: a quota that other pods use up for now.
    """
    if status == 403:
        if "exceeded quota" in message:
            return _explain_quota(message)
        for pattern, explain in _FORBIDDEN.items():
            match = re.search(pattern, message)
            if match:
                return explain(match, message, namespace)
        return Diagnosis(
            f"the cluster forbids the pod: {message}", is_final=False
        )  # it may be a webhook's mood
    if status == 404:
        return Diagnosis(
            f"there is no namespace '{namespace}' in the cluster; {_APPLY} 'resources.namespace'",
            is_final=True,
        )
    if status in {400, 422}:
        return Diagnosis(
            f"the cluster finds the pod invalid: {message}; correct 'resources' in the pipeline file",
            is_final=True,
        )
    if status == 401:
        return Diagnosis(
            f"the cluster does not know who asks (401 {message}); renew the credentials of the connection "
            "'kubernetes_default'",
            is_final=False,
        )
    return Diagnosis(f"the cluster does not take the pod now ({status} {message})", is_final=False)


def _explain_quota(message: str) -> Diagnosis | None:
    """A request above the whole quota never fits; one above what is left of it does later."""
    found = {
        name: dict(re.findall(r"([\w./-]+)=([\w.]+)", part))
        for name, part in re.findall(r"(requested|limited): (.*?)(?=, \w+: |$)", message)
    }
    for resource, wanted in found.get("requested", {}).items():
        limited = found.get("limited", {}).get(resource)
        if limited is not None and amount(wanted) > amount(limited):
            return Diagnosis(
                f"the pod asks for {resource} {wanted}, and the namespace's whole quota is {limited}; lower "
                "it in 'resources', or raise the ResourceQuota",
                is_final=True,
            )
    return None


def _no_account(match: re.Match[str], message: str, namespace: str) -> Diagnosis:
    return Diagnosis(
        f"there is no service account '{match[1]}' in namespace '{namespace}'; {_APPLY} "
        "'resources.service_account'",
        is_final=True,
    )


def _no_priority(match: re.Match[str], message: str, namespace: str) -> Diagnosis:
    return Diagnosis(
        f"there is no PriorityClass '{match[1]}' in the cluster; {_APPLY} 'resources.priority_class'",
        is_final=True,
    )


def _no_right(match: re.Match[str], message: str, namespace: str) -> Diagnosis:
    return Diagnosis(
        f"{match[1]} may not {match[2]} {match[3]} in namespace '{namespace}'; bind it there to the Role "
        "'pod-launcher' (config/kubernetes/base), as scheduler, workers and triggerer must be, or correct "
        "'resources.namespace'",
        is_final=True,
    )


def _insecure(match: re.Match[str], message: str, namespace: str) -> Diagnosis:
    return Diagnosis(
        f"namespace '{namespace}' refuses the pod by its Pod Security Standard ({match[1]}); something has "
        "changed the pod on its way, such as a mutating webhook or pod_mutation_hook: make it keep that",
        is_final=True,
    )


def _out_of_range(match: re.Match[str], message: str, namespace: str) -> Diagnosis:
    return Diagnosis(
        f"a LimitRange of namespace '{namespace}' refuses the pod: {match[0]}; change 'resources' in the "
        "pipeline file, or the LimitRange",
        is_final=True,
    )


def _ending(match: re.Match[str], message: str, namespace: str) -> Diagnosis:
    return Diagnosis(f"namespace '{namespace}' is being deleted; make it again", is_final=False)


_FORBIDDEN: dict[str, Callable[[re.Match[str], str, str], Diagnosis]] = {
    r'service account [\w/-]*?/?([\w.-]+): serviceaccount "': _no_account,
    r"no PriorityClass with name (\S+)": _no_priority,
    r'User "([^"]+)" cannot (\w+) resource "([\w/]+)"': _no_right,
    r"violates PodSecurity (.*)": _insecure,
    r"(maximum|minimum) [\w.-]+ usage per \w+ is [^,\]]+, but [^,\]]+": _out_of_range,
    r"being terminated": _ending,
}
