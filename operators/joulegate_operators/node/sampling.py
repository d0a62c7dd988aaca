"""Reads the GPUs once a second, one thread a device: a call that hangs holds up its own device only."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from joulegate.clock import Clock
from joulegate.core.curve import Reading
from joulegate.core.errors import UnavailableError
from joulegate.core.units import NS_PER_SECOND
from joulegate.gpu import Device, GpuReader

_MOST_WAITING: Final = 3_600
"""Readings of one device that wait to be taken; a meter that does not take any for an hour has stopped."""


class Sampler:
    """Collects the readings of every device until they are taken."""

    def __init__(self, reader: GpuReader, interval_ns: int, clock: Clock) -> None:
        """Prepare; ``watch`` begins."""
        self._reader = reader
        self._interval_ns = interval_ns
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Reading]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self.devices: dict[str, Device] = {}
        self.heard_ns: dict[str, int] = {}
        """When each device last answered, on CLOCK_BOOTTIME."""
        self.failures = 0

    def watch(self, devices: Sequence[Device]) -> None:
        """Read these devices from now on, beside those that are read already."""
        for device in devices:
            self.devices[device.uuid] = device
            if device.uuid not in self._threads:
                self._waiting[device.uuid] = deque(maxlen=_MOST_WAITING)
                self.heard_ns.setdefault(device.uuid, self._clock.boottime_ns())
                thread = threading.Thread(
                    target=self._run, args=(device.uuid,), name=f"joulegate {device.uuid}", daemon=True
                )
                self._threads[device.uuid] = thread
                thread.start()

    def take(self) -> Mapping[str, Sequence[Reading]]:
        """The readings since the last call."""
        with self._lock:
            taken = {uuid: list(waiting) for uuid, waiting in self._waiting.items() if waiting}
            for uuid in taken:
                self._waiting[uuid].clear()
        return taken

    def stop(self) -> None:
        """End the threads; one that hangs in the driver is left behind."""
        self._stop.set()
        for thread in self._threads.values():
            thread.join(1.0)

    def _run(self, uuid: str) -> None:
        next_ns = self._clock.boottime_ns()
        while True:
            self._sample(uuid)
            now_ns = self._clock.boottime_ns()
            next_ns += ((now_ns - next_ns) // self._interval_ns + 1) * self._interval_ns  # the grid, not the last call
            if self._stop.wait((next_ns - now_ns) / NS_PER_SECOND):
                return

    def _sample(self, uuid: str) -> None:
        try:
            reading = self._reader.read(self.devices[uuid])
        except UnavailableError:
            self.failures += 1
            return
        if reading.counter_mj is None and reading.power_mw is None:
            self.failures += 1
            return
        with self._lock:
            self._waiting[uuid].append(reading)
            self.heard_ns[uuid] = self._clock.boottime_ns()
