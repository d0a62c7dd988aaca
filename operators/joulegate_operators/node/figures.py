"""What the node meter says of itself: the metrics of the contract, and whether it is well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from joulegate.clock import Clock
from joulegate.core.units import NS_PER_SECOND
from joulegate_operators.node.holding import Holding
from joulegate_operators.node.meter import NodeMeter
from joulegate_operators.node.sampling import Sampler
from joulegate_operators.node.shipping import Shipper, oldest_unacknowledged_s
from joulegate_operators.node.status import Sample, exposition
from joulegate_operators.node.wal import WindowLog

SILENCE_NS: Final = 60 * NS_PER_SECOND
"""A meter whose devices have all been silent for longer is not alive: a new process may find the driver again."""

_MJ: Final = 1_000


class Figures:
    """Reads what the parts know, when it is asked."""

    def __init__(
        self, meter: NodeMeter, sampler: Sampler, shipper: Shipper, holding: Holding, log: WindowLog, clock: Clock
    ) -> None:
        """Keep the parts."""
        self._meter = meter
        self._sampler = sampler
        self._shipper = shipper
        self._holding = holding
        self._log = log
        self._clock = clock

    def alive(self) -> str | None:
        """Whether samples arrive."""
        if not self._sampler.heard_ns:
            return "no device is known"
        silent_ns = self._clock.boottime_ns() - max(self._sampler.heard_ns.values())
        return f"no device has answered for {silent_ns // NS_PER_SECOND} s" if silent_ns > SILENCE_NS else None

    def ready(self) -> str | None:
        """Whether it is known who holds the devices, and the disk takes windows."""
        if self._holding.error:
            return self._holding.error
        return f"{self._meter.unwritten} windows wait for the disk" if self._meter.unwritten else None

    def text(self) -> str:
        """All metrics."""
        return exposition(self._samples())

    def _samples(self) -> Iterator[Sample]:
        for uuid, chain in list(self._meter.chains.items()):
            labels = {"gpu": uuid, "model": chain.device.model}
            yield _counter("joulegate_gpu_energy_joules_total", "Energy of a GPU.", chain.energy_mj() / _MJ, labels)
            power_mw = chain.recent[-1].power_mw if chain.recent else None
            if power_mw is not None:
                yield _gauge("joulegate_gpu_power_watts", "Power of a GPU.", power_mw / _MJ, labels)
        unattributed: defaultdict[str, int] = defaultdict(int, self._meter.unattributed_mj)
        for uuid in self._meter.chains:
            text = "Energy of a GPU that no pod can be charged with."
            yield _counter("joulegate_meter_unattributed_joules_total", text, unattributed[uuid] / _MJ, {"gpu": uuid})
        yield from self._own()

    def _own(self) -> Iterator[Sample]:
        oldest = oldest_unacknowledged_s(self._log, self._clock.now().utc)
        yield _gauge(
            "joulegate_meter_oldest_unacknowledged_seconds", "Wait of the oldest unacknowledged window.", oldest
        )
        yield _gauge("joulegate_meter_log_bytes", "Windows on the disk.", self._log.size)
        yield _counter("joulegate_meter_disk_errors_total", "Refusals of the disk.", self._meter.disk_errors)
        yield _gauge("joulegate_meter_unwritten_windows", "Windows that the disk has not taken.", self._meter.unwritten)
        yield _counter("joulegate_meter_damaged_total", "Damaged records that were set aside.", self._log.quarantined)
        yield _counter("joulegate_meter_folded_windows_total", "Windows folded into others.", self._log.folded)
        yield _counter(
            "joulegate_meter_quarantined_total", "Windows that the API set aside.", self._shipper.quarantined
        )
        yield _gauge(
            "joulegate_meter_refused_windows", "Windows that the API refuses as they are.", self._shipper.refusals.count
        )
        yield _counter(
            "joulegate_meter_refused_devices_total",
            "Devices that the API would not enrol.",
            self._shipper.refused_devices,
        )
        yield _gauge(
            "joulegate_meter_api_refuses", "1 where the last round of sending failed.", bool(self._shipper.error)
        )
        yield _counter("joulegate_meter_read_failures_total", "Readings that failed.", self._sampler.failures)
        yield _gauge(
            "joulegate_meter_unknown_pods", "Pods with devices and without a known uid.", self._holding.unknown_pods
        )
        yield _gauge(
            "joulegate_meter_unknown_devices", "Device ids that are no known device.", self._holding.unknown_ids
        )
        timeline = self._meter.timeline
        if timeline is not None:
            skew_s = timeline.skew.total_seconds()
            yield _gauge("joulegate_meter_clock_skew_seconds", "How far dates are ahead of the wall clock.", skew_s)
            yield _counter("joulegate_meter_clock_steps_total", "Steps of the wall clock.", timeline.steps)


def _counter(name: str, text: str, value: float, labels: dict[str, str] | None = None) -> Sample:
    return name, "counter", text, labels or {}, value


def _gauge(name: str, text: str, value: float, labels: dict[str, str] | None = None) -> Sample:
    return name, "gauge", text, labels or {}, value
