"""The GPUs of a fake node: scripted boards, the kubelet that hands them out, and the truth about what each pod drew.

Every board draws in bursts of one wave and next to nothing between them: enough that its counter never stands still.
Pods begin and end between bursts only, so what a pod draws is a whole number of bursts, and an instant that is read a
second late changes the truth by a few millijoules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from joulegate.clock import boottime_ns
from tests.cluster.api import Object
from tests.nvml.fleet import Fleet, Gpu
from tests.operators.node.doubles import Kubelet

RESOURCE: Final = "nvidia.com/gpu"
MODEL: Final = "NVIDIA A100-SXM4-80GB"
WAVE_MS: Final = 6_000.0
BURST_MS: Final = 1_500.0
POWER_MW: Final = 300_000
QUIET_MW: Final = 5
_SETTLED_MS: Final = 1_300.0
"""Instants of Kubernetes are whole seconds, cut off: what ended this long after a burst is dated after it."""

_CLOSING_MS: Final = 1_500.0
"""So long before the next burst nothing begins any more: the meter has to see it first."""


def board_uuid(number: int) -> str:
    """The uuid of a board."""
    return f"GPU-{number:08d}-0000-0000-0000-00000000c1c1"


@dataclass(frozen=True, slots=True)
class Use:
    """Which boards a pod held, and from when until when (ns of CLOCK_BOOTTIME; None: still)."""

    boards: tuple[int, ...]
    begun_ns: int
    ended_ns: int | None = None


@dataclass(slots=True)
class Boards:
    """Boards that pods are given, whole, one pod each at a time."""

    fleet: Fleet
    kubelet: Kubelet = field(default_factory=Kubelet)
    uses: dict[str, Use] = field(default_factory=dict)
    names: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)

    @classmethod
    def bursting(cls, count: int) -> Boards:
        """Boards of one model that all draw in the same bursts."""
        levels = ((0.0, QUIET_MW), (0.0, POWER_MW))
        gpus = [
            Gpu(
                board_uuid(number),
                name=MODEL,
                levels=levels,
                square=(WAVE_MS, BURST_MS),
                limit_mw=400_000,
                period_ms=20.0,
                window_ms=20.0,
            )
            for number in range(count)
        ]
        made = cls(Fleet(gpus))
        made.kubelet.allocatable = {RESOURCE: [gpu.uuid for gpu in gpus]}
        return made

    @contextmanager
    def serving(self, socket: Path) -> Iterator[None]:
        """The kubelet's pod-resources API, version 1, for as long as it is needed."""
        with self.kubelet.serving(socket):
            yield

    def are_quiet(self) -> bool:
        """Whether a pod may begin or end now: between two bursts, and well away from both."""
        ms = (boottime_ns() - self.fleet.start_ns) / 1e6 % WAVE_MS
        return BURST_MS + _SETTLED_MS <= ms <= WAVE_MS - _CLOSING_MS

    def hand(self, pod: Object) -> None:
        """Give a pod the boards that its containers ask for."""
        wanted = {each["name"]: _count(each) for each in pod["spec"]["containers"] if _count(each)}
        busy = {board for use in self.uses.values() if use.ended_ns is None for board in use.boards}
        free = [number for number in range(len(self.fleet.gpus)) if number not in busy]
        metadata, given = pod["metadata"], []
        for name, count in wanted.items():
            some, free = free[:count], free[count:]
            key = (metadata["namespace"], metadata["name"], name)
            self.kubelet.held[key] = {RESOURCE: [board_uuid(number) for number in some]}
            self.names.setdefault(metadata["uid"], []).append(key)
            given += some
        self.uses[metadata["uid"]] = Use(tuple(given), boottime_ns())

    def take_back(self, uid: str) -> None:
        """Take what a pod held; nothing where it holds nothing any more."""
        use = self.uses.get(uid)
        if use is None or use.ended_ns is not None:
            return
        for key in self.names.pop(uid, []):
            del self.kubelet.held[key]
        self.uses[uid] = Use(use.boards, use.begun_ns, boottime_ns())

    def true_mj(self, uid: str) -> int:
        """What a pod really drew on all its boards until it ended."""
        use = self.uses[uid]
        assert use.ended_ns is not None, f"{uid} still runs"
        return round(sum(self.fleet.true_mj(board, use.begun_ns, use.ended_ns) for board in use.boards))


def _count(container: Object) -> int:
    return int(container.get("resources", {}).get("limits", {}).get(RESOURCE, 0))
