"""What the operator leaves behind does not depend on events, on restarts, or on how many of it ran."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import joined
from tests.cluster.operating import Operating, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, job
from tests.cluster.test_queue import labels, limited

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.usefixtures("crds")]

TOGETHER_S = 30


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operating]:
    with (
        joined(control_plane, api, "level-0", 8, {"nvidia.com/gpu.product": A100}),
        operating(control_plane, api, tools, tmp_path_factory.mktemp("level")) as made,
    ):
        yield made


def state(api: Api, world: Operating, namespace: str, *made: Object) -> dict[str, Any]:
    """Everything that the operator may have touched, without what grows by itself."""
    objects = [api.read(each) for each in made]
    balance = world.gate.client.get(f"/v1/budgets/{namespace}/balance")
    return {
        "suspended": [each["spec"].get("suspend") for each in objects],
        "annotations": [each["metadata"].get("annotations") for each in objects],
        "versions": [each["metadata"]["generation"] for each in objects],
        "holds": [[(row["part"], row["state"], row["origin"]) for row in world.holds(each)] for each in made],
        "energy": {key: balance["energy"][key] for key in ("limit", "posted", "pending", "available")},
        "labels": labels(api, namespace),
    }


def test_thirty_seconds_of_two_operators_and_sudden_ends_change_nothing_in_the_end(
    api: Api, world: Operating, namespace: str
) -> None:
    limited(api, namespace, "1", enforcement="Queue")
    waiting = [api.create(job(namespace, name=f"work-{number}")) for number in range(4)]

    def going() -> list[bool]:
        return [api.read(each)["spec"]["suspend"] is False for each in waiting]

    eventually(lambda: sum(going()) == 2, saying="two of four fit")
    eventually(
        lambda: all(
            "joulegate.io/hold" in api.read(each)["metadata"]["annotations"]
            for each, is_going in zip(waiting, going(), strict=True)
            if is_going
        ),
        saying="those that go are told",
    )
    eventually(
        lambda: sum(row["state"] == "confirmed" for each in waiting for row in world.holds(each)) == 2,
        saying="both holds are confirmed",
    )
    time.sleep(4)
    before = state(api, world, namespace, *waiting)
    assert before["energy"]["pending"] == str(2 * BOARD_HOUR_MJ)
    world.start("second")
    until = time.monotonic() + TOGETHER_S
    turn = 0
    while time.monotonic() < until:
        time.sleep(5)
        name = ("operator", "second")[turn % 2]
        world.kill(name)
        world.start(name)
        turn += 1
    world.kill("second")
    time.sleep(6)
    assert state(api, world, namespace, *waiting) == before


def test_what_happened_while_no_operator_watched_is_caught_up(api: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0.9", enforcement="Queue")
    first, second, third = (api.create(job(namespace, name=name)) for name in ("first", "second", "third"))
    eventually(lambda: not api.read(second)["spec"]["suspend"], saying="two of three fit")
    eventually(lambda: world.holds(first)[0]["state"] == "confirmed", saying="the first is known to run")
    world.kill()
    api.delete(first)
    eventually(lambda: not api.exists(first), saying="the first has gone unseen")
    fourth = api.create(job(namespace, name="fourth"))
    world.start()
    eventually(
        lambda: {row["ended_at"] is None for row in world.holds(first)} == {False},
        saying="the hold of what has gone has ended",
    )
    limited(api, namespace, "4", enforcement="Queue")
    eventually(
        lambda: not any(api.read(each)["spec"]["suspend"] for each in (third, fourth)),
        saying="those that waited go, and the one that came unseen",
    )
