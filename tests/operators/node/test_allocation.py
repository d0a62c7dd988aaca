"""Every form in which a GPU is handed out becomes holds; what is not known changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from joulegate.gpu import Device
from joulegate.gpu.sharing import Part, Parts
from joulegate_operators.node.allocation import Found, Layout, Place, holds_of
from joulegate_operators.node.claims import slice_of
from joulegate_operators.node.device_ids import DeviceId, parse_device_id
from joulegate_operators.node.holds import Sharing
from joulegate_operators.node.pod_resources import Claimed, Container
from joulegate_operators.node.pods import PodsByName, pod_of
from tests.operators.node.doubles import pod_object
from tests.operators.node.fleet import SENSOR

GPU, OTHER = "GPU-0000aaaa", "GPU-0000bbbb"
MIG_3, MIG_1 = "MIG-33330000", "MIG-11110000"


def device(uuid: str, index: int) -> Device:
    return Device(uuid, "NVIDIA A100", index, 400_000, SENSOR)


WHOLE = Layout((device(GPU, 0), device(OTHER, 1)))
CUT = Layout(WHOLE.devices, {GPU: Parts(7, (Part(MIG_3, 1, 3), Part(MIG_1, 5, 1)))})


@dataclass
class Claims:
    places: Mapping[str, Place] = field(default_factory=dict)
    missing: str | None = None
    watching: frozenset[str] = frozenset()

    def place(self, claimed: Claimed) -> Place | None:
        return self.places.get(claimed.device)

    def only_watches(self, claimed: Claimed) -> bool:
        return claimed.claim in self.watching


def pods(*uids: str, ended: tuple[str, ...] = ()) -> PodsByName:
    objects = [pod_object(uid, f"pod-{uid}") for uid in uids]
    objects += [pod_object(uid, f"pod-{uid}", phase="Succeeded") for uid in ended]
    return PodsByName({item["metadata"]["uid"]: pod_of(item) for item in objects})


def container(uid: str, *ids: str, resource: str = "nvidia.com/gpu", claimed: tuple[Claimed, ...] = ()) -> Container:
    return Container("vision", f"pod-{uid}", "main", {resource: ids} if ids else {}, claimed)


def found(
    *containers: Container,
    layout: Layout = WHOLE,
    allocatable: Mapping[str, tuple[str, ...]] | None = None,
    known: PodsByName | None = None,
    claims: Claims | None = None,
) -> Found:
    return holds_of(containers, allocatable or {}, layout, known or pods("a", "b", "c"), claims or Claims())


def units(result: Found, uuid: str = GPU) -> tuple[Sharing, int, dict[str, int]]:
    holds = result.holds[uuid]
    return holds.sharing, holds.capacity, {hold.subject.pod_uid: hold.units for hold in holds.holds}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPU-0000aaaa", DeviceId(gpu="GPU-0000aaaa")),
        ("GPU-0000aaaa::3", DeviceId(gpu="GPU-0000aaaa", replica="3")),
        ("MIG-33330000", DeviceId(mig="MIG-33330000")),
        ("MIG-33330000::0", DeviceId(mig="MIG-33330000", replica="0")),
        ("MIG-GPU-0000aaaa/1/0", DeviceId(gpu="GPU-0000aaaa", instance=1)),
        ("nvidia0", DeviceId(index=0)),
        ("nvidia1/gi3", DeviceId(index=1, instance=3)),
        ("nvidia0/vgpu2", DeviceId(index=0, replica="2")),
        ("nvidia0/gi3/vgpu1", DeviceId(index=0, instance=3, replica="1")),
        ("mlx5_0", None),
        ("GPU-", None),
        ("nvidia0/gi", None),
    ],
)
def test_every_form_of_an_id_is_read(text: str, expected: DeviceId | None) -> None:
    assert parse_device_id(text) == expected


def test_a_whole_gpu_is_held_by_one_container() -> None:
    result = found(container("a", GPU))
    assert units(result) == (Sharing.EXCLUSIVE, 1, {"a": 1})
    assert units(result, OTHER) == (Sharing.EXCLUSIVE, 1, {})


def test_replicas_are_units_of_all_that_the_kubelet_hands_out() -> None:
    handed = {"nvidia.com/gpu.shared": tuple(f"{GPU}::{n}" for n in range(4))}
    result = found(container("a", f"{GPU}::0", f"{GPU}::3"), container("b", f"{GPU}::1"), allocatable=handed)
    sharing, capacity, _ = units(result)
    assert (sharing, capacity) == (Sharing.REPLICAS, 4)
    assert sum(hold.units for hold in result.holds[GPU].holds if hold.subject.pod_uid == "a") == 2


def test_mig_devices_are_units_by_their_slices_single_and_mixed_alike() -> None:
    for resource in ("nvidia.com/gpu", "nvidia.com/mig-3g.20gb"):
        result = found(container("a", MIG_3, resource=resource), container("b", MIG_1), layout=CUT)
        assert units(result) == (Sharing.MIG, 7, {"a": 3, "b": 1})


def test_replicas_of_a_mig_device_share_its_slices() -> None:
    handed = {"nvidia.com/mig-3g.20gb.shared": (f"{MIG_3}::0", f"{MIG_3}::1")}
    result = found(container("a", f"{MIG_3}::0"), container("b", MIG_1), layout=CUT, allocatable=handed)
    assert units(result) == (Sharing.MIG, 14, {"a": 3, "b": 2})


def test_ids_of_gke_and_old_plugins_point_to_the_same_devices() -> None:
    assert units(found(container("a", "nvidia1")), OTHER)[2] == {"a": 1}
    assert units(found(container("a", "nvidia0/gi1"), layout=CUT))[2] == {"a": 3}
    assert units(found(container("a", f"MIG-{GPU}/5/0"), layout=CUT))[2] == {"a": 1}


def test_a_claimed_gpu_is_held_and_one_that_two_pods_share_is_shared() -> None:
    claimed = (Claimed("vision/claim", "gpu.nvidia.com", "node-1", "gpu-0"),)
    claims = Claims({"gpu-0": Place(GPU)})
    assert units(found(container("a", claimed=claimed), claims=claims)) == (Sharing.CLAIMS, 1, {"a": 1})
    both = found(container("a", claimed=claimed), container("b", claimed=claimed), claims=claims)
    assert units(both) == (Sharing.CLAIMS, 2, {"a": 1, "b": 1})


def test_a_claimed_mig_device_is_held_by_its_slices() -> None:
    claims = Claims({"gpu-0-mig-1": Place(GPU, MIG_3, 3)})
    claimed = (Claimed("vision/claim", "gpu.nvidia.com", "node-1", "gpu-0-mig-1"),)
    assert units(found(container("a", claimed=claimed), claims=claims, layout=CUT)) == (Sharing.MIG, 7, {"a": 3})


def test_a_claim_with_administrative_access_holds_nothing() -> None:
    claimed = (Claimed("vision/monitor", "gpu.nvidia.com", "node-1", "gpu-0"),)
    claims = Claims({"gpu-0": Place(GPU)}, watching=frozenset({"vision/monitor"}))
    assert units(found(container("a", claimed=claimed), claims=claims))[2] == {}


def test_what_the_kubelet_still_lists_of_a_pod_that_has_ended_is_released() -> None:
    assert units(found(container("a", GPU), known=pods(ended=("a",))))[2] == {}


def test_a_gpu_of_a_pod_that_is_not_known_yet_is_left_as_it_was() -> None:
    result = found(container("z", GPU))
    assert GPU not in result.holds
    assert OTHER in result.holds
    assert result.unknown_pods == ("vision/pod-z",)


def test_an_id_of_no_known_gpu_is_named() -> None:
    assert found(container("a", "GPU-0000cccc")).unknown_ids == ("GPU-0000cccc",)


def test_a_device_of_another_plugin_is_none_of_ours() -> None:
    result = found(container("a", "mlx5_0", resource="rdma/hca"))
    assert (result.unknown_ids, units(result)[2]) == ((), {})


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_resource_slices_of_every_version_name_gpus_and_mig_devices(version: str) -> None:
    attributes = {"uuid": {"string": GPU}, "type": {"string": "gpu"}}
    mig = {
        "gpu.nvidia.com/uuid": {"string": MIG_3},
        "type": {"string": "mig"},
        "parentUUID": {"string": GPU},
        "profile": {"string": "3g.20gb"},
    }
    rows = [("gpu-0", attributes), ("gpu-0-mig-1", mig), ("nic-0", {"type": {"string": "nic"}})]
    devices = [
        {"name": n, "basic": {"attributes": a}} if version == "v1beta1" else {"name": n, "attributes": a}
        for n, a in rows
    ]
    spec = {"driver": "gpu.nvidia.com", "pool": {"name": "node-1", "generation": 2}, "devices": devices}
    read = slice_of({"metadata": {"uid": "s"}, "spec": spec})
    assert read.places == {"gpu-0": Place(GPU), "gpu-0-mig-1": Place(GPU, MIG_3, 3)}
    assert (read.driver, read.pool, read.generation) == ("gpu.nvidia.com", "node-1", 2)
