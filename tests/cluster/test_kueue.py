"""Work that Kueue manages, on a real API server with the real operator: quota first, then a hold, by Kueue's own means.

Kueue itself is imitated by its documented rules (`tests/cluster/kueue.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kueue import GATED_BY, QUEUE, VERSION, Kueue, is_true, kueue_installed
from tests.cluster.node import joined
from tests.cluster.operating import Operating, events, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, job
from tests.cluster.test_chart import bound
from tests.cluster.test_operator import conditions
from tests.cluster.test_queue import limited

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("crds")]

CHECK = "budget"


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operating]:
    editors = bound("edit", "alice")
    api.apply(editors)
    with (
        kueue_installed(api),
        joined(control_plane, api, "kueue-0", 8, {"nvidia.com/gpu.product": A100}),
        operating(control_plane, api, tools, tmp_path_factory.mktemp("kueue")) as made,
    ):
        yield made
    api.delete(editors)


@pytest.fixture
def alice(api: Api) -> Api:
    return api.as_user("alice", "system:authenticated")


@pytest.fixture
def checked(api: Api, world: Operating, namespace: str) -> Kueue:
    """A queue whose work our check is asked about."""
    check = {"apiVersion": VERSION, "kind": "AdmissionCheck", "metadata": {"name": CHECK}}
    made = api.apply(check | {"spec": {"controllerName": "joulegate.io/budget"}})
    eventually(lambda: conditions(api, made).get("Active", {}).get("status") == "True", saying="the check is active")
    return Kueue(api, namespace, (CHECK,))


def queued(namespace: str, name: str = "work", **spec: Any) -> Object:
    """A Job of a queue, as Kueue's webhook leaves it."""
    made = job(namespace, name=name, suspend=True, **spec)
    made["metadata"]["labels"] = dict(QUEUE)
    return made


def goes(api: Api, kueue: Kueue, made: Object) -> None:
    """Let Kueue work until the Job runs."""

    def runs() -> bool:
        kueue.step()
        return bool(api.read(made)["status"].get("active") == 1)

    eventually(runs, saying="the job runs")


def test_the_hold_is_taken_once_quota_is_reserved(
    api: Api, alice: Api, world: Operating, checked: Kueue, namespace: str
) -> None:
    limited(api, namespace, "1")
    made = alice.create(queued(namespace))
    assert "joulegate.io/gate" not in made["metadata"]["annotations"]
    assert GATED_BY not in made["metadata"]["annotations"]
    assert world.holds(made) == [], "nothing is held at creation"
    goes(api, checked, made)
    (hold,) = world.holds(made)
    assert (hold["resource"], hold["verdict"]["reason"]) == ("jobs.batch", "WithinBudget")
    assert world.gate.pending(namespace) == BOARD_HOUR_MJ, "the Workload holds nothing beside its job"
    assert checked.answers == ["Ready"]
    assert conditions(api, {"apiVersion": "joulegate.io/v1alpha1", "kind": "Budget", "metadata": {"name": namespace}})[
        "Enforced"
    ]


def test_what_does_not_fit_is_retried_later_and_its_quota_is_free_meanwhile(
    api: Api, alice: Api, world: Operating, checked: Kueue, namespace: str
) -> None:
    limited(api, namespace, "0.1")
    made = alice.create(queued(namespace))

    def evicted() -> bool:
        checked.step()
        return bool(checked.answers)

    eventually(evicted, saying="the check has answered")
    assert checked.answers == ["Retry"]
    workload = checked.workload(made)
    assert is_true(workload, "Evicted")
    assert not is_true(workload, "QuotaReserved")
    (entry,) = workload["status"]["admissionChecks"]
    assert (entry["state"], entry["retryCount"]) == ("Pending", 1), "no Retry while it is being evicted"
    assert "[EstimateExceedsAvailable]" in events(api, made)["WaitsForBudget"]
    assert world.holds(made) == []
    limited(api, namespace, "1")
    checked.requeue(made)
    goes(api, checked, made)
    assert checked.answers == ["Retry", "Ready"]
    assert world.gate.pending(namespace) == BOARD_HOUR_MJ


def test_while_a_budget_is_exhausted_kueue_does_not_look_at_its_work(
    api: Api, alice: Api, world: Operating, checked: Kueue, namespace: str
) -> None:
    limited(api, namespace, "0")
    made = alice.create(queued(namespace))
    assert made["metadata"]["annotations"][GATED_BY] == "joulegate.io/budget"
    checked.step()
    checked.step()
    assert not is_true(checked.workload(made), "QuotaReserved")
    limited(api, namespace, "1")
    goes(api, checked, made)
    assert GATED_BY not in api.read(made)["metadata"]["annotations"]
    assert checked.answers == ["Ready"]
    assert world.gate.pending(namespace) == BOARD_HOUR_MJ


def test_what_is_evicted_gives_back_what_it_has_not_drawn_and_is_held_for_again(
    api: Api, alice: Api, world: Operating, checked: Kueue, namespace: str
) -> None:
    limited(api, namespace, "0.5")
    made = alice.create(queued(namespace))
    goes(api, checked, made)
    with pytest.raises(RefusedError, match="exceeded quota"):
        alice.create(job(namespace, name="beside"))
    eventually(lambda: world.holds(made)[0]["state"] == "confirmed", saying="its hold is confirmed")
    checked.preempt(made)
    eventually(lambda: world.gate.pending(namespace) == 0, saying="the rest is given back")
    assert api.read(made)["spec"]["suspend"] is True, "only Kueue lets it go again"
    checked.requeue(made)
    goes(api, checked, made)
    assert world.gate.pending(namespace) == BOARD_HOUR_MJ
    assert len([hold for hold in world.holds(made) if hold["state"] in ("unconfirmed", "confirmed")]) == 1


def test_without_our_check_what_kueue_lets_go_passes_is_held_and_is_told_on_the_budget(
    api: Api, alice: Api, world: Operating, namespace: str
) -> None:
    source = limited(api, namespace, "0.1")
    made = alice.create(queued(namespace))
    goes(api, Kueue(api, namespace), made)
    (hold,) = world.holds(made)
    assert (hold["origin"], hold["verdict"]["reason"]) == ("adopted", "Adopted")
    told = eventually(lambda: conditions(api, source).get("QueueUnchecked", {}), saying="the budget says so")
    assert told["status"] == "True"
    assert "ClusterQueue gpus" in told["message"]


def test_kueue_lets_go_even_what_nobody_can_size(api: Api, alice: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "10")
    source = queued(namespace)
    source["metadata"]["annotations"] = {"joulegate.io/expected-duration": "never"}
    with pytest.raises(RefusedError, match=r"expected-duration"):
        alice.create(source)
    waiting = queued(namespace, name="unknown")
    made = alice.create(waiting)
    alice.patch(made, {"metadata": {"annotations": {"joulegate.io/expected-duration": "never"}}})
    goes(api, Kueue(api, namespace), made)
