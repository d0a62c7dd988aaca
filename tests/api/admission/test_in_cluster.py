"""Decisions with a cluster to ask: trees, delegates, the right to use a budget, labels, and the time for it.

The cluster is a stand-in that answers over HTTP; a real one is asked in tests/cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from joulegate_api.store import Store
from tests.api.cluster_double import FakeCluster
from tests.api.running import Service, budget, job, review, verdict_of

ARGO = "system:serviceaccount:argo:argo"
KSERVE = "system:serviceaccount:kserve:kserve-controller-manager"
RAY = "system:serviceaccount:kuberay-operator:kuberay-operator"
REPLICAS = "system:serviceaccount:kube-system:replicaset-controller"
DEPLOYMENTS = "system:serviceaccount:kube-system:deployment-controller"
PIPELINES = "system:serviceaccount:kubeflow:ml-pipeline"
BOARD_HOUR_MJ = 400 * 3_600_000
HOUR = {"joulegate.io/expected-duration": "1h"}
A100 = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.objects["/api/v1/nodes"] = {"items": []}
    return made


@pytest.fixture
def inside(cluster: FakeCluster, store: Store, tmp_path: Path) -> Iterator[Service]:
    """The service with that cluster."""
    with cluster.serving() as address:
        made = Service(store, tmp_path, kube_api=address)
        yield made
        assert made.context.cluster is not None
        made.context.cluster.close()


def decide(service: Service, of: Mapping[str, Any], resource: str, **request: Any) -> dict[str, Any]:
    name, _, group = resource.partition(".")
    user = request.pop("user", "alice")
    more = {"resource": {"group": group, "version": "v1", "resource": name}, "userInfo": {"username": user}}
    answer = service.post("/v1/admission/validate", review(of, **{**more, **request}))
    return verdict_of(answer)


def bind(service: Service, name: str = "vision", **spec: Any) -> None:
    assert service.put(f"/v1/budgets/{name}", budget(name, **spec), by="operator").status_code in (200, 201)


def pending(service: Service, name: str = "vision") -> int:
    return int(service.get(f"/v1/budgets/{name}/balance").json()["energy"]["pending"])


def whole(version: str, kind: str, uid: str, spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    about = {"name": uid, "namespace": "vision", "uid": uid, "annotations": HOUR, **metadata}
    return {"apiVersion": version, "kind": kind, "metadata": about, "spec": dict(spec)}


def boards(count: int = 1) -> dict[str, Any]:
    container = {"name": "main", "image": "x", "resources": {"limits": {"nvidia.com/gpu": count}}}
    return {"containers": [container], "nodeSelector": A100}


def owned_by(of: Mapping[str, Any]) -> list[dict[str, Any]]:
    metadata = of["metadata"]
    line = {"apiVersion": of["apiVersion"], "kind": of["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return [{**line, "controller": True}]


def keep(cluster: FakeCluster, of: Mapping[str, Any], plural: str) -> None:
    version = of["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    cluster.objects[f"{root}/namespaces/vision/{plural}/{of['metadata']['name']}"] = of


def flow(uid: str = "flow", steps: int = 2) -> dict[str, Any]:
    """A Workflow with so many steps of one board each."""
    names = [f"step-{number}" for number in range(steps)]
    templates: list[dict[str, Any]] = [
        {"name": name, "nodeSelector": A100, "container": boards()["containers"][0]} for name in names
    ]
    templates.append({"name": "all", "dag": {"tasks": [{"name": name, "template": name} for name in names]}})
    return whole("argoproj.io/v1alpha1", "Workflow", uid, {"entrypoint": "all", "templates": templates})


def step_pod(uid: str, of: Mapping[str, Any], gpus: int = 1) -> dict[str, Any]:
    return whole("v1", "Pod", uid, boards(gpus), ownerReferences=owned_by(of))


def test_steps_of_a_workflow_pass_within_what_it_holds_and_more_is_growth(
    inside: Service, cluster: FakeCluster
) -> None:
    bind(inside, limits={"energyKwh": "1"})  # two and a half board hours
    workflow = flow()
    keep(cluster, workflow, "workflows")
    assert decide(inside, workflow, "workflows.argoproj.io")["reason"] == "WithinBudget"
    assert pending(inside) == 2 * BOARD_HOUR_MJ
    for number in (1, 2):
        made = step_pod(f"pod-{number}", workflow)
        keep(cluster, made, "pods")
        assert decide(inside, made, "pods", user=ARGO)["reason"] == "AdmittedOwner"
    assert pending(inside) == 2 * BOARD_HOUR_MJ
    third = decide(inside, step_pod("pod-3", workflow), "pods", user=ARGO)
    assert (third["allowed"], third["reason"]) == (False, "GrowthRefused")
    cluster.objects["/api/v1/namespaces/vision/pods/pod-1"]["status"] = {"phase": "Succeeded"}
    assert decide(inside, step_pod("pod-3", workflow), "pods", user=ARGO)["reason"] == "AdmittedOwner"


def test_a_step_by_somebody_who_is_no_controller_is_its_own_root(inside: Service, cluster: FakeCluster) -> None:
    bind(inside, limits={"energyKwh": "0.8"})
    workflow = flow()
    keep(cluster, workflow, "workflows")
    assert decide(inside, workflow, "workflows.argoproj.io")["allowed"]
    assert not decide(inside, step_pod("mine", workflow), "pods", user="alice")["allowed"]


def test_an_inference_service_is_the_root_of_its_deployment_its_replica_set_and_its_pods(
    inside: Service, cluster: FakeCluster
) -> None:
    bind(inside, limits={"energyKwh": "0.5"})
    model = {"modelFormat": {"name": "x"}, "runtime": "r", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    service = whole(
        "serving.kserve.io/v1beta1",
        "InferenceService",
        "isvc",
        {"predictor": {"model": model, "nodeSelector": A100, "minReplicas": 1, "maxReplicas": 1}},
    )
    cluster.objects["/apis/serving.kserve.io/v1alpha1/namespaces/vision/servingruntimes/r"] = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "r"},
        "spec": {"containers": [{"name": "kserve-container"}]},
    }
    keep(cluster, service, "inferenceservices")
    verdict = decide(inside, service, "inferenceservices.serving.kserve.io")
    assert verdict["reason"] == "WithinBudget", verdict
    held = pending(inside)
    template = {"metadata": {"annotations": HOUR}, "spec": boards()}
    spec = {"replicas": 1, "template": template}
    deployment = whole("apps/v1", "Deployment", "deployment", spec, ownerReferences=owned_by(service))
    keep(cluster, deployment, "deployments")
    replicas = whole("apps/v1", "ReplicaSet", "replicas", spec, ownerReferences=owned_by(deployment))
    keep(cluster, replicas, "replicasets")
    pod = whole("v1", "Pod", "pod", boards(), ownerReferences=owned_by(replicas))
    for made, resource, user in (
        (deployment, "deployments.apps", KSERVE),
        (replicas, "replicasets.apps", DEPLOYMENTS),
        (pod, "pods", REPLICAS),
    ):
        found = decide(inside, made, resource, user=user)
        assert (found["reason"], found["budget"]) == ("AdmittedOwner", None), (resource, found)
    assert pending(inside) == held
    more = whole("v1", "Pod", "second", boards(2), ownerReferences=owned_by(replicas))
    assert decide(inside, more, "pods", user=REPLICAS)["reason"] == "GrowthRefused"


CHOICE = {"selectable": True, "scope": {"namespaces": ["vision"]}}


def replicas(count: int) -> dict[str, Any]:
    """A ReplicaSet that nobody was asked about."""
    labels = {"app": "served"}
    template = {"metadata": {"labels": labels, "annotations": HOUR}, "spec": boards()}
    spec = {"replicas": count, "selector": {"matchLabels": labels}, "template": template}
    return whole("apps/v1", "ReplicaSet", "served", spec)


@pytest.mark.parametrize(("count", "allowed"), [(2, True), (3, False)])
def test_the_first_pod_of_what_nobody_admitted_asks_for_all_of_them(
    inside: Service, cluster: FakeCluster, count: int, allowed: bool
) -> None:
    bind(inside, limits={"energyKwh": "1"})  # two and a half board hours
    served = replicas(count)
    keep(cluster, served, "replicasets")
    told = [decide(inside, step_pod(f"pod-{number}", served), "pods", user=REPLICAS) for number in range(count)]
    assert [each["allowed"] for each in told] == [allowed] * count
    assert pending(inside) == (count * BOARD_HOUR_MJ if allowed else 0)


def test_children_that_come_at_once_are_each_held_for(inside: Service, cluster: FakeCluster) -> None:
    bind(inside, limits={"energyKwh": "1"})
    ray = whole("ray.io/v1", "RayCluster", "ray", {})
    keep(cluster, ray, "rayclusters")
    pods = [step_pod(f"pod-{number}", ray) for number in range(8)]
    for each in pods:
        keep(cluster, each, "pods")
    with ThreadPoolExecutor(len(pods)) as pool:
        told = list(pool.map(lambda each: decide(inside, each, "pods", user=RAY), pods))
    assert sum(each["allowed"] for each in told) == 2
    assert pending(inside) == 2 * BOARD_HOUR_MJ


def choosing(name: str, **spec: Any) -> dict[str, Any]:
    made = job(**spec)
    made["metadata"]["annotations"]["joulegate.io/budget"] = name
    return made


def test_a_budget_is_chosen_by_those_who_may_use_it(inside: Service, cluster: FakeCluster) -> None:
    bind(inside, "rich", **CHOICE)
    bind(inside, "usual", **CHOICE, default=True, limits={"energyKwh": "0"})
    told = decide(inside, choosing("rich"), "jobs.batch")
    assert (told["allowed"], told["budget"]) == (False, "usual"), "alice may not, so the default is taken"
    assert "rich cannot be chosen here" in told["warnings"][0]
    cluster.rights.add(("alice", "use", "budgets", "rich"))
    assert decide(inside, choosing("rich"), "jobs.batch")["budget"] == "rich"


def test_what_waits_asks_for_the_right_of_its_author_when_it_is_made(inside: Service, cluster: FakeCluster) -> None:
    bind(inside, "rich", **CHOICE, enforcement="Queue")
    gated = choosing("rich", suspend=True)
    gated["metadata"]["annotations"]["joulegate.io/gate"] = "queued"
    told = decide(inside, gated, "jobs.batch")
    assert (told["allowed"], told["reason"], told["budget"]) == (False, "NotPermitted", "rich")
    cluster.rights.add(("alice", "use", "budgets", "rich"))
    assert decide(inside, gated, "jobs.batch")["reason"] == "HeldLater"


def test_the_choice_of_a_budget_does_not_change(inside: Service, cluster: FakeCluster) -> None:
    bind(inside, "rich", **CHOICE)
    bind(inside, "other", **CHOICE, default=True)
    cluster.rights |= {("alice", "use", "budgets", name) for name in ("rich", "other")}
    for old, new in ((choosing("rich"), choosing("other")), (job(), choosing("rich")), (choosing("rich"), job())):
        told = decide(inside, new, "jobs.batch", operation="UPDATE", oldObject=old)
        assert (told["allowed"], told["reason"]) == (False, "NotPermitted")
    assert decide(inside, choosing("rich"), "jobs.batch", operation="UPDATE", oldObject=choosing("rich"))["allowed"]


def test_a_delegate_acts_for_the_account_of_the_namespace(inside: Service, cluster: FakeCluster) -> None:
    bind(inside, "rich", **CHOICE)
    bind(inside, "usual", **CHOICE, default=True)
    cluster.rights.add(("system:serviceaccount:vision:default-editor", "use", "budgets", "rich"))
    assert decide(inside, choosing("rich"), "jobs.batch", user=PIPELINES)["budget"] == "rich"
    (hold,) = inside.get("/v1/holds").json()["holds"]
    assert hold["subject"] == f"system:serviceaccount:vision:default-editor (through {PIPELINES})"


def test_labels_of_a_namespace_are_looked_up(inside: Service, cluster: FakeCluster) -> None:
    bind(inside, scope={"namespaceSelector": {"matchLabels": {"team": "vision"}}}, limits={"energyKwh": "0"})
    name = "/api/v1/namespaces/vision"
    cluster.objects[name] = {"metadata": {"name": "vision", "labels": {"team": "language"}}}
    assert decide(inside, job(), "jobs.batch")["allowed"]
    cluster.objects[name] = {"metadata": {"name": "vision", "labels": {"team": "vision"}}}
    refused = decide(inside, job(uid="other", name="other"), "jobs.batch")
    assert (refused["allowed"], refused["reason"], refused["budget"]) == (False, "BudgetExhausted", "vision")


def test_a_cluster_that_does_not_answer_in_half_a_second_leaves_it_undecidable(
    inside: Service, cluster: FakeCluster
) -> None:
    bind(inside)
    job_of_a_template = whole(
        "argoproj.io/v1alpha1", "Workflow", "late", {"workflowTemplateRef": {"name": "templates"}}
    )
    cluster.slow_s = 2.0
    began = time.monotonic()
    told = decide(inside, job_of_a_template, "workflows.argoproj.io")
    assert time.monotonic() - began < 1.5
    assert (told["allowed"], told["reason"]) == (False, "Undecidable")
    assert "cannot be looked up" in told["message"]


def test_where_an_operator_has_reported_only_its_cluster_changes_what_is_in_force(inside: Service) -> None:
    assert inside.put("/v1/budgets/vision", budget()).status_code == 201, "before that anybody who may"
    now = inside.get("/v1/budgets/vision/balance").json()["as_of"]
    body = {"begun_at": now, "complete": True, "objects": []}
    assert inside.put("/v1/inventories/local/pods", body, by="operator").status_code == 200
    for refused in (
        inside.put("/v1/budgets/vision", budget(enforcement="Audit")),
        inside.call("DELETE", "/v1/budgets/vision"),
        inside.put("/v1/sites", {}),
        inside.post("/v1/exceptions", {}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "managed_by_cluster")
    assert inside.put("/v1/budgets/vision", budget(enforcement="Warn"), by="operator").status_code == 201
