"""Energy of the host: the processor's own counters where they may be read, else a power meter, else a declared power.

It is another boundary than the accelerator's and is never added to it. In order:

* RAPL through perf events, or through powercap. Domains overlap (a package holds
  its cores, psys holds the packages, intel-rapl-mmio shows the same package once
  more), so only packages and, beside them, DRAM are added. Since CVE-2020-8694 only
  root, or CAP_PERFMON for perf, may read them.
* ACPI power meters of Grace processors: power only, so it is integrated.
* A power that somebody declared, times time. Never a default.

Not allowed is not measured, which is not zero. Sources: Linux kernel documentation,
"Power Capping Framework", "Kernel driver acpi_power_meter", perf_event_open(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol

from joulegate.clock import boottime_ns
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.core.metering import Method
from joulegate.core.units import NS_PER_SECOND, divide_half_even

SYS: Final = Path("/sys")

LONGEST_INTERVAL_NS: Final = 60 * NS_PER_SECOND
"""Read at least this often: a 400 W socket's counter begins again after about 164 s, and two turns cannot be seen."""

_LARGEST_MW: Final = 100_000_000
"""A declared power beyond 100 kW is a mistake of unit."""

_POWER_INTERVAL_NS: Final = NS_PER_SECOND
"""A power that is integrated is read this often; ACPI meters average over a second or so."""


@dataclass(frozen=True, slots=True)
class HostEnergy:
    """Energy of the host since the reader was made; None and the reason where it is not measured."""

    energy_mj: int | None
    method: Method
    reason: str = ""


class HostReader(Protocol):
    """Counts the host's energy from its making on; ``read`` at least every ``interval_ns``."""

    method: Method
    interval_ns: int
    what: str
    """What is counted, for people."""

    def read(self) -> int:
        """Energy in mJ since the reader was made; raises :class:`UnavailableError` where it can no longer be read."""

    def close(self) -> None:
        """Let go of what is held; may be called twice."""


def open_host(root: Path = SYS, declared_mw: int | None = None) -> HostReader | HostEnergy:
    """The best reader there is here, or "not measured" with all the reasons."""
    ways: list[Callable[[], HostReader]] = [
        lambda: PerfReader(root / "bus" / "event_source" / "devices" / "power"),
        lambda: RaplReader(root / "class" / "powercap"),
        lambda: AcpiReader(root / "class" / "hwmon"),
    ]
    if declared_mw is not None:
        ways.append(lambda: DeclaredReader(declared_mw))
    reasons = []
    for way in ways:
        try:
            return way()
        except UnavailableError as error:
            reasons.append(str(error))
    return HostEnergy(None, Method.NOT_MEASURED, "; ".join(reasons))


def declared_mw(environment: Mapping[str, str]) -> int | None:
    """The power that JOULEGATE_HOST_MW declares; raises :class:`InvalidInputError` where it is no power."""
    text = environment.get("JOULEGATE_HOST_MW")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 0 < int(text) <= _LARGEST_MW:
        raise InvalidInputError(f"{text[:30]!r} is not a power in mW, from 1 to {_LARGEST_MW:,}", "JOULEGATE_HOST_MW")
    return int(text)


# -- RAPL through powercap ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Domain:
    """One counter: what it counts, where it is, after how many microjoules it begins again."""

    name: str
    path: Path
    range_uj: int


class RaplReader:
    """Adds up packages and DRAM from powercap; ``read`` at least every :data:`LONGEST_INTERVAL_NS`."""

    method = Method.RAPL_COUNTER
    interval_ns = LONGEST_INTERVAL_NS // 2

    def __init__(self, root: Path) -> None:
        """Find the domains and read each once; raises :class:`UnavailableError` with the reason."""
        self.domains = find_domains(root)
        if not self.domains:
            raise UnavailableError(f"no RAPL counter under {root}")
        self.what = f"RAPL by powercap: {', '.join(domain.name for domain in self.domains)}"
        self._last_uj = {domain.name: _whole(domain.path) for domain in self.domains}
        self._total_uj = 0

    def read(self) -> int:
        """Energy in mJ since the reader was made; raises :class:`UnavailableError` where it can no longer be read."""
        for domain in self.domains:
            now_uj = _whole(domain.path)
            self._total_uj += (now_uj - self._last_uj[domain.name]) % domain.range_uj
            self._last_uj[domain.name] = now_uj
        return divide_half_even(self._total_uj, 1_000)

    def close(self) -> None:
        """Nothing is held."""


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


# -- RAPL through perf ------------------------------------------------------------------------------

_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}
_ATTR_SIZE: Final = 112
"""PERF_ATTR_SIZE_VER5; the kernel fills in for what a newer one has more."""

_EVENTS: Final = ("energy-pkg", "energy-ram")


