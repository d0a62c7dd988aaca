"""Who used a shared GPU: percent of its time by process, and the container that each process is in.

The driver names processes by the host's ids, so this needs the host's ``/proc``.
Memory-bound work shows less use than it draws power; the flags of a window say
by what its energy was split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from joulegate.core.errors import UnavailableError
from joulegate.gpu import Device
from joulegate.gpu.sharing import SharingReader
from joulegate_operators.node.holds import DeviceHolds, Sharing

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

    def sample(self, device: Device, holds: DeviceHolds, containers: Mapping[str, tuple[str, str]]) -> Sampled | None:
        """Use by each holder's key, and by everybody else, since the last sample; None where it cannot be had.

        ``containers`` gives pod uid and name by container id. A device in the hands of
        one container needs no sample, and MIG devices have none.
        """
        if holds.sharing is Sharing.MIG or len(holds.holds) < 2 and holds.capacity == 1:  # noqa: RUF021, PLR2004
            return None
        try:
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
