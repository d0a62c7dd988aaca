"""Ways around a budget, tried by somebody who may create every workload: each is refused, and none holds anything.

The budget has room for two and a half hours of one board; every cell asks for eight at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import test_admission
from tests.cluster.admitting import REGISTRATION, Admitting, may
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.operating import events
from tests.cluster.test_admission import BOARD_HOUR_MJ, HOUR, deployment, job, pod_spec, work
from tests.cluster.test_chart import bound

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

gate, alice, closed = test_admission.gate, test_admission.alice, test_admission.closed

ACCOUNT = "system:serviceaccount:kube-system:"
JSON, MERGE, STRATEGIC = (f"application/{kind}" for kind in ("json", "merge-patch+json", "strategic-merge-patch+json"))
NOBODY = "00000000-0000-4000-8000-000000000000"
Making = Callable[[str], Object]


def boards(count: object = 8, resource: str = "nvidia.com/gpu", name: str = "main", **more: Any) -> Object:
    return {"name": name, "image": "train", "resources": {"limits": {resource: count}}, **more}


def pod(*containers: Object, spec: Object | None = None, **metadata: Any) -> Making:
    def made(namespace: str) -> Object:
        whole = {"restartPolicy": "Never", "containers": list(containers) or [boards()], **(spec or {})}
        return work("Pod", namespace, whole, "bypass", **metadata)

    return made


def said(**annotations: str) -> Object:
    return {
        "annotations": {**HOUR, **{f"joulegate.io/{key}".replace("_", "-"): text for key, text in annotations.items()}}
    }


def owned(kind: str, api_version: str) -> list[Object]:
    return [{"apiVersion": api_version, "kind": kind, "name": "boss", "uid": NOBODY, "controller": True}]


def of_apps(kind: str, gpus: int = 8, **spec: Any) -> Making:
    def made(namespace: str) -> Object:
        found = deployment(namespace, 1, gpus)
        kept = {key: value for key, value in found["spec"].items() if key != "replicas"}
        more = {"serviceName": "none"} if kind == "StatefulSet" else {}
        return {**found, "kind": kind, "spec": {**kept, **more, **spec}}

    return made


CREATED: dict[str, Making] = {
    "a pod": pod(),
    "a pod without an expected duration": pod(annotations={}),
    "a pod that says it takes no time": pod(**said(expected_duration="0s")),
    "eight containers of one board": pod(*(boards(1, name=f"c{n}") for n in range(8))),
    "an init container": pod(boards(1), spec={"initContainers": [boards(name="init")]}),
    "a sidecar": pod(boards(1), spec={"initContainers": [boards(name="side", restartPolicy="Always")]}),
    "shared boards": pod(boards(8, "nvidia.com/gpu.shared")),
    "whole boards as slices": pod(boards(8, "nvidia.com/mig-7g.80gb")),
    "slices of an unknown profile": pod(boards(8, "nvidia.com/mig-odd")),
    "accelerators of somebody else": pod(boards(8, "amd.com/gpu")),
    "a claim that nobody can look up": pod(
        {"name": "main", "image": "x"},
        spec={"resourceClaims": [{"name": "gpu", "resourceClaimName": "gone"}]},
    ),
    "a pod that waits at a gate of somebody else": pod(spec={"schedulingGates": [{"name": "example.org/later"}]}),
    "a pod of a priority that evicts others": pod(spec={"priorityClassName": "system-cluster-critical"}),
    "a pod put on a node by name": pod(spec={"nodeName": "gpu-0"}),
    "a generated name": lambda namespace: {
        **job(namespace, 8),
        "metadata": {"generateName": "bypass-", "namespace": namespace, "annotations": HOUR},
    },
    "a decision of its own making": pod(**said(decision="allow", hold="a-hold")),
    "a kind of work that no budget names": pod(**said(kind="other")),
    "a model that was never seen": pod(**said(model="free")),
    "a budget that does not exist": pod(**said(budget="plenty")),
    "a pod that says a Job owns it": pod(ownerReferences=owned("Job", "batch/v1")),
    "a pod that says a CronJob owns it": pod(ownerReferences=owned("CronJob", "batch/v1")),
    "a Job": lambda namespace: job(namespace, 8),
    "a Job of eight pods": lambda namespace: job(namespace, 1, parallelism=8, completions=8),
    "a Job made from a CronJob by hand": lambda namespace: {
        **job(namespace, 8),
        "metadata": {
            **job(namespace, 8)["metadata"],
            "annotations": {**HOUR, "cronjob.kubernetes.io/instantiate": "manual"},
            "ownerReferences": owned("CronJob", "batch/v1"),
        },
    },
    "a Job that says Kueue manages it": lambda namespace: {
        **job(namespace, 8),
        "metadata": {**job(namespace, 8)["metadata"], "labels": {"kueue.x-k8s.io/queue-name": "q"}},
    },
    "a Deployment": lambda namespace: deployment(namespace, 8),
    "a ReplicaSet": of_apps("ReplicaSet", 1, replicas=8),
    "a StatefulSet": of_apps("StatefulSet", 1, replicas=8),
    "a DaemonSet": of_apps("DaemonSet", 8),
}


def create(person: Api, source: Object) -> Object:
    """Create, once the namespace has the account that pods run under."""

    def tried() -> Object:
        try:
            return person.create(source)
        except RefusedError as refused:
            if "serviceaccount" in str(refused):
                return {}
            raise

    return eventually(tried)


@pytest.mark.parametrize("way", CREATED)
def test_what_is_created_is_refused(alice: Api, gate: Admitting, closed: str, way: str) -> None:
    with pytest.raises(RefusedError, match="exceeded quota") as refused:
        create(alice, CREATED[way](closed))
    assert refused.value.status == 429
    assert gate.pending(closed) == 0


@pytest.mark.parametrize(
    ("controller", "owner"),
    [
        ("job-controller", ("Job", "batch/v1")),
        ("replicaset-controller", ("ReplicaSet", "apps/v1")),
        ("cronjob-controller", ("CronJob", "batch/v1")),
    ],
)
def test_what_a_controller_makes_for_an_owner_that_was_never_admitted_is_refused(
    api: Api, gate: Admitting, closed: str, controller: str, owner: tuple[str, str]
) -> None:
    person = api.as_user(ACCOUNT + controller)
    made = job(closed, 8) if controller == "cronjob-controller" else pod()(closed)
    made["metadata"]["ownerReferences"] = owned(*owner)
    with pytest.raises(RefusedError, match="exceeded quota"):
        create(person, made)
    assert gate.pending(closed) == 0


def claims(namespace: str) -> list[Object]:
    """Eight boards as devices: a claim, and a template of claims."""
    request = {"name": "boards", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 8}}
    spec = {"devices": {"requests": [request]}}
    wrapped = {"ResourceClaim": spec, "ResourceClaimTemplate": {"spec": spec}}
    metadata = {"name": "boards", "namespace": namespace}
    return [
        {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": each}
        for kind, each in wrapped.items()
    ]


@pytest.mark.parametrize("by", ["resourceClaimName", "resourceClaimTemplateName"])
def test_devices_of_a_claim_are_counted_and_refused(
    api: Api, alice: Api, gate: Admitting, closed: str, by: str
) -> None:
    for each in claims(closed):
        api.create(each)
    making = pod({"name": "main", "image": "x"}, spec={"resourceClaims": [{"name": "boards", by: "boards"}]})
    with pytest.raises(RefusedError, match=r"exceeded quota: budget .*EstimateExceedsAvailable"):
        create(alice, making(closed))
    assert gate.pending(closed) == 0


def test_a_pod_that_says_an_admitted_job_owns_it_is_refused(alice: Api, gate: Admitting, closed: str) -> None:
    held = alice.create(job(closed, 1))
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": "work",
        "uid": held["metadata"]["uid"],
        "controller": True,
    }
    with pytest.raises(RefusedError, match="exceeded quota"):
        create(alice, pod(ownerReferences=[owner])(closed))
    assert gate.pending(closed) == BOARD_HOUR_MJ


def test_a_kind_that_nobody_asks_about_runs_as_many_pods_as_the_budget_carries(
    api: Api, alice: Api, gate: Admitting, closed: str
) -> None:
    """A ReplicationController is not governed, so each of its pods is a root of its own."""
    template = {
        "metadata": {"labels": {"app": "old"}, "annotations": HOUR},
        "spec": pod_spec() | {"restartPolicy": "Always"},
    }
    made = alice.create(
        {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": "old", "namespace": closed},
            "spec": {"replicas": 8, "selector": {"app": "old"}, "template": template},
        }
    )
    eventually(lambda: "FailedCreate" in events(api, made), saying="the controller is refused its third pod")
    assert "exceeded quota" in events(api, made)["FailedCreate"]
    assert len(api.all("v1", "Pod", closed)) == 2
    assert gate.pending(closed) == 2 * BOARD_HOUR_MJ
    api.delete(made)


CHANGED: dict[str, tuple[Making, Object, str]] = {
    "a Job let go": (lambda space: job(space, 8, suspend=True), {"spec": {"suspend": False}}, ""),
    "a pod let go from our gate": (
        pod(spec={"schedulingGates": [{"name": "joulegate.io/budget"}]}),
        {"spec": {"schedulingGates": []}},
        "",
    ),
    "a Job whose mark of the gate is taken away": (
        lambda space: {
            **job(space, 8, suspend=True),
            "metadata": {
                **job(space, 8)["metadata"],
                "annotations": {**HOUR, "joulegate.io/gate": "queued"},
            },
        },
        {"metadata": {"annotations": {"joulegate.io/gate": None}}, "spec": {"suspend": False}},
        "",
    ),
    "a Job of more pods": (lambda space: job(space, 1, parallelism=1, completions=8), {"spec": {"parallelism": 8}}, ""),
    "a Deployment of more pods": (lambda space: deployment(space, 1), {"spec": {"replicas": 8}}, ""),
    "a Deployment scaled": (lambda space: deployment(space, 1), {"spec": {"replicas": 8}}, "scale"),
    "a Deployment scaled from nothing": (lambda space: deployment(space, 0), {"spec": {"replicas": 8}}, "scale"),
    "a ReplicaSet scaled": (of_apps("ReplicaSet", 1, replicas=1), {"spec": {"replicas": 8}}, "scale"),
    "a StatefulSet scaled": (of_apps("StatefulSet", 1, replicas=1), {"spec": {"replicas": 8}}, "scale"),
    "a Deployment of larger pods": (
        lambda space: deployment(space, 1),
        {"spec": {"template": {"spec": pod_spec(8) | {"restartPolicy": "Always"}}}},
        "",
    ),
}


@pytest.mark.parametrize("way", CHANGED)
def test_what_grows_is_refused(alice: Api, gate: Admitting, closed: str, way: str) -> None:
    making, change, subresource = CHANGED[way]
    made = create(alice, making(closed))
    held = gate.pending(closed)
    assert held in (0, BOARD_HOUR_MJ)
    with pytest.raises(RefusedError, match="exceeded quota") as refused:
        alice.patch(made, change, subresource)
    assert refused.value.status == 429
    assert gate.pending(closed) == held


SMALL = "/api/v1/namespaces/{space}/pods/small"
IMPOSSIBLE: dict[str, tuple[str, Object]] = {
    "boards for a debugging container": (
        f"{SMALL}/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [boards(8, name="debug")]}},
    ),
    "a running pod resized": (f"{SMALL}/resize", {"spec": {"containers": [boards(8)]}}),
    "a running pod edited": (SMALL, {"spec": {"containers": [boards(8)]}}),
    "a version that is no longer served": ("/apis/extensions/v1beta1/namespaces/{space}/deployments/old", {}),
}


@pytest.mark.parametrize("way", IMPOSSIBLE)
def test_what_cannot_be_written_by_anybody(api: Api, gate: Admitting, closed: str, way: str) -> None:
    source = pod(boards(1))(closed)
    source["metadata"]["name"] = "small"
    create(api, source)
    path, body = IMPOSSIBLE[way]
    with pytest.raises(RefusedError) as refused:
        api.request("PATCH", path.format(space=closed), body, content_type=STRATEGIC)
    assert refused.value.status == (404 if "version" in way else 422), refused.value
    assert gate.pending(closed) == BOARD_HOUR_MJ


FORBIDDEN: dict[str, tuple[str, str, Object | None]] = {
    "a namespace that is left out": ("POST", "/api/v1/namespaces/kube-system/pods", pod()("kube-system")),
    "the namespace put under another's budget": (
        "PATCH",
        "/api/v1/namespaces/{space}",
        {"metadata": {"labels": {"team": "another"}}},
    ),
    "a budget of one's own": (
        "POST",
        "/apis/joulegate.io/v1alpha1/budgets",
        {"apiVersion": "joulegate.io/v1alpha1", "kind": "Budget", "metadata": {"name": "mine"}},
    ),
    "the webhook taken away": ("DELETE", f"/apis/{REGISTRATION}/validatingwebhookconfigurations/joulegate", None),
}


@pytest.mark.parametrize("way", FORBIDDEN)
def test_what_somebody_who_may_edit_the_namespace_may_not_touch(
    api: Api, gate: Admitting, closed: str, way: str
) -> None:
    rights = bound("edit", "mallory")
    rights |= {"kind": "RoleBinding", "metadata": {"name": "mallory", "namespace": closed}}
    api.create(rights)
    mallory = api.as_user("mallory", "system:authenticated")
    eventually(lambda: may(mallory, job(closed, 1)), saying="the right is known to the API server")
    mallory.create(job(closed, 1))
    method, path, body = FORBIDDEN[way]
    with pytest.raises(RefusedError) as refused:
        mallory.request(method, path.format(space=closed), body, content_type=MERGE if method == "PATCH" else JSON)
    assert (refused.value.status, refused.value.reason) == (403, "Forbidden")
    assert gate.pending(closed) == BOARD_HOUR_MJ