class PerfReader:
    """Adds up packages and DRAM from perf events; the kernel sees to counters that begin again."""

    method = Method.RAPL_COUNTER
    interval_ns = LONGEST_INTERVAL_NS // 2

    def __init__(self, unit: Path) -> None:
        """Open one event a package; raises :class:`UnavailableError` with the reason."""
        if not unit.is_dir():
            raise UnavailableError("no perf events of power")
        kind = _whole(unit / "type")
        cpus = [int(cpu) for cpu in _text(unit / "cpumask").split(",") if cpu.strip().isdigit()]
        self._open: list[tuple[int, Fraction, int]] = []
        names = [name for name in _EVENTS if (unit / "events" / name).is_file()]
        if not names or not cpus:
            raise UnavailableError("no perf event counts the energy of a package")
        self.what = f"RAPL by perf: {', '.join(names)} of {len(cpus)} package{'s' if len(cpus) > 1 else ''}"
        try:
            for name in names:
                config, scale = _config(_text(unit / "events" / name)), _scale(unit / "events" / f"{name}.scale")
                for cpu in cpus:
                    descriptor = _perf_event_open(kind, config, cpu)
                    self._open.append((descriptor, scale, _count(descriptor)))
        except UnavailableError:
            self.close()
            raise

    def read(self) -> int:
        """Energy in mJ since the reader was made."""
        total = sum((scale * (_count(descriptor) - first) for descriptor, scale, first in self._open), Fraction(0))
        return divide_half_even(total.numerator * 1_000, total.denominator)

    def close(self) -> None:
        """Close the events."""
        while self._open:
            os.close(self._open.pop()[0])


def _perf_event_open(kind: int, config: int, cpu: int) -> int:
    """A descriptor of one event of one processor, for all processes."""
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise UnavailableError(f"perf events are not known on {platform.machine()}")
    attributes = struct.pack("=IIQ", kind, _ATTR_SIZE, config).ljust(_ATTR_SIZE, b"\0")
    library = ctypes.CDLL(None, use_errno=True)
    close_on_exec = 1 << 3
    descriptor = int(library.syscall(number, ctypes.create_string_buffer(attributes), -1, cpu, -1, close_on_exec))
    if descriptor < 0:
        raise UnavailableError(f"perf events: {os.strerror(ctypes.get_errno())}")
    return descriptor


def _count(descriptor: int) -> int:
    try:
        return int.from_bytes(os.read(descriptor, 8), "little")
    except OSError as error:
        raise UnavailableError(f"perf events: {error.strerror}") from error


def _config(text: str) -> int:
    """The number in ``event=0x02``."""
    try:
        return int(text.partition("event=")[2].split(",")[0], 0)
    except ValueError:
        raise UnavailableError(f"perf event {text[:40]!r} is not known") from None


def _scale(path: Path) -> Fraction:
    """Joules that one count is worth."""
    text = _text(path)
    try:
        scale = Fraction(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        scale = Fraction(0)
    if not 0 < scale < 1:
        raise UnavailableError(f"{path}: {text[:40]!r} is not a scale")
    return scale


# -- ACPI power meters ------------------------------------------------------------------------------


class AcpiReader:
    """Integrates the power of ACPI meters; ``read`` at least every second."""

    method = Method.ACPI_POWER_INTEGRAL
    interval_ns = _POWER_INTERVAL_NS

    def __init__(self, root: Path, clock: Callable[[], int] = boottime_ns) -> None:
        """Find the meters and read each once; raises :class:`UnavailableError` with the reason."""
        found = dict(find_meters(root))
        if not found:
            raise UnavailableError("no ACPI power meter of a processor")
        self.what = f"ACPI power meters: {', '.join(sorted(found))}"
        self._paths = tuple(found.values())
        self._clock = clock
        self._last = (clock(), self._power_uw())
        self._twice = 0

    def _power_uw(self) -> int:
        return sum(_whole(path) for path in self._paths)

    def read(self) -> int:
        """Energy in mJ since the reader was made; raises where more than ten seconds were missed."""
        now, power_uw = self._clock(), self._power_uw()
        then, power_then_uw = self._last
        if now - then > 10 * self.interval_ns:
            raise UnavailableError(f"the power meter was not read for {(now - then) // NS_PER_SECOND} s")
        self._twice += (power_uw + power_then_uw) * (now - then)
        self._last = (now, power_uw)
        return divide_half_even(self._twice, 2 * 1_000 * NS_PER_SECOND)

    def close(self) -> None:
        """Nothing is held."""


def find_meters(root: Path) -> Iterator[tuple[str, Path]]:
    """Label and file of each meter that counts a processor with its memory and nothing else.

    On Grace superchips "Module Power" holds the GPU, "Grace Power" the processor with
    its memory, and "CPU Power" and "SysIO Power" are inside that. A meter without
    such a label counts the machine, accelerators and all: another boundary.
    """
    for folder in sorted(root.glob("hwmon*")):
        if _optional(folder / "name") != "power_meter":
            continue
        label = _optional(folder / "device" / "power1_oem_info") or _optional(folder / "power1_label")
        path = next((folder / name for name in ("power1_average", "power1_input") if (folder / name).is_file()), None)
        if path is not None and label.startswith("Grace Power"):
            yield label, path


# -- declared ---------------------------------------------------------------------------------------


class DeclaredReader:
    """A power that somebody declared, times time: disclosed as such, and better than nothing only in reports."""

    method = Method.DECLARED
    interval_ns = LONGEST_INTERVAL_NS

    def __init__(self, power_mw: int, clock: Callable[[], int] = boottime_ns) -> None:
        """Begin now."""
        self.what = f"declared: {power_mw} mW"
        self._power_mw = power_mw
        self._clock = clock
        self._begun_ns = clock()

    def read(self) -> int:
        """Energy in mJ since the reader was made."""
        return divide_half_even(self._power_mw * (self._clock() - self._begun_ns), NS_PER_SECOND)

    def close(self) -> None:
        """Nothing is held."""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _optional(path: Path) -> str:
    try:
        return _text(path)
    except UnavailableError:
        return ""


def _whole(path: Path) -> int:
    text = _text(path)
    if not text.isdigit():
        raise UnavailableError(f"{path}: {text[:40]!r} is not a whole number")
    return int(text)
