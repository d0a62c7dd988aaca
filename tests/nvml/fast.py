"""Fast time for another process: the library that makes it, and what the time is there."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from joulegate.clock import boottime_ns

LEAD_NS = 20_000_000_000
"""Until time runs fast, so that a program can start before."""

SOURCE = Path(__file__).with_name("fast.c")


def compile_library(folder: Path) -> Path:
    """Compile the library into ``folder``."""
    library = folder / "libfast.so"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, *options, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class FastTime:
    """Time that runs ``factor`` times as fast from ``from_ns`` of CLOCK_BOOTTIME on, when it is ``date``."""

    factor: int
    date: datetime
    from_ns: int = field(default_factory=lambda: boottime_ns() + LEAD_NS)

    def environment(self, library: Path) -> Mapping[str, str]:
        """What a process needs to live in it."""
        date_ns = int(self.date.timestamp()) * 10**9
        return {
            "LD_PRELOAD": str(library),
            "FAST_FACTOR": str(self.factor),
            "FAST_FROM_NS": str(self.from_ns),
            "FAST_DATE_NS": str(date_ns),
        }

    @property
    def past_s(self) -> float:
        """Seconds that have passed there."""
        past_ns = boottime_ns() - self.from_ns
        return past_ns * (self.factor if past_ns > 0 else 1) / 1e9

    def sleep_until(self, past_s: float) -> None:
        """Wait until so many seconds have passed there."""
        time.sleep(max(0.0, (self.from_ns - boottime_ns()) / 1e9 + past_s / self.factor))
