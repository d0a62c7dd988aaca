"""What lives in a real cluster, as the operator reports it: holds are adopted, confirmed and ended by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import RUNS_FOR, FakeNode, joined
from tests.cluster.test_operator import World, budget, settled, world

__all__ = ["world"]

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

NAMESPACE = "workloads"


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, api: Api) -> Iterator[FakeNode]:
    """A node with eight GPUs that runs what it is given."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    with joined(control_plane, api, "workloads-node", 8, labels) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def limited(api: Api, world: World, node: FakeNode) -> None:
    """A budget that binds the namespace, before anything runs there."""
    settled(api, api.apply(budget("workloads", scope={"namespaces": [NAMESPACE]}, limits={"energyKwh": "500"})))


def job(name: str, runs_for: float | None, gpus: int = 1) -> Object:
    limits = {"nvidia.com/gpu": str(gpus)}
    template: Object = {
        "metadata": {"annotations": {} if runs_for is None else {RUNS_FOR: str(runs_for)}},
        "spec": {
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "train", "image": "none", "resources": {"limits": limits}}],
        },
    }
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": {"joulegate.io/expected-duration": "1h"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}


def holds(world: World, source: Object) -> list[dict[str, Any]]:
    return list(world.client.get(f"/v1/holds?root_uid={source['metadata']['uid']}")["holds"])


def in_state(world: World, source: Object, *states: str) -> dict[str, Any]:
    return eventually(
        lambda: next((hold for hold in holds(world, source) if hold["state"] in states), {}),
        saying=f"a hold of {source['metadata']['name']} is {' or '.join(states)}",
    )


def has_ended(world: World, source: Object) -> None:
    """Its work is over; what it did not draw waits for the node's meter, and here is none."""
    eventually(
        lambda: {hold["ended_at"] is None for hold in holds(world, source)} == {False},
        saying=f"the hold of {source['metadata']['name']} has ended",
    )


def test_a_job_that_nobody_admitted_is_adopted_with_its_pods(api: Api, world: World) -> None:
    made = api.apply(job("unseen", None, gpus=2))
    hold = in_state(world, made, "confirmed")
    assert (hold["origin"], hold["resource"], hold["name"]) == ("adopted", "jobs.batch", "unseen")
    assert [group["accelerators"] for group in hold["demand"]["groups"]] == ["2"]
    balance = world.client.get("/v1/budgets/workloads/balance")["energy"]
    assert int(balance["pending"]) > 0
    api.delete(made)
    has_ended(world, made)


def test_a_hold_that_was_decided_before_is_confirmed_by_its_object(api: Api, world: World) -> None:
    world.kill("operator")
    made = api.apply(job("decided", None))
    group = {"accelerators": "1", "gpu_model": "H100"}
    demand = {"kind": "training", "groups": [group], "declared_ns": str(3_600 * 10**9)}
    asked = {"resource": "jobs.batch", "namespace": NAMESPACE, "name": "decided", "demand": demand}
    verdict = world.client.post(f"/v1/holds/{made['metadata']['uid']}/request", asked)
    assert verdict["allowed"], verdict
    assert [hold["state"] for hold in holds(world, made)] == ["unconfirmed"]
    world.start_operator()
    assert in_state(world, made, "confirmed")["origin"] == "admitted"
    api.delete(made)
    has_ended(world, made)


def test_a_hold_without_an_object_expires_on_a_list_that_was_begun_after_it(world: World) -> None:
    group = {"accelerators": "1", "gpu_model": "H100"}
    demand = {"kind": "training", "groups": [group], "declared_ns": str(3_600 * 10**9)}
    asked = {"resource": "jobs.batch", "namespace": NAMESPACE, "name": "never", "demand": demand}
    assert world.client.post("/v1/holds/never-there/request", asked)["allowed"]
    source = {"metadata": {"uid": "never-there", "name": "never"}}
    eventually(
        lambda: [hold["state"] for hold in holds(world, source)] == ["expired"],
        within_s=120,  # a list counts that was begun half a minute after the decision
        saying="a list that is without it has expired the hold",
    )


def test_a_job_that_is_done_ends_its_hold_although_it_stays(api: Api, world: World) -> None:
    made = api.apply(job("short", 1.0))
    in_state(world, made, "confirmed", "released", "closed")
    eventually(lambda: api.read(made)["status"].get("succeeded") == 1, saying="the job is done")
    has_ended(world, made)
    assert api.exists(made)
    api.delete(made)


def test_a_deployment_is_the_root_of_its_pods(api: Api, world: World) -> None:
    template = job("x", None)["spec"]["template"]
    template["metadata"]["labels"] = {"app": "serve"}
    template["spec"]["restartPolicy"] = "Always"
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "serve"}}, "template": template}
    metadata = {"name": "serve", "namespace": NAMESPACE}
    made = api.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    assert in_state(world, made, "confirmed")["resource"] == "deployments.apps"
    eventually(lambda: api.read(made)["status"].get("readyReplicas") == 2, saying="two replicas are ready")
    roots = {hold["root_uid"] for hold in world.client.get(f"/v1/holds?namespace={NAMESPACE}&state=confirmed")["holds"]}
    assert roots == {made["metadata"]["uid"]}
    api.delete(made)
    has_ended(world, made)
