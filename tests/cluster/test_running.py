"""Running work on a real API server: renewed, extended, suspended where its author allows it, resumed, and told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from joulegate.client import Client
from joulegate.core.periods import cut_at_quarters, format_instant
from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.node import FakeNode, joined
from tests.cluster.operating import Operating, events, operating
from tests.cluster.programs import Clients
from tests.cluster.test_admission import A100, BOARD_HOUR_MJ, deployment, job
from tests.cluster.test_queue import limited

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.usefixtures("crds")]

NODE = "running-0"
GPU = "GPU-00000000-0000-0000-0000-000000000009"
MINUTE_MJ = 400_000 * 60


@pytest.fixture(scope="module")
def node(control_plane: ControlPlane, api: Api) -> Iterator[FakeNode]:
    with joined(control_plane, api, NODE, 8, {"nvidia.com/gpu.product": A100}) as made:
        yield made


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, api: Api, tools: Clients, node: FakeNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operating]:
    with operating(control_plane, api, tools, tmp_path_factory.mktemp("running")) as made:
        yield made


@dataclass(slots=True)
class Meter:
    """The meter of the node, by hand: windows of one device that follow each other without a gap."""

    client: Client
    until: datetime = field(default_factory=lambda: datetime.now(UTC))
    seq: int = 0
    energy_mj: int = 0

    def tell(self, pod: Object, energy_mj: int) -> None:
        """What a pod drew since the window before this one."""
        now = datetime.now(UTC)
        windows = []
        parts = list(cut_at_quarters(self.until, now))
        for start, end in parts:
            own = energy_mj if end == parts[-1][1] else 0
            windows.append(
                {
                    "window_seq": self.seq,
                    "device_uuid": GPU,
                    "start": format_instant(start),
                    "end": format_instant(end),
                    "energy_start_mj": str(self.energy_mj),
                    "energy_end_mj": str(self.energy_mj + own),
                    "active_mj": str(own),
                    "idle_mj": "0",
                    "allocated_gpu_ns": str((end - start) // timedelta(microseconds=1) * 1_000),
                    "method": "nvml_counter",
                    "boundary": "accelerator",
                    "coverage": 1.0,
                    "pod_uid": pod["metadata"]["uid"],
                    "namespace": pod["metadata"]["namespace"],
                    "pod": pod["metadata"]["name"],
                    "container": "main",
                }
            )
            self.seq, self.energy_mj = self.seq + 1, self.energy_mj + own
        self.until = now
        body = {"incarnation": f"{NODE}:log", "seq": windows[0]["window_seq"], "windows": windows}
        assert self.client.post("/v1/windows", body)["quarantined"] == []


@pytest.fixture(scope="module")
def meter(world: Operating) -> Meter:
    """Its identity, and the device enrolled."""
    asked = ["token", "add", f"node:{NODE}", "--role", "meter", "--namespace", "*", "--json"]
    command = [str(Path(sys.executable).parent / "joulegate"), *asked]
    made = subprocess.run(command, env=world.gate.environment, check=True, stdout=subprocess.PIPE)
    client = Client(world.gate.client.address, json.loads(made.stdout)["token"])
    body = {"cluster": "local", "node": NODE, "uuid": GPU, "model": "NVIDIA A100"}
    enrolled = format_instant(datetime.now(UTC).replace(microsecond=0) - timedelta(days=1))
    client.post("/v1/devices", body | {"enforced_limit_mw": "100000000", "enrolled_at": enrolled})
    return Meter(client)


def pods_of(api: Api, namespace: str) -> list[Object]:
    return [each for each in api.all("v1", "Pod", namespace) if each["status"].get("phase") == "Running"]


def test_an_admitted_object_is_told_what_was_decided(api: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "1")
    made = api.create(job(namespace))

    def told() -> dict[str, str]:
        return dict(api.read(made)["metadata"]["annotations"])

    eventually(lambda: told().get("joulegate.io/decision") == "allow WithinBudget", saying="the decision is told")
    assert told()["joulegate.io/hold"] == world.holds(made)[0]["hold_id"]


def test_open_ended_work_is_renewed_before_its_hold_ends(api: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "100", horizon="15m")
    source = deployment(namespace, 1)
    source["metadata"].pop("annotations")
    made = api.create(source)
    assert world.gate.pending(namespace) == BOARD_HOUR_MJ // 4, "it holds as far as the horizon"
    api.delete(made)
    source["metadata"] |= {"name": "hurried", "annotations": {"joulegate.io/expected-duration": "20s"}}
    made = api.create(source)
    eventually(lambda: len(world.holds(made)) >= 2, saying="it is renewed")
    rows = world.holds(made)
    assert [row["origin"] for row in rows] == ["renewed"] * (len(rows) - 1) + ["admitted"]
    assert len({row["claims"][0]["held"]["mj"] for row in rows}) == 1, "each renewal holds for as long again"
    api.delete(made)


def test_a_renewal_that_does_not_fit_is_held_and_told(api: Api, world: Operating, namespace: str) -> None:
    limited(api, namespace, "0.003")  # 27 of the 20 seconds that each hold is for
    source = deployment(namespace, 1)
    source["metadata"]["annotations"] = {"joulegate.io/expected-duration": "20s"}
    made = api.create(source)
    eventually(lambda: len(world.holds(made)) >= 2, saying="it is renewed by force")
    eventually(lambda: "BudgetExhausted" in events(api, made), saying="its owner is told")
    assert "not renewed" not in events(api, made)["BudgetExhausted"]
    assert len(pods_of(api, namespace)) == 1, "what runs is left"
    api.delete(made)


def test_most_of_a_hold_drawn_extends_it_and_without_room_it_is_suspended_and_resumed(
    api: Api, world: Operating, meter: Meter, namespace: str
) -> None:
    limited(api, namespace, "0.015", onExhausted="Suspend")  # two board minutes and a little
    source = job(namespace)
    source["metadata"]["annotations"] = {
        "joulegate.io/expected-duration": "1m",
        "joulegate.io/suspendable": "true",
    }
    made = api.create(source)
    (pod,) = eventually(lambda: pods_of(api, namespace), saying="its pod runs")
    eventually(lambda: world.holds(made)[0]["state"] == "confirmed")
    meter.tell(pod, MINUTE_MJ * 8 // 10)
    eventually(lambda: len(world.holds(made)) == 2, saying="it is extended")
    assert world.holds(made)[0]["origin"] == "extended"
    meter.tell(pod, MINUTE_MJ)
    eventually(lambda: api.read(made)["spec"]["suspend"] is True, saying="it is suspended")
    eventually(lambda: "Suspended" in events(api, made), saying="its owner is told")
    eventually(lambda: not pods_of(api, namespace), saying="its pod has ended")
    eventually(lambda: {row["ended_at"] is None for row in world.holds(made)} == {False}, saying="its hold has ended")
    meter.tell(pod, 0)  # for the time until it ended
    eventually(lambda: {row["state"] for row in world.holds(made)} <= {"released", "closed"}, saying="it is released")
    assert api.read(made)["spec"]["suspend"] is True, "without room it is not resumed"
    limited(api, namespace, "1", onExhausted="Suspend")
    eventually(lambda: api.read(made)["spec"]["suspend"] is False, saying="it is resumed")
    now = api.read(made)["metadata"]["annotations"]
    assert not {"joulegate.io/gate", "joulegate.io/suspended-at"} & now.keys()
    assert world.holds(made)[0]["state"] in ("unconfirmed", "confirmed")
