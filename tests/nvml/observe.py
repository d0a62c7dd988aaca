"""Measures what NVML shows for a while, in a process of its own, and prints it as JSON; run by tests and bench."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

from joulegate.gpu.nvml import NvmlReader
from joulegate.meter import Meter


def main(seconds: str, interval_ms: str) -> None:
    """Measure for ``seconds``, reading every ``interval_ms``."""
    with NvmlReader() as reader:
        meter = Meter(reader, interval_ns=int(float(interval_ms) * 1_000_000))
        with meter:
            time.sleep(float(seconds))
        started, stopped = meter.started, meter.stopped
        assert started
        assert stopped
        found = {
            "start_ns": started.boottime_ns,
            "end_ns": stopped.boottime_ns,
            "devices": [asdict(device) for device in meter.devices],
            "measurements": [
                asdict(meter.measurement(device, started.boottime_ns, stopped.boottime_ns)) for device in meter.devices
            ],
            "cost": asdict(meter.cost()),
            "failures": meter.failures(),
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
