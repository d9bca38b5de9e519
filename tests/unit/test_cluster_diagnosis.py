"""What is said of pods, from objects and messages as a Kubernetes 1.35 gives them."""

from typing import Any

import pytest

from orthostat.cluster.diagnosis import last_error
from orthostat.cluster.endings import explain_end
from orthostat.cluster.pod import predict_pod
from orthostat.cluster.refusals import explain_refusal
from orthostat.cluster.waiting import explain_wait, find_situation
from orthostat.pipelines.resources import Resources, amount

RESOURCES = Resources(image="registry/predict:1", namespace="eo", gpu=1, memory="16Gi")
FIELD = "resources.memory"


def make_pod(**status: Any) -> dict[str, Any]:
    return {**predict_pod(RESOURCES), "status": status}


def make_node(**changes: Any) -> dict[str, Any]:
    node: dict[str, Any] = {
        "metadata": {"labels": {"zone": "a"}},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}},
    }
    return {**node, **changes}


def waiting(reason: str, message: str) -> dict[str, Any]:
    return make_pod(containerStatuses=[{"state": {"waiting": {"reason": reason, "message": message}}}])


def unschedulable(message: str = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return make_pod(conditions=[condition])


def ended(code: int, message: str = "", reason: str = "Error", **status: Any) -> dict[str, Any]:
    terminated = {"exitCode": code, "message": message, "reason": reason}
    return make_pod(containerStatuses=[{"state": {"terminated": terminated}}], phase="Failed", **status)


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("500m", 0.5), ("4", 4), ("16Gi", 16 * 2**30), ("1.5k", 1500), ("24581684Ki", 25171644416)],
)
def test_quantities(quantity: str, number: float) -> None:
    assert amount(quantity) == number


REFUSALS = [
    (
        403,
        'pods "x" is forbidden: exceeded quota: orthostat, requested: limits.memory=900Gi'
        ", used: limits.memory=0,requests.memory=0, limited: limits.memory=400Gi,requests.memory=400Gi",
        "the pod asks for limits.memory 900Gi, and the namespace's whole quota is 400Gi",
    ),
    (
        403,
        'pods "x" is forbidden: error looking up service account eo/nobody: '
        'serviceaccount "nobody" not found',
        "there is no service account 'nobody' in namespace 'eo'",
    ),
    (
        403,
        'pods "x" is forbidden: no PriorityClass with name vip was found',
        "there is no PriorityClass 'vip'",
    ),
    (
        403,
        'pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods" in API group '
        '"" in the namespace "eo"',
        "system:serviceaccount:a:b may not create pods in namespace 'eo'; bind it there to the Role",
    ),
    (
        403,
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
        'refuses the pod by its Pod Security Standard ("restricted:latest": runAsNonRoot != true)',
    ),
    (
        403,
        'pods "x" is forbidden: maximum memory usage per Container is 4Gi, but limit is 16Gi',
        "a LimitRange of namespace 'eo' refuses the pod: maximum memory usage per Container is 4Gi",
    ),
    (404, 'namespaces "eo" not found', "there is no namespace 'eo' in the cluster"),
    (422, 'Pod "x" is invalid: spec.containers[0].image', "the cluster finds the pod invalid"),
]


@pytest.mark.parametrize(("status", "message", "said"), REFUSALS)
def test_a_refusal_that_stays(status: int, message: str, said: str) -> None:
    diagnosis = explain_refusal(status, message, "eo")
    assert diagnosis is not None
    assert diagnosis.is_final
    assert said in diagnosis.reason


def test_a_used_up_quota_is_no_failure() -> None:
    message = (
        'pods "x" is forbidden: exceeded quota: orthostat, requested: pods=1, used: pods=50, limited: pods=50'
    )
    assert explain_refusal(403, message, "eo") is None


