"""The meter: owns the clock and the sampling threads, and answers for any window.

One thread a device reads on a fixed grid of CLOCK_BOOTTIME. A call into the
driver that hangs holds up its own device only: the time without readings is a
gap, and the thread goes on when the call returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from types import TracebackType
from typing import Final, Self

from joulegate.clock import Clock, Instant, SystemClock
from joulegate.core.curve import EnergyCurve, Instrument
from joulegate.core.metering import Measurement, measure
from joulegate.core.periods import cut_at_quarters, ns_between
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import Device, GpuReader

DEFAULT_INTERVAL_NS: Final = NS_PER_SECOND // 10
_PATIENCE_NS: Final = 2 * NS_PER_SECOND
"""How long ``start`` and ``stop`` wait for a device that does not answer."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of the run inside one UTC quarter-hour."""

    start: datetime
    end: datetime
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Cost:
    """What measuring cost: readings taken and failed, processor time of the threads, the longest reading."""

    readings: int = 0
    failures: int = 0
    cpu_ns: int = 0
    longest_ns: int = 0


class Meter:
    """Measures every device of a reader from ``start`` to ``stop``."""

    def __init__(
        self,
        reader: GpuReader,
        interval_ns: int = DEFAULT_INTERVAL_NS,
        devices: Sequence[Device] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is read before ``start``. ``devices`` None: all. The caller closes ``reader``."""
        self._clock = clock or SystemClock()
        self._reader = reader
        self._interval_ns = interval_ns
        self._stop = threading.Event()
        measured = reader.devices() if devices is None else devices
        self._channels = [_Channel(reader, device, interval_ns, self._clock, self._stop) for device in measured]
        self.started: Instant | None = None
        self.stopped: Instant | None = None

    @property
    def source(self) -> str:
        """``nvml`` or ``replayed``."""
        return self._reader.source

    @property
    def devices(self) -> tuple[Device, ...]:
        """What is measured."""
        return tuple(channel.device for channel in self._channels)

    def start(self) -> Instant:
        """Read every device once, then keep reading; the instant from which the run counts."""
        for channel in self._channels:
            channel.start()
        deadline = time.monotonic() + _PATIENCE_NS / NS_PER_SECOND
        for channel in self._channels:
            channel.first.wait(max(0.0, deadline - time.monotonic()))
        self.started = self._clock.now()
        return self.started

    def stop(self) -> Instant:
        """End the run now and read on until every device's curve reaches this instant; idempotent."""
        if self.stopped is None:
            self.stopped = self._clock.now()
            deadline = time.monotonic() + _PATIENCE_NS / NS_PER_SECOND
            for channel in self._channels:
                channel.finish(self.stopped.boottime_ns, deadline)
            self._stop.set()
            for channel in self._channels:
                channel.join(max(0.0, deadline - time.monotonic()))
        return self.stopped

    def measurement(self, device: Device, start_ns: int, end_ns: int) -> Measurement:
        """The energy of one device between two instants of CLOCK_BOOTTIME."""
        return self._channel(device).measurement(start_ns, end_ns)

    def cross_check(self, device: Device) -> tuple[Fraction, int] | None:
        """The integral of power over the counter, and the ns that both were read for; None where they were not."""
        return self._channel(device).cross_check()

    def _channel(self, device: Device) -> _Channel:
        return next(channel for channel in self._channels if channel.device.uuid == device.uuid)

    def intervals(self, device: Device, start: Instant, end: Instant) -> Iterator[Interval]:
        """The run between two instants, cut at UTC quarter-hours, as a record wants it.

        The wall clock dates the cuts, from ``start`` on; lengths are CLOCK_BOOTTIME's.
        """
        length_ns = end.boottime_ns - start.boottime_ns
        utc_end = start.utc + timedelta(microseconds=length_ns / 1_000)
        for begin, until in cut_at_quarters(start.utc, utc_end):
            first = start.boottime_ns + ns_between(start.utc, begin)
            last = end.boottime_ns if until == utc_end else start.boottime_ns + ns_between(start.utc, until)
            yield Interval(begin, until, self.measurement(device, first, last))

    def failures(self) -> dict[str, str]:
        """Why the last reading that failed did so, by the uuid of its device."""
        return {channel.device.uuid: channel.reason for channel in self._channels if channel.reason}

    def cost(self) -> Cost:
        """What measuring cost so far."""
        parts = [channel.cost for channel in self._channels]
        return Cost(
            readings=sum(part.readings for part in parts),
            failures=sum(part.failures for part in parts),
            cpu_ns=sum(part.cpu_ns for part in parts),
            longest_ns=max((part.longest_ns for part in parts), default=0),
        )

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class _Channel:
    """One device: its thread, its curve and the lock between them."""

    def __init__(
        self, reader: GpuReader, device: Device, interval_ns: int, clock: Clock, stop: threading.Event
    ) -> None:
        self.device = device
        self.first = threading.Event()
        self.cost = Cost()
        self.reason = ""
        self._reader = reader
        self._interval_ns = interval_ns
        self._clock = clock
        self._stop = stop
        self._lock = threading.Lock()
        self._reached = threading.Condition(self._lock)
        gap_ns = 3 * max(interval_ns, device.sensor.period_ns)
        self._curve = EnergyCurve(Instrument(device.sensor, device.enforced_limit_mw, device.calibration, gap_ns))
        self._thread = threading.Thread(target=self._run, name=f"joulegate {device.uuid}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the thread; one that hangs in the driver is left behind and dies with the process."""
        self._thread.join(timeout)
        with self._lock:
            self._curve.close()

    def finish(self, until_ns: int, deadline: float) -> None:
        """Wait until the curve reaches an instant."""
        with self._reached:
            while (self._curve.known_until_ns or 0) < until_ns:
                if not self._reached.wait(max(0.0, deadline - time.monotonic())):
                    return

    def measurement(self, start_ns: int, end_ns: int) -> Measurement:
        with self._lock:
            found = measure(self._curve, start_ns, end_ns, self._reader.methods)
        failed = {"readings_failed"} if self.cost.failures else set()
        return replace(found, flags=tuple(sorted({*found.flags, *self.device.flags, *failed})))

    def cross_check(self) -> tuple[Fraction, int] | None:
        with self._lock:
            return self._curve.cross_check

    def _run(self) -> None:
        next_ns = self._clock.boottime_ns()
        while True:
            self._sample()
            self.first.set()
            now = self._clock.boottime_ns()
            next_ns += ((now - next_ns) // self._interval_ns + 1) * self._interval_ns  # the grid, not the last call
            if self._stop.wait((next_ns - now) / NS_PER_SECOND):
                return

    def _sample(self) -> None:
        begun = self._clock.boottime_ns()
        failures = self.cost.failures
        try:
            reading = self._reader.read(self.device)
            with self._reached:
                self._curve.add(reading)
                self._reached.notify_all()
        except Exception as error:  # noqa: BLE001 -- whatever a driver does, the next reading is tried
            self.reason = str(error) or repr(error)
            failures += 1
        took_ns = self._clock.boottime_ns() - begun
        self.cost = Cost(self.cost.readings + 1, failures, time.thread_time_ns(), max(self.cost.longest_ns, took_ns))
