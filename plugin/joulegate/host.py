"""Energy of the host: the processor's own counters (RAPL), where they may be read.

Linux shows them under powercap: ``energy_uj`` counts up to ``max_energy_range_uj``
and begins again. Domains overlap (a package holds its cores; psys holds the
packages; intel-rapl-mmio shows the same package once more), so only packages and,
beside them, DRAM are added. Since CVE-2020-8694 only root may read them by
default: not allowed is not measured, which is not zero.

Source: Linux kernel documentation, "Power Capping Framework".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joulegate.core.errors import UnavailableError
from joulegate.core.metering import Method
from joulegate.core.units import divide_half_even

POWERCAP: Final = Path("/sys/class/powercap")

LONGEST_INTERVAL_NS: Final = 60_000_000_000
"""Read at least this often: a 400 W socket's counter begins again after about 164 s, and two turns cannot be seen."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One counter: what it counts, where it is, after how many microjoules it begins again."""

    name: str
    path: Path
    range_uj: int


@dataclass(frozen=True, slots=True)
class HostEnergy:
    """Energy of the host since the reader was made; None and the reason where it is not measured."""

    energy_mj: int | None
    method: Method
    reason: str = ""


class RaplReader:
    """Adds up packages and DRAM; ``read`` at least every :data:`LONGEST_INTERVAL_NS`."""

    def __init__(self, root: Path = POWERCAP) -> None:
        """Find the domains and read each once; raises :class:`UnavailableError` with the reason."""
        self.domains = find_domains(root)
        if not self.domains:
            raise UnavailableError(f"no RAPL counter under {root}")
        self._last_uj = {domain.name: _whole(domain.path) for domain in self.domains}
        self._total_uj = 0

    def read(self) -> int:
        """Energy in mJ since the reader was made; raises :class:`UnavailableError` where it can no longer be read."""
        for domain in self.domains:
            now_uj = _whole(domain.path)
            self._total_uj += (now_uj - self._last_uj[domain.name]) % domain.range_uj
            self._last_uj[domain.name] = now_uj
        return divide_half_even(self._total_uj, 1_000)


def find_domains(root: Path) -> tuple[Domain, ...]:
    """Packages and their DRAM, each once; raises :class:`UnavailableError` where they may not be read."""
    domains: dict[str, Domain] = {}
    for zone in sorted(root.glob("intel-rapl:*")):
        name = _text(zone / "name")
        parent = _text(zone.parent / zone.name.rpartition(":")[0] / "name") if zone.name.count(":") > 1 else ""
        label = f"{parent}/{name}" if parent else name
        if label.startswith("package") and (not parent or name == "dram") and label not in domains:
            domains[label] = Domain(label, zone / "energy_uj", _whole(zone / "max_energy_range_uj") + 1)
    return tuple(domains.values())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror}") from error


def _whole(path: Path) -> int:
    text = _text(path)
    if not text.isdigit():
        raise UnavailableError(f"{path}: {text[:40]!r} is not a whole number")
    return int(text)


def open_host(root: Path = POWERCAP) -> RaplReader | HostEnergy:
    """The reader, or "not measured" with the reason."""
    try:
        return RaplReader(root)
    except UnavailableError as error:
        return HostEnergy(None, Method.NOT_MEASURED, str(error))
