"""Whose a sample of use is: by process, by MIG device, and nobody's where it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulegate.core.errors import UnavailableError
from joulegate.gpu import Device
from joulegate.gpu.sharing import Part, Parts
from joulegate_operators.node.holds import DeviceHolds, Hold, Sharing, Subject
from joulegate_operators.node.use import UseSampler, place_of
from tests.operators.node.fleet import SENSOR

UIDS = [f"{n}0000000-0000-4000-8000-000000000000" for n in range(4)]
SYSTEMD = UIDS[1].replace("-", "_")
GPU = Device("GPU-1", "NVIDIA H100", 0, 700_000, SENSOR)
CUT = Parts(7, (Part("MIG-3", 1, 3), Part("MIG-2", 2, 2), Part("MIG-1", 3, 1)))


@dataclass
class Driver:
    """Answers as it is told."""

    processes: Mapping[int, int] | None = None
    of_parts: Mapping[str, int] | None = None
    lost: bool = False
    asked: list[int] = field(default_factory=list)

    def parts(self, device: Device) -> Parts | None:
        assert device == GPU
        return CUT

    def use(self, device: Device, since_us: int) -> tuple[Mapping[int, int], int] | None:
        if self.lost:
            raise UnavailableError(f"{device.uuid} is not there")
        self.asked.append(since_us)
        return None if self.processes is None else (self.processes, since_us + 1_000)

    def part_use(self, device: Device, parts: Parts) -> Mapping[str, int] | None:
        assert (device, parts) == (GPU, CUT)
        return self.of_parts


def subject(number: int, container: str = "main") -> Subject:
    return Subject(UIDS[number], "vision", f"pod-{number}", container)


def on_parts(*held: tuple[int, str]) -> DeviceHolds:
    return DeviceHolds(Sharing.MIG, 7, tuple(Hold(subject(number), 1, part) for number, part in held))


def key(number: int, container: str = "main") -> str:
    return f"{UIDS[number]}/{container}"


def test_use_of_a_mig_device_is_its_holders_and_that_of_one_without_holder_nobodys() -> None:
    driver = Driver(of_parts={"MIG-3": 300, "MIG-2": 20, "MIG-1": 7})
    sampler = UseSampler(driver, Path("/nowhere"))
    assert sampler.sample(GPU, on_parts((0, "MIG-3"), (1, "MIG-1")), CUT, {}) == ({key(0): 300, key(1): 7}, 20)
    assert sampler.sample(GPU, on_parts((0, "MIG-3"), (0, "MIG-2")), CUT, {}) == ({key(0): 320}, 7)


@pytest.mark.parametrize("of_parts", [None, {"MIG-3": 300}])
def test_where_the_use_of_one_mig_device_is_not_known_that_of_none_is(of_parts: Mapping[str, int] | None) -> None:
    sampler = UseSampler(Driver(of_parts=of_parts), Path("/nowhere"))
    assert sampler.sample(GPU, on_parts((0, "MIG-3"), (1, "MIG-1")), CUT, {}) is None


def test_pods_that_share_one_mig_device_are_not_told_apart() -> None:
    sampler = UseSampler(Driver(of_parts={part.uuid: 5 for part in CUT.parts}), Path("/nowhere"))
    assert sampler.sample(GPU, on_parts((0, "MIG-3"), (1, "MIG-3")), CUT, {}) is None
    assert sampler.sample(GPU, on_parts((0, "MIG-3")), None, {}) is None


def replicas(*numbers: int) -> DeviceHolds:
    return DeviceHolds(Sharing.REPLICAS, 4, tuple(Hold(subject(number), 1) for number in numbers))


def in_cgroup(proc: Path, pid: int, number: int, container: str = "a" * 64) -> None:
    (proc / str(pid)).mkdir()
    name = UIDS[number].replace("-", "_")
    (proc / str(pid) / "cgroup").write_text(f"0::/kubepods.slice/kubepods-pod{name}.slice/cri-{container}.scope\n")


def test_use_by_process_is_that_of_its_pod_and_of_processes_of_no_pod_nobodys(tmp_path: Path) -> None:
    for pid, number in ((11, 0), (12, 0), (13, 1)):
        in_cgroup(tmp_path, pid, number)
    driver = Driver(processes={11: 30, 12: 10, 13: 20, 14: 5})
    sampler = UseSampler(driver, tmp_path)
    assert sampler.sample(GPU, replicas(0, 1), None, {}) == ({key(0): 40, key(1): 20}, 5)
    sampler.sample(GPU, replicas(0, 1), None, {})
    assert driver.asked == [0, 1_000]


def test_two_containers_of_a_pod_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    in_cgroup(tmp_path, 11, 0, "b" * 64)
    held = DeviceHolds(Sharing.REPLICAS, 2, (Hold(subject(0, "main"), 1), Hold(subject(0, "side"), 1)))
    sampler = UseSampler(Driver(processes={11: 30}), tmp_path)
    assert sampler.sample(GPU, held, None, {"b" * 64: (UIDS[0], "side")}) == ({key(0, "side"): 30}, 0)
    assert sampler.sample(GPU, held, None, {}) == ({}, 30)


@pytest.mark.parametrize("driver", [Driver(), Driver(lost=True)])
def test_a_driver_that_does_not_tell_gives_no_sample(driver: Driver) -> None:
    assert UseSampler(driver, Path("/nowhere")).sample(GPU, replicas(0, 1), None, {}) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            f"0::/kubepods.slice/kubepods-burstable-pod{SYSTEMD}.slice/cri-containerd-{'c' * 64}.scope",
            (UIDS[1], "c" * 64),
        ),
        (f"11:cpu:/x\n4:memory:/kubepods/besteffort/pod{UIDS[2]}/{'d' * 64}", (UIDS[2], "d" * 64)),
        (f"0::/kubepods/pod{'0' * 32}", ("0" * 32, None)),
        ("0::/user.slice/session-1.scope", (None, None)),
    ],
)
def test_cgroups_of_every_version_and_driver_are_read(text: str, place: tuple[str | None, str | None]) -> None:
    assert place_of(text) == place
