"""A budget that queues, on a real API server: work comes gated, goes oldest first, and only when it fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.operating import OPERATOR, Operating, events, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, deployment, job, pod_spec, work
from tests.cluster.test_chart import bound
from tests.cluster.test_operator import budget, settled

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

LABEL = "joulegate.io/when-undecidable"


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operating]:
    editors = bound("edit", "alice")
    api.apply(editors)
    with (
        joined(control_plane, api, "queue-0", 8, {"nvidia.com/gpu.product": A100}),
        operating(control_plane, api, tools, tmp_path_factory.mktemp("operating")) as made,
    ):
        yield made
    api.delete(editors)


@pytest.fixture
def alice(api: Api) -> Api:
    return api.as_user("alice", "system:authenticated")


def limited(api: Api, namespace: str, kwh: str, **spec: Any) -> Object:
    """A budget over one namespace that is in force."""
    fields = {"scope": {"namespaces": [namespace]}, "period": {"unit": "Year"}, "limits": {"energyKwh": kwh}, **spec}
    made = api.apply(budget(namespace, **{key: value for key, value in fields.items() if value is not None}))
    settled(api, made)
    return made


def test_a_job_waits_at_its_gate_until_there_is_room(api: Api, alice: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0", enforcement="Queue")
    made = alice.create(job(namespace))
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["annotations"]["joulegate.io/gate"] == "queued"
    eventually(lambda: "WaitsForBudget" in events(api, made), saying="the owner is told")
    assert "[BudgetExhausted]" in events(api, made)["WaitsForBudget"]
    assert world.holds(made) == []
    limited(api, namespace, "1", enforcement="Queue")
    eventually(lambda: api.read(made)["spec"]["suspend"] is False, saying="the gate is lifted")
    eventually(lambda: api.read(made)["status"].get("active") == 1, saying="its pod is made")
    now = api.read(made)["metadata"]["annotations"]
    assert "joulegate.io/gate" not in now
    (hold,) = world.holds(made)
    assert (now["joulegate.io/decision"], now["joulegate.io/hold"]) == ("allow WithinBudget", hold["hold_id"])
    assert world.gate.pending(namespace) == BOARD_HOUR_MJ
    assert "LetGo" in events(api, made)


def test_a_pod_by_itself_waits_at_its_scheduling_gate(api: Api, alice: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0", enforcement="Queue")
    made = alice.create(work("Pod", namespace, pod_spec()))
    assert [gate["name"] for gate in made["spec"]["schedulingGates"]] == ["joulegate.io/budget"]
    limited(api, namespace, "1", enforcement="Queue")
    eventually(lambda: api.read(made)["status"].get("phase") == "Running", saying="the pod runs")
    assert [hold["resource"] for hold in world.holds(made)] == ["pods"]


def test_what_was_let_go_is_never_more_than_fits(api: Api, alice: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0", enforcement="Queue")
    waiting = [alice.create(job(namespace, name=f"work-{number}")) for number in range(4)]
    for made in waiting:
        eventually(lambda made=made: "WaitsForBudget" in events(api, made))  # type: ignore[misc]
    limited(api, namespace, "1", enforcement="Queue")  # two board hours of 0.4 kWh

    def going() -> list[str]:
        return [each["metadata"]["name"] for each in waiting if api.read(each)["spec"]["suspend"] is False]

    eventually(lambda: len(going()) == 2, saying="two are let go")
    assert going() == ["work-0", "work-1"], "the oldest first"
    assert world.gate.pending(namespace) == 2 * BOARD_HOUR_MJ


def test_who_takes_off_the_gate_is_decided_like_anybody(api: Api, alice: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0", enforcement="Queue")
    made = alice.create(job(namespace))
    with pytest.raises(RefusedError, match="exceeded quota"):
        alice.patch(made, {"spec": {"suspend": False}})
    assert api.read(made)["spec"]["suspend"] is True


def test_what_has_no_gate_is_refused_and_says_so(alice: Api, api: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0", enforcement="Queue")
    with pytest.raises(RefusedError, match="exceeded quota"):
        alice.create(deployment(namespace, 1))


def test_an_operator_that_dies_between_hold_and_gate_leaves_nothing_undone(
    api: Api, alice: Api, world: Operating, namespace: str
) -> None:
    world.kill()
    try:
        source = budget(namespace, scope={"namespaces": [namespace]}, period={"unit": "Year"}, enforcement="Queue")
        source["spec"]["limits"] = {"energyKwh": "1"}
        api.apply(source)
        world.client.put(f"/v1/budgets/{namespace}", source)
        made = alice.create(job(namespace))
        group = {"accelerators": "1", "gpu_model": A100}
        demand = {"kind": "training", "groups": [group], "declared_ns": str(3_600 * 10**9)}
        asked = {"resource": "jobs.batch", "namespace": namespace, "name": "work", "demand": demand}
        assert world.client.post(f"/v1/holds/{made['metadata']['uid']}/request", asked)["allowed"]
        assert api.read(made)["spec"]["suspend"] is True
    finally:
        world.start()
    eventually(lambda: api.read(made)["spec"]["suspend"] is False, saying="the gate is lifted")
    assert len(world.holds(made)) == 1


def labels(api: Api, namespace: str) -> dict[str, str]:
    return dict(
        api.read({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})["metadata"]["labels"]
    )


def test_the_strictest_budget_closes_a_namespace_and_opens_it_again(api: Api, world: Operating, namespace: str) -> None:
    made = limited(api, namespace, "1")
    eventually(lambda: labels(api, namespace).get(LABEL) == "deny", saying="the namespace is closed")
    limited(api, namespace, "1", whenUndecidable="Allow")
    eventually(lambda: LABEL not in labels(api, namespace), saying="the namespace is open")
    parent = limited(api, f"{namespace}-above", "5", scope=None)
    limited(api, namespace, "1", whenUndecidable="Allow", parent=parent["metadata"]["name"])
    eventually(lambda: labels(api, namespace).get(LABEL) == "deny", saying="what is above counts too")
    api.delete(made)
    eventually(lambda: LABEL not in labels(api, namespace), saying="without a budget it is open")


def test_nobody_but_the_operator_changes_the_label(api: Api, world: Operating, namespace: str) -> None:
    source = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    with pytest.raises(RefusedError, match="set by Joulegate's operator only"):
        api.patch(source, {"metadata": {"labels": {LABEL: "deny"}}})
    api.as_user(OPERATOR).patch(source, {"metadata": {"labels": {LABEL: "deny"}}})
    eventually(lambda: LABEL not in labels(api, namespace), saying="a label that no budget asks for is taken away")
