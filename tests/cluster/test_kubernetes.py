"""The manifests on a real API server: taken as they stand, pods held to the restricted standard and the
quota, and Airflow's account held to what it needs.

Skipped where no cluster was made for tests, because a KUBECONFIG alone may be that of a cluster in use.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock, patch

import pytest
import yaml

from orthostat.cluster.leftovers import OUTPUT, RUN, remove_leftovers
from orthostat.pipelines.resources import Resources
from tests.cluster.cluster import needs_cluster
from tests.cluster.kubectl import apply, attempt, kubectl, wait_until
from tests.dags.conftest import ROOT

MANIFESTS = ROOT / "config/kubernetes"
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
pytestmark = needs_cluster


def pod_of_airflow(name: str, **changes: Any) -> dict[str, Any]:
    """The pod that a pipeline's predict step asks for, as Airflow sends it; its image is never there."""
    from kubernetes.client import ApiClient

    from orthostat_airflow.pod import pod_step

    asked = {"image": "localhost/none:1", "cpu": "100m", "memory": "64Mi", "spot": True, **changes}
    step = pod_step("predict", Resources(**asked), ["--help"])
    with patch.object(type(step), "hook", MagicMock(is_in_cluster=False, get_namespace=lambda: None)):
        pod: dict[str, Any] = ApiClient().sanitize_for_serialization(step.build_pod_request_obj(context=None))
    pod["metadata"] = {"name": name}
    return pod


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """What the test overlay makes, under names of its own."""
    name = f"orthostat-test-{uuid.uuid4().hex[:8]}"
    made = kubectl("kustomize", str(MANIFESTS / "test")).replace("orthostat-test", name)
    secret = ("create", "secret", "generic", "orthostat-s3", "--from-literal=AWS_ACCESS_KEY_ID=x")
    try:
        apply(*yaml.safe_load_all(made))
        kubectl("-n", name, *secret)
        yield name
    finally:
        kubectl("delete", "--wait=false", "--ignore-not-found", "-f", "-", given=made)


@pytest.fixture(scope="module")
def launcher(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """kubectl's arguments to act as Airflow: a token in place of our certificate."""
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    token = kubectl("-n", namespace, "create", "token", "launcher", "--duration=1h").strip()
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path_factory.mktemp("launcher") / "config"
    path.write_text(json.dumps(config))
    return [f"--kubeconfig={path}", "--namespace", namespace]


@pytest.mark.parametrize("overlay", ["base", "test", "gke", "service", "database"])
def test_the_cluster_takes_every_manifest(namespace: str, overlay: str) -> None:
    made = list(yaml.safe_load_all(kubectl("kustomize", str(MANIFESTS / overlay))))
    for entry in made:
        # A dry run makes no namespace, and what lies in one needs it.
        if entry["kind"] != "Namespace" and "namespace" in entry["metadata"]:
            entry["metadata"]["namespace"] = namespace
    answer = kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        given=yaml.safe_dump_all(made),
    )
    assert len(answer.splitlines()) == len(made)


def test_what_airflow_asks_for_is_let_in(namespace: str, launcher: list[str]) -> None:
    pod = json.dumps(pod_of_airflow("let-in"))
    kubectl(*launcher, "create", "--dry-run=server", "-f", "-", given=pod)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation != false"),
        ({"capabilities": {}}, "unrestricted capabilities"),
        ({"runAsUser": 0}, "runAsUser=0"),
    ],
)
def test_a_pod_below_the_restricted_standard_is_refused(
    namespace: str, launcher: list[str], change: dict[str, Any], reason: str
) -> None:
    pod = pod_of_airflow("unrestricted")
    pod["spec"]["containers"][0]["securityContext"] |= change
    refused = attempt(*launcher, "create", "-f", "-", given=json.dumps(pod))
    assert refused.returncode != 0
    assert "violates PodSecurity" in refused.stderr
    assert reason in refused.stderr


def test_the_quota_refuses_a_pod_that_is_too_large(namespace: str, launcher: list[str]) -> None:
    pod = json.dumps(pod_of_airflow("too-large", memory="500Gi"))
    refused = attempt(*launcher, "create", "-f", "-", given=pod)
    assert "exceeded quota: orthostat" in refused.stderr
    assert "requested: limits.memory=500Gi,requests.memory=500Gi" in refused.stderr


