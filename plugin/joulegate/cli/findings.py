"""What ``joulegate doctor`` finds: what can be measured here, how far off it may be, and what would improve it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from joulegate.calibrations import calibrations
from joulegate.core import display
from joulegate.core.errors import JoulegateError, UnavailableError
from joulegate.core.sensors import Calibration
from joulegate.core.uncertainty import GAIN, GAIN_CALIBRATED, OFFSET_MW, Parts, edge_part, gain_part
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import Device, GpuReader, open_reader
from joulegate.gpu.selection import VISIBLE, parts_by, visible
from joulegate.host import SYS, HostEnergy, declared_mw, open_host

LENGTHS_S: Final = (5, 60)
"""Lengths of runs for which an uncertainty is given."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that can or cannot be measured or done here: why, how far off it may be, what would improve it."""

    what: str
    available: bool
    detail: str
    uncertainty: str = ""
    improve: tuple[str, ...] = ()

    def lines(self) -> Iterator[dict[str, str]]:
        """The lines of a table for people."""
        yield {"what": self.what, "here": "yes" if self.available else "no", "detail": self.detail}
        if self.uncertainty:
            yield {"what": "", "here": "", "detail": f"how far off: {self.uncertainty}"}
        for advice in self.improve:
            yield {"what": "", "here": "", "detail": f"better with: {advice}"}


def every_finding(environment: Mapping[str, str], root: Path = SYS) -> Iterator[Finding]:
    """All of them; ``root`` is where the kernel shows its devices."""
    yield from accelerators(environment)
    yield host(environment, root)
    yield _replay(environment)
    yield _api(environment)


def accelerators(environment: Mapping[str, str]) -> Iterator[Finding]:
    """One finding a board, or one that there is none."""
    try:
        reader = open_reader()
    except UnavailableError as error:
        package = "nvidia-ml-py" in str(error)
        driver = (
            "NVIDIA's driver; in a container also its runtime (docker --gpus all, or a limit on nvidia.com/gpu) "
            "and NVIDIA_DRIVER_CAPABILITIES with utility"
        )
        advice = ("pip install nvidia-ml-py",) if package else (driver,)
        yield Finding("accelerator energy", available=False, detail=f"not measured: {error}", improve=advice)
        return
    try:
        known = calibrations(environment)
    except JoulegateError as error:
        known = {}
        yield Finding("calibrations", available=False, detail=f"no board is calibrated: {error}")
    with reader:
        chosen = {device.uuid for device in visible(reader.devices(), environment, parts_by(reader))}
        for device in reader.devices():
            found = _accelerator(reader, replace(device, calibration=known.get(device.uuid)))
            hidden = device.uuid not in chosen
            yield replace(found, detail=f"{found.detail}; {VISIBLE} hides it from runs") if hidden else found


def _accelerator(reader: GpuReader, device: Device) -> Finding:
    name = f"accelerator {device.index} ({device.uuid})"
    try:
        reading = reader.read(device)
    except UnavailableError as error:
        return Finding(name, available=False, detail=f"{device.model}: {error}")
    if reading.counter_mj is None and reading.power_mw is None:
        detail = f"{device.model}: shows neither counter nor power, as many virtual GPUs do: not measured"
        return Finding(name, available=False, detail=detail, improve=("measuring on the machine that owns the board",))
    limit_mw, sensor = device.enforced_limit_mw, device.sensor
    said = [f"{device.model}: {'energy counter' if reading.counter_mj is not None else 'power only, integrated'}"]
    if limit_mw is not None:
        said.append(f"limit {limit_mw // 1000} W")
    if reading.power_mw is not None:
        said.append(f"draws {reading.power_mw // 1000} W now")
    said.append(f"sensor {sensor.name} sees {display.percent(sensor.seen)} of the time")
    said += [_FLAGS[flag] for flag in device.flags if flag in _FLAGS]
    power_mw = limit_mw or reading.power_mw
    return Finding(
        name, available=True, detail=", ".join(said), uncertainty=_doubt(device, power_mw), improve=_advice(device)
    )


_FLAGS: Final = {
    "mig": "cut by MIG: figures are of the whole board, NVML has none of a slice",
    "module_scope": "module scope: the processor beside it is inside the figure",
    "sensor_assumed": "its sensor is not known, the widest is assumed",
}


