"""Work that got into a real cluster past the webhooks: charged and told within a minute, whatever its kind."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.cluster.admitting import REGISTRATION
from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.operating import Operating, events, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, deployment, job, pod_spec, work
from tests.cluster.test_queue import limited

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.usefixtures("crds")]

WITHIN_S = 60
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operating]:
    """Operator and API, and no webhook."""
    with (
        joined(control_plane, api, "unadmitted-0", 8, {"nvidia.com/gpu.product": A100}),
        operating(control_plane, api, tools, tmp_path_factory.mktemp("unadmitted")) as made,
    ):
        webhooks = [each for each in made.gate.webhooks if each["kind"].endswith("WebhookConfiguration")]
        assert {each["apiVersion"] for each in webhooks} == {REGISTRATION}
        for each in webhooks:
            api.delete(each)
        yield made
        for each in webhooks:
            api.apply(each)


def bare(namespace: str) -> Object:
    """A pod that no webhook sees."""
    return work("Pod", namespace, pod_spec(), "bare")


def disowned(namespace: str) -> Object:
    """A pod that says it belongs to a cluster of Ray, where there is no Ray."""
    made = bare(namespace)
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "boss", "uid": NOBODY, "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    return made


def slices(namespace: str) -> Object:
    """A pod of slices whose profile nobody knows."""
    limits = {"nvidia.com/mig-odd": 1}
    container = {"name": "main", "image": "train", "resources": {"limits": limits}}
    return work("Pod", namespace, {"containers": [container]}, "slices")


@pytest.mark.parametrize(
    "made",
    [bare, job, lambda namespace: deployment(namespace, 1), disowned],
    ids=["pod", "job", "deployment", "child of nobody"],
)
def test_what_nobody_admitted_is_charged_and_told(api: Api, world: Operating, namespace: str, made: object) -> None:
    limited(api, namespace, "0.1")
    eventually(lambda: "deny" in str(api.read(space(namespace))["metadata"]["labels"]), saying="the budget binds it")
    time.sleep(4)  # a list of each kind is taken at least every three seconds here
    source = api.create(made(namespace))  # type: ignore[operator]
    begun = time.monotonic()
    eventually(lambda: "UnadmittedUsage" in events(api, source), within_s=WITHIN_S, saying="its owner is told")
    assert time.monotonic() - begun < WITHIN_S
    assert [hold["origin"] for hold in world.holds(source)] == ["adopted"]
    balance = world.gate.client.get(f"/v1/budgets/{namespace}/balance")["energy"]
    assert int(balance["pending"]) == BOARD_HOUR_MJ
    assert int(balance["available"]) < 0, "also beyond what was available"
    api.delete(source)


def test_what_cannot_even_be_sized_is_told(api: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0.1")
    eventually(lambda: "deny" in str(api.read(space(namespace))["metadata"]["labels"]), saying="the budget binds it")
    time.sleep(4)
    source = api.create(slices(namespace))
    eventually(lambda: "UnadmittedUsage" in events(api, source), within_s=WITHIN_S, saying="its owner is told")
    assert world.holds(source) == []
    api.delete(source)


def space(namespace: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
