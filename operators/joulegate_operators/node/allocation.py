"""Joins what the kubelet, the cluster and NVML know: for each GPU, which containers hold how much of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import lcm
from typing import Protocol

from joulegate.gpu import Device
from joulegate.gpu.sharing import Parts
from joulegate_operators.node.device_ids import DeviceId, parse_device_id
from joulegate_operators.node.holds import DeviceHolds, Hold, Sharing, Subject
from joulegate_operators.node.pod_resources import Claimed, Container


@dataclass(frozen=True, slots=True)
class Place:
    """A GPU, or a MIG device of ``slices`` on it; ``part`` is empty for the whole."""

    uuid: str
    part: str = ""
    slices: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """The GPUs of the node and how they are cut."""

    devices: tuple[Device, ...]
    cuts: Mapping[str, Parts] = field(default_factory=dict)

    def place(self, found: DeviceId) -> Place | None:
        """Where an id points; None where there is no such device (yet)."""
        for device in self.devices:
            if found.gpu == device.uuid or (found.index is not None and found.index == device.index):
                if found.instance is None:
                    return Place(device.uuid)
                return self._part(device.uuid, instance=found.instance)
        if found.mig is not None:
            places = (self._part(uuid, mig=found.mig) for uuid in self.cuts)
            return next((place for place in places if place is not None), None)
        return None

    def _part(self, uuid: str, *, mig: str | None = None, instance: int | None = None) -> Place | None:
        for part in self.cuts[uuid].parts if uuid in self.cuts else ():
            if part.uuid == mig or (instance is not None and part.instance == instance):
                return Place(uuid, part.uuid, part.slices)
        return None

    def slices(self, uuid: str) -> int:
        """The compute slices of a GPU that is cut."""
        return self.cuts[uuid].slices if uuid in self.cuts else 7


class Pods(Protocol):
    """Who a name is."""

    def uid_of(self, namespace: str, name: str) -> str | None:
        """The uid of the pod of this name on this node; "" where it has ended, None where it is not known."""


class Claims(Protocol):
    """What claims point to (dynamic resource allocation)."""

    @property
    def missing(self) -> str | None:
        """Why it is not known yet what claims point to; None where it is."""

    def place(self, claimed: Claimed) -> Place | None:
        """The device; None where no ResourceSlice has it."""

    def only_watches(self, claimed: Claimed) -> bool:
        """Whether the claim has administrative access: it looks at a device and does not hold it."""


@dataclass(frozen=True, slots=True)
class Found:
    """The holds of every GPU about which everything is known, and what is not."""

    holds: Mapping[str, DeviceHolds]
    unknown_pods: tuple[str, ...] = ()
    unknown_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Item:
    place: Place
    subject: Subject
    claimed: bool


def holds_of(
    containers: Iterable[Container],
    allocatable: Mapping[str, tuple[str, ...]],
    layout: Layout,
    pods: Pods,
    claims: Claims,
) -> Found:
    """The holds of each GPU. One that a pod of unknown uid holds is left out: what was known of it stays in force."""
    items: defaultdict[str, list[_Item]] = defaultdict(list)
    undecided: set[str] = set()
    unknown_pods: set[str] = set()
    unknown_ids: set[str] = set()
    for container in containers:
        uid = pods.uid_of(container.namespace, container.pod)
        if uid == "":
            continue  # ended: the kubelet still lists it, and nobody holds anything any more
        for text, place, claimed in _places(container, layout, claims):
            if place is None:
                unknown_ids.add(text)
            elif uid is None:
                unknown_pods.add(f"{container.namespace}/{container.pod}")
                undecided.add(place.uuid)
            else:
                subject = Subject(uid, container.namespace, container.pod, container.name)
                items[place.uuid].append(_Item(place, subject, claimed))
    replicas = _replicas(allocatable, layout)
    holds = {
        device.uuid: _device_holds(device.uuid, items[device.uuid], replicas, layout)
        for device in layout.devices
        if device.uuid not in undecided
    }
    return Found(holds, tuple(sorted(unknown_pods)), tuple(sorted(unknown_ids)))


def has_gpu_claim(container: Container) -> bool:
    """Whether a claim of this container is for a GPU."""
    return any(_is_gpu(claimed) for claimed in container.claimed)


def _is_gpu(claimed: Claimed) -> bool:
    return "gpu" in claimed.driver


def _places(container: Container, layout: Layout, claims: Claims) -> Iterator[tuple[str, Place | None, bool]]:
    for ids in container.ids.values():
        for text in ids:
            parsed = parse_device_id(text)
            if parsed is not None:  # other plugins' devices are none of ours
                yield text, layout.place(parsed), False
    for claimed in container.claimed:
        if _is_gpu(claimed) and not claims.only_watches(claimed):
            yield f"{claimed.driver}/{claimed.pool}/{claimed.device}", claims.place(claimed), True


def _replicas(allocatable: Mapping[str, tuple[str, ...]], layout: Layout) -> Mapping[Place, int]:
    """How many replicas of each whole GPU or MIG device the kubelet hands out; places without replicas are absent."""
    counts: defaultdict[Place, int] = defaultdict(int)
    for ids in allocatable.values():
        for text in ids:
            parsed = parse_device_id(text)
            place = layout.place(parsed) if parsed is not None and parsed.replica else None
            if place is not None:
                counts[place] += 1
    return counts


def _device_holds(uuid: str, items: list[_Item], replicas: Mapping[Place, int], layout: Layout) -> DeviceHolds:
    per_place: defaultdict[Place, list[_Item]] = defaultdict(list)
    for item in items:
        per_place[item.place].append(item)
    shares = {place: _shares(place, held, replicas) for place, held in per_place.items()}
    scale = lcm(*shares.values()) if shares else 1
    cut = any(place.part for place in per_place) or (uuid in layout.cuts and bool(layout.cuts[uuid].parts))
    whole = layout.slices(uuid) if cut else 1
    holds: list[Hold] = []
    for place, held in per_place.items():
        units = (place.slices if place.part else whole) * scale // shares[place]
        holds += [Hold(item.subject, units, place.part) for item in held]
    return DeviceHolds(_sharing(items, cut, shares), whole * scale, tuple(sorted(holds)))


def _shares(place: Place, held: list[_Item], replicas: Mapping[Place, int]) -> int:
    """Into how many equal shares a GPU or MIG device is handed out."""
    if any(item.claimed for item in held):
        return len(held)
    return max(replicas.get(place, 1), len(held) if place in replicas else 1)


def _sharing(items: list[_Item], cut: bool, shares: Mapping[Place, int]) -> Sharing:  # noqa: FBT001
    if cut:
        return Sharing.MIG
    if any(item.claimed for item in items):
        return Sharing.CLAIMS
    return Sharing.REPLICAS if any(count > 1 for count in shares.values()) else Sharing.EXCLUSIVE