def test_a_pod_without_limits_gets_the_default_ones(namespace: str, launcher: list[str]) -> None:
    pod = pod_of_airflow("defaults")
    del pod["spec"]["containers"][0]["resources"]
    made = kubectl(*launcher, "create", "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(pod))
    resources = json.loads(made)["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"memory": "256Mi"}
    assert resources["requests"] == {"cpu": "50m", "memory": "64Mi"}


def test_pods_get_no_token(namespace: str, launcher: list[str]) -> None:
    pod = pod_of_airflow("no-token")
    del pod["spec"]["automountServiceAccountToken"]
    made = kubectl(*launcher, "create", "--dry-run=server", "-o", "json", "-f", "-", given=json.dumps(pod))
    assert [volume["name"] for volume in json.loads(made)["spec"]["volumes"]] == ["scratch"]


def test_the_nightly_run_goes_first_and_displaces_nothing(namespace: str) -> None:
    classes = {
        kind: json.loads(kubectl("get", "priorityclass", f"{namespace}-{kind}", "-o", "json"))
        for kind in ("nightly", "backfill")
    }
    assert classes["nightly"]["value"] > classes["backfill"]["value"] > 0
    assert {entry["preemptionPolicy"] for entry in classes.values()} == {"Never"}


def test_airflow_has_the_rights_that_it_uses_and_no_other(namespace: str, launcher: list[str]) -> None:
    asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    review = json.dumps({**asked, "spec": {"namespace": namespace}})
    asking = [*launcher, "create", "--validate=false", "-o", "json", "-f", "-"]
    answer = json.loads(kubectl(*asking, given=review))
    rights = {
        (resource, verb)
        for rule in answer["status"]["resourceRules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if not resource.startswith("selfsubject")  # what everybody may ask about himself
    }
    used = {
        "pods": ["create", "delete", "get", "list", "patch"],
        "pods/log": ["get"],
        "events": ["list"],
        "secrets": ["get"],
        "nodes": ["list"],
    }
    assert rights == {(resource, verb) for resource, verbs in used.items() for verb in verbs}


def test_each_right_works(namespace: str, launcher: list[str]) -> None:
    events = f"/api/v1/namespaces/{namespace}/events"
    pod = pod_of_airflow("rights")
    pod["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    kubectl(*launcher, "create", "-f", "-", given=json.dumps(pod))
    kubectl(*launcher, "label", "pod", "rights", "seen=true")
    assert kubectl(*launcher, "get", "pods", "-l", "seen=true", "-o", "name") == "pod/rights\n"
    logs = attempt(*launcher, "logs", "rights")
    assert "Forbidden" not in logs.stderr  # the pod never starts: there are none, but they may be asked for
    assert '"kind":"EventList"' in kubectl(*launcher, "get", "--raw", events)
    kubectl(*launcher, "get", "secret", "orthostat-s3", "-o", "name")
    assert kubectl(*launcher, "get", "nodes", "-o", "name").startswith("node/")
    kubectl(*launcher, "delete", "pod", "rights", "--wait=false", "--grace-period=0")


FORBIDDEN = [
    ("create secrets", "create secret generic mine --from-literal=a=b"),
    ("get secrets/orthostat-tokens", "get secret orthostat-tokens"),
    ("list secrets", "get secrets"),
    ("watch pods", "get --raw {pods}?watch=1&timeoutSeconds=1"),
    (
        "create pods --subresource=exec",
        "create --raw {pods}/any/exec -f /dev/null",
    ),
    ("create pods -n default", "run mine --image=localhost/none:1 -n default"),
    ("list pods -n kube-system", "get pods -n kube-system"),
    ("create serviceaccounts/token", "create token launcher"),
    ("create rolebindings", "create rolebinding mine --role=pod-launcher --serviceaccount=default:default"),
    ("patch resourcequotas", "annotate resourcequota orthostat mine=yes"),
    ("delete networkpolicies", "delete networkpolicy deny-all"),
    ("delete namespaces", "delete namespace {namespace}"),
    ("delete nodes", "delete node none"),
]


@pytest.mark.parametrize(("right", "command"), FORBIDDEN, ids=[right for right, _ in FORBIDDEN])
def test_more_is_refused(namespace: str, launcher: list[str], right: str, command: str) -> None:
    assert attempt(*launcher, "auth", "can-i", *right.split()).stdout.strip() == "no"
    pods = f"/api/v1/namespaces/{namespace}/pods"
    refused = attempt(*launcher, *command.format(namespace=namespace, pods=pods).split())
    assert refused.returncode != 0
    assert "Forbidden" in refused.stderr or "cannot " in refused.stderr, refused.stderr


def test_what_runs_that_are_over_have_left_is_removed(namespace: str, launcher: list[str]) -> None:
    from kubernetes.config import new_client_from_config

    api = new_client_from_config(config_file=launcher[0].removeprefix("--kubeconfig="))
    labels = {"app.kubernetes.io/name": "orthostat", "kubernetes_pod_operator": "True", "dag_id": "left"}
    runs = {"left": "manual__2026-11-29T10:00:00+00:00", "awaited": "backfill", "foreign": None}
    for name, run_id in runs.items():
        pod = pod_of_airflow(name, spot=False, gpu=0)
        annotations = {RUN: run_id, OUTPUT: "s3://b/out"} if run_id else {}
        pod["metadata"] |= {"labels": labels, "annotations": annotations}
        kubectl(*launcher, "create", "-f", "-", given=json.dumps(pod))

    def remove(dag_id: str, output: str) -> list[str]:
        return remove_leftovers(api, namespace, dag_id, output, lambda run_id: run_id == runs["left"])

    assert remove("left", "s3://b/of-another-airflow") == remove("other", "s3://b/out") == []
    assert remove("left", "s3://b/out") == ["left"]
    wait_until(lambda: attempt(*launcher, "get", "pod", "left").returncode != 0, 60)
    kubectl(*launcher, "get", "pod", "awaited", "foreign")
    kubectl(*launcher, "delete", "pod", "awaited", "foreign", "--grace-period=0", "--force")


def test_a_cluster_that_is_silent_stops_no_plan(namespace: str) -> None:
    from kubernetes.client import ApiClient, Configuration

    nowhere = Configuration(host="http://127.0.0.1:9")
    nowhere.retries = 0
    assert remove_leftovers(ApiClient(nowhere), namespace, "left", "s3://b/out", lambda run_id: True) == []