def _doubt(device: Device, power_mw: int | None) -> str:
    """The interval at 95 % of a steady load, by the length of the run."""
    made = device.calibration
    gain = f"gain {display.percent(GAIN, digits=3)} and {OFFSET_MW / 1000:.1f} W, the same however long it runs"
    if made is not None:
        gain = f"gain {display.percent(GAIN_CALIBRATED)}, calibrated by {made.by} on {made.on}"
    if not power_mw:
        return f"at 95 %: {gain}"
    widths = [
        f"{display.percent(_half_width(device, made, power_mw, seconds), digits=3)} of {seconds} s"
        for seconds in LENGTHS_S
    ]
    more = "; more where the load changes between the looks of the sensor" if device.sensor.seen < 1 else ""
    return f"at 95 % and a steady {power_mw // 1000} W: {', '.join(widths)} ({gain}){more}"


def _half_width(device: Device, made: Calibration | None, power_mw: int, seconds: int) -> float:
    """Of a steady load, as a share of its energy; edges as in :mod:`joulegate.core.metering`."""
    energy_mj = power_mw * seconds
    edges = [(power_mw, device.sensor.period_ns // 2)] * 2
    gain_mj = gain_part(energy_mj, seconds * NS_PER_SECOND, calibrated=made is not None)
    return Parts(gain_mj, 0, edge_part(*edges), 0).combined() / energy_mj


def _advice(device: Device) -> tuple[str, ...]:
    advice = []
    if device.calibration is None:
        advice.append(
            f"an external meter: read both under two loads or more, then `joulegate calibrate READINGS.csv METER.csv "
            f"--uuid {device.uuid} --by NAME` (to {display.percent(GAIN_CALIBRATED)})"
        )
    if device.sensor.seen < 1:
        advice.append("runs of 8 s or more: the sensor looks away in between, and short runs are wider")
    return tuple(advice)


def host(environment: Mapping[str, str], root: Path) -> Finding:
    """The host's energy, and which rights or modules are missing."""
    try:
        declared = declared_mw(environment)
        reason = ""
    except JoulegateError as error:
        declared, reason = None, f"; {error}"
    opened = open_host(root, declared)
    if isinstance(opened, HostEnergy):
        return Finding(
            "host energy", available=False, detail=f"not measured: {opened.reason}{reason}", improve=_rights(root)
        )
    opened.close()
    doubt = {
        "declared": "as far as the power that was declared; every figure says declared",
        "acpi_power_integral": "the firmware's means over a second or so; no interval is claimed",
    }.get(opened.method.value, "processors and their memory only, by the vendor's own model; no interval is claimed")
    advice = _rights(root)[:-1] if opened.method.value == "declared" else ()
    return Finding("host energy", available=True, detail=f"{opened.what}{reason}", uncertainty=doubt, improve=advice)


def _rights(root: Path) -> tuple[str, ...]:
    """What would let the host be measured, given what the kernel shows."""
    advice = []
    if any((root / "class" / "powercap").glob("intel-rapl:*")):
        advice.append(
            "rights to read RAPL: root, CAP_PERFMON for perf, or `chmod a+r` on energy_uj of each intel-rapl zone "
            "(which opens CVE-2020-8694 to every user of the machine)"
        )
    elif not (root / "class" / "powercap").is_dir():
        advice.append("on Intel and AMD the kernel modules intel_rapl_common and rapl; in a container /sys of the host")
    if not any((root / "class" / "hwmon").glob("hwmon*")):
        advice.append("on Grace the kernel module acpi_power_meter with force_cap_on=y")
    return (*advice, "a power that you know: JOULEGATE_HOST_MW=250000 (mW); figures then say declared")


def _replay(environment: Mapping[str, str]) -> Finding:
    name = environment.get("JOULEGATE_REPLAY")
    if not name:
        return Finding(
            "replay", available=False, detail="not asked for; JOULEGATE_REPLAY=a100_square plays a recording"
        )
    detail = f"{name} is played where there is no GPU; figures say `replayed`"
    return Finding("replay", available=True, detail=detail)


def _api(environment: Mapping[str, str]) -> Finding:
    from joulegate.client import Client

    try:
        client = Client.from_home(environment, timeout_s=2.0, retry_s=0.0)
        client.read("/readyz")
    except JoulegateError as error:
        return Finding("API", available=False, detail=str(error))
    return Finding("API", available=True, detail=f"answers at {client.address}")