@pytest.mark.parametrize("status", [401, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    diagnosis = explain_refusal(status, "something", "eo")
    assert diagnosis is not None
    assert not diagnosis.is_final


@pytest.mark.parametrize(
    ("pod", "events", "said"),
    [
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "registry/predict:1"'),
            [{"reason": "Failed", "message": 'Failed to pull image "registry/predict:1": not found'}],
            'cannot be pulled: Failed to pull image "registry/predict:1": not found',
        ),
        (waiting("InvalidImageName", "couldn't parse"), [], "cannot be pulled (InvalidImageName"),
        (
            waiting("CreateContainerConfigError", 'secret "orthostat-s3" not found'),
            [],
            "there is no secret 'orthostat-s3' in namespace 'eo'; make it",
        ),
    ],
)
def test_a_pod_that_cannot_start(pod: dict[str, Any], events: list[Any], said: str) -> None:
    diagnosis = explain_wait(pod, events, [], 61)
    assert diagnosis is not None
    assert diagnosis.is_final
    assert said in diagnosis.reason
    if find_situation(pod) != "InvalidImageName":
        assert explain_wait(pod, events, [], 1) is None


def test_a_registry_that_is_away_is_waited_for_and_then_tried_again() -> None:
    pod = waiting("ErrImagePull", "dial tcp 10.0.0.1:443: i/o timeout")
    assert explain_wait(pod, [], [], 61) is None
    diagnosis = explain_wait(pod, [], [], 121)
    assert diagnosis is not None
    assert not diagnosis.is_final


NO_LABEL = make_node(metadata={"labels": {}})
OTHER_TAINT = make_node(spec={"taints": [{"key": "team", "value": "b", "effect": "NoSchedule"}]})
NO_GPU = make_node(status={"allocatable": {"cpu": "8", "memory": "32Gi"}})
SMALL = make_node(status={"allocatable": {"cpu": "8", "memory": "8Gi", "nvidia.com/gpu": "1"}})
STARTING = make_node(spec={"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]})


@pytest.mark.parametrize("node", [OTHER_TAINT, NO_GPU, SMALL])
def test_a_pod_that_no_node_can_take(node: dict[str, Any]) -> None:
    assert explain_wait(unschedulable(), [], [node], 61) is None  # the autoscaler has a minute to speak
    diagnosis = explain_wait(unschedulable(), [], [node], 91)
    assert diagnosis is not None
    assert not diagnosis.is_final
    assert "no node can take the pod (cpu 4, memory 16Gi, nvidia.com/gpu 1)" in diagnosis.reason
    assert "no autoscaler has answered" in diagnosis.reason


@pytest.mark.parametrize("node", [make_node(), STARTING])
def test_a_pod_that_waits_for_its_turn(node: dict[str, Any]) -> None:
    assert explain_wait(unschedulable(), [], [node], 3000) is None


def test_a_selector_that_no_node_bears() -> None:
    pod = unschedulable()
    pod["spec"]["nodeSelector"] = {"zone": "a"}
    assert explain_wait(pod, [], [make_node()], 61) is None
    assert explain_wait(pod, [], [NO_LABEL], 91) is not None


@pytest.mark.parametrize(
    ("reason", "message", "waits"),
    [
        ("TriggeredScaleUp", "pod triggered scale-up: [{pool 0->1 (max: 8)}]", True),
        ("Nominated", "Pod should schedule on: nodeclaim/gpu-7", True),
        ("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", True),
        ("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 in backoff after failed scale-up", True),
        ("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 node group is not ready for scale-up", True),
        (
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up: 2 node(s) didn't match Pod's node affinity",
            False,
        ),
    ],
)
def test_the_autoscaler_has_a_say(reason: str, message: str, waits: bool) -> None:
    for nodes in ([NO_GPU], None):
        diagnosis = explain_wait(unschedulable(), [{"reason": reason, "message": message}], nodes, 61)
        assert (diagnosis is None) == waits
        assert diagnosis is None or (message in diagnosis.reason and diagnosis.is_final)


def test_without_the_right_to_list_nodes_and_without_a_word_it_waits() -> None:
    assert explain_wait(unschedulable(), [], None, 3000) is None


def test_a_step_speaks_for_itself() -> None:
    log = "[1/2] A, 3.0 s\nerror: bundle b.zip is not the one\nwith that digest; correct 'model.sha256'\n"
    diagnosis = explain_end(ended(65, log), [], FIELD)
    assert diagnosis.reason == "bundle b.zip is not the one\nwith that digest; correct 'model.sha256'"
    assert diagnosis.is_final
    assert not explain_end(ended(1, log), [], FIELD).is_final
    assert last_error("error: one\nerror: two\n") == "two"
    assert last_error("no errors, only words of an error: of sorts") == ""


def test_memory_and_scratch_say_what_to_raise() -> None:
    memory = explain_end(ended(137, reason="OOMKilled"), [], FIELD)
    assert "its limit is 16Gi (resources.memory); raise it" in memory.reason
    scratch = make_pod(
        phase="Failed",
        reason="Evicted",
        message='Usage of EmptyDir volume "scratch" exceeds the limit "20Gi". ',
    )
    assert 'exceeds the limit "20Gi".); raise resources.scratch' in explain_end(scratch, [], FIELD).reason
    for diagnosis in (memory, explain_end(scratch, [], FIELD)):
        assert diagnosis.is_overload
        assert not diagnosis.is_final


@pytest.mark.parametrize(
    ("pod", "events", "said"),
    [
        (None, [], "the pod is gone: its node was taken away, or somebody deleted it"),
        (None, [{"reason": "Scheduled"}, {"reason": "Preempted"}], "preempted by a pod of higher priority"),
        (None, [{"reason": "TaintManagerEviction"}], "left a node that was tainted or lost"),
        (
            make_pod(
                phase="Failed",
                reason="Terminated",
                message="Pod was terminated in response to imminent node shutdown.",
            ),
            [],
            "on a node that was shut down, as spot nodes are",
        ),
        (
            make_pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            [],
            "evicted",
        ),
        (
            ended(
                143,
                conditions=[{"type": "DisruptionTarget", "message": "preempting", "reason": "Preemption"}],
            ),
            [],
            "the pod was disrupted (preempting)",
        ),
        (ended(137), [], "ended with exit code 137 and no message"),
    ],
)
def test_what_another_pod_can_go_on_from(pod: Any, events: list[Any], said: str) -> None:
    diagnosis = explain_end(pod, events, FIELD)
    assert said in diagnosis.reason
    assert "goes on" in diagnosis.reason
    assert not diagnosis.is_final
    assert not diagnosis.is_overload


def test_an_image_of_somebody_else() -> None:
    message = 'exec: "orthostat": executable file not found in $PATH'
    diagnosis = explain_end(ended(128, message, reason="StartError"), [], FIELD)
    assert diagnosis.is_final
    assert "registry/predict:1 holds no command `orthostat`" in diagnosis.reason


@pytest.mark.parametrize(
    "error",
    [
        "dial tcp: network is unreachable",
        "500 Internal Server Error",
        "no space left on device",
        "context canceled",
    ],
)
def test_a_pull_that_may_succeed_later_is_never_final(error: str) -> None:
    diagnosis = explain_wait(waiting("ErrImagePull", error), [], [], 600)
    assert diagnosis is not None
    assert not diagnosis.is_final


def test_volumes_and_networks_that_are_not_made_are_told() -> None:
    pod = waiting("ContainerCreating", "")
    pod["spec"]["nodeName"] = "a"
    events = [{"reason": "FailedCreatePodSandBox", "message": "no more addresses"}]
    assert explain_wait(pod, events, [], 60) is None
    diagnosis = explain_wait(pod, events, [], 91)
    assert diagnosis is not None
    assert "no more addresses" in diagnosis.reason
    assert explain_wait(pod, [], [], 600) is None


def test_wrong_usage_in_a_pod_is_final() -> None:
    said = (
        "usage: orthostat step compose\northostat step compose: error: unrecognized arguments: --overloads\n"
    )
    diagnosis = explain_end(ended(2, said), [], FIELD)
    assert diagnosis.reason == "unrecognized arguments: --overloads"
    assert diagnosis.is_final
