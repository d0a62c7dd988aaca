"""Who used a shared GPU: percent of its time by process or by MIG device, and the container that it belongs to.

The driver names processes by the host's ids, so this needs the host's ``/proc``.
Memory-bound work shows less use than it draws power; the flags of a window say
by what its energy was split.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from joulegate.core.errors import UnavailableError
from joulegate.gpu import Device
from joulegate.gpu.sharing import Parts, SharingReader
from joulegate_operators.node.holds import DeviceHolds, Sharing, Use
from joulegate_operators.node.windows import Chain

_POD: Final = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})")
_CONTAINER: Final = re.compile(r"([0-9a-f]{64})(\.scope)?$")

Sampled = tuple[dict[str, int], int]


def place_of(cgroup: str) -> tuple[str | None, str | None]:
    """Pod uid and container id in the text of ``/proc/PID/cgroup``, any version and driver; None where absent."""
    for line in cgroup.splitlines():
        path = line.rpartition(":")[2]
        pod = _POD.search(path)
        if pod:
            container = _CONTAINER.search(path)
            return pod[1].replace("_", "-"), container[1] if container else None
    return None, None


class UseSampler:
    """Samples the use of the devices that several hold."""

    def __init__(self, reader: SharingReader, proc: Path) -> None:
        """``proc`` is the host's."""
        self._reader = reader
        self._proc = proc
        self._since_us: dict[str, int] = {}

    def sample(
        self, device: Device, holds: DeviceHolds, cut: Parts | None, containers: Mapping[str, tuple[str, str]]
    ) -> Sampled | None:
        """Use by each holder's key, and by everybody else, since the last sample; None where it cannot be had.

        ``containers`` gives pod uid and name by container id.
        """
        try:
            if holds.sharing is Sharing.MIG:
                return self._of_parts(device, holds, cut)
            found = self._reader.use(device, self._since_us.get(device.uuid, 0))
        except UnavailableError:
            return None
        if found is None:
            return None
        percents, self._since_us[device.uuid] = found
        seen: dict[str, int] = {}
        others = 0
        for pid, percent in percents.items():
            key = self._key(pid, holds, containers)
            if key is None:
                others += percent
            else:
                seen[key] = seen.get(key, 0) + percent
        return seen, others

    def _of_parts(self, device: Device, holds: DeviceHolds, cut: Parts | None) -> Sampled | None:
        """Use by MIG device; None where containers share one, whose processes nobody tells apart."""
        keys: dict[str, set[str]] = {}
        for hold in holds.holds:
            keys.setdefault(hold.part, set()).add(hold.subject.key)
        if cut is None or any(len(sharing) > 1 for sharing in keys.values()):
            return None
        used = self._reader.part_use(device, cut)
        if used is None or not used.keys() >= keys.keys():
            return None
        seen: dict[str, int] = {}
        others = 0
        for part, amount in used.items():
            if part not in keys:
                others += amount
                continue
            (key,) = keys[part]
            seen[key] = seen.get(key, 0) + amount
        return seen, others

    def _key(self, pid: int, holds: DeviceHolds, containers: Mapping[str, tuple[str, str]]) -> str | None:
        try:
            text = (self._proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None  # it has ended since
        uid, container = place_of(text)
        known = containers.get(container or "")
        if known is not None and f"{known[0]}/{known[1]}" in holds.subjects:
            return f"{known[0]}/{known[1]}"
        of_pod = [key for key, subject in holds.subjects.items() if subject.pod_uid == uid]
        return of_pod[0] if len(of_pod) == 1 else None


class UseWatch:
    """One thread that samples use, since the driver may take tens of milliseconds for each question."""

    def __init__(
        self,
        sampler: UseSampler,
        chains: Mapping[str, Chain],
        known: Callable[[str], tuple[Parts | None, Mapping[str, tuple[str, str]]]],
        interval_s: float,
    ) -> None:
        """``known`` gives for a device how it is cut, and pod uid and container by container id."""
        self._sampler = sampler
        self._chains = chains
        self._known = known
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[str, Use] = {}
        self._thread = threading.Thread(target=self._run, name="joulegate use", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a question that hangs in the driver is left behind."""
        self._stop.set()
        self._thread.join(1.0)

    def take(self) -> Mapping[str, Sampled | None]:
        """What was sampled since the last call, by device; None where a sample could not be had."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        return {uuid: None if use.missed else (use.seen, use.others) for uuid, use in taken.items()}

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            for uuid, chain in list(self._chains.items()):
                holds = chain.stretches[-1].holds if chain.stretches else None
                if holds is None or holds.capacity == 1:
                    continue  # in the hands of one, or of nobody
                sample = self._sampler.sample(chain.device, holds, *self._known(uuid))
                with self._lock:
                    self._waiting.setdefault(uuid, Use.none()).add(*(sample or (None,)))
