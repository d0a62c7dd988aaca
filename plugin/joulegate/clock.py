"""The clocks: one that never steps, for durations, and the wall clock, for dates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boottime_ns() -> int:
    """Nanoseconds since boot, suspended time included; the same for every process of a machine.

    Falls back on CLOCK_MONOTONIC where the system has no CLOCK_BOOTTIME.
    """
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """The identity of this boot, so that readings of two boots are never subtracted; empty where unknown."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Instant:
    """The same moment on both clocks."""

    boottime_ns: int
    utc: datetime


class Clock(Protocol):
    """Where a meter takes its time from; a test brings its own."""

    def boottime_ns(self) -> int:
        """Nanoseconds of the clock that never steps."""

    def now(self) -> Instant:
        """This moment on both clocks."""


class SystemClock:
    """The machine's clocks."""

    def boottime_ns(self) -> int:
        """Nanoseconds since boot."""
        return boottime_ns()

    def now(self) -> Instant:
        """This moment; the two clocks are read one after the other, within microseconds."""
        return Instant(boottime_ns(), datetime.now(UTC))
