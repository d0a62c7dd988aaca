"""One tool watches the GPUs for a while and says what it saw and what that cost; run by bench.meter, once a tool.

``python bench/watch.py TOOL SECONDS BEGIN_NS``: gets ready, begins at that instant of CLOCK_BOOTTIME, so that all tools
see the same, and prints one JSON object. Processor time is told apart: what watching takes while
it goes on, which grows with time, and what starting and stopping take, once. Memory is the peak of the process. Every
tool that polls does so once a second.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from joulegate.clock import boottime_ns

INTERVAL_S = 1.0

Watched = tuple[int, int, float, float]
"""Begin and end of what was measured, on CLOCK_BOOTTIME, energy of all GPUs in mJ, processor time in between in s."""


def cpu_s() -> float:
    """Processor time of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def pause(seconds: float) -> float:
    """Let time pass; the processor time that the tool took meanwhile."""
    before = cpu_s()
    time.sleep(seconds)
    return cpu_s() - before


def joulegate(seconds: float) -> Callable[[], Watched]:
    """The meter of this project."""
    nvml, meter_module = import_module("joulegate.gpu.nvml"), import_module("joulegate.meter")
    reader = nvml.NvmlReader()
    meter = meter_module.Meter(reader, interval_ns=int(INTERVAL_S * 1e9))

    def watch() -> Watched:
        started = meter.start()
        took = pause(seconds)
        stopped = meter.stop()
        found = [meter.measurement(device, started.boottime_ns, stopped.boottime_ns) for device in meter.devices]
        return started.boottime_ns, stopped.boottime_ns, sum(one.energy_mj for one in found), took

    return watch


def bare(seconds: float) -> Callable[[], Watched]:
    """A loop that reads the counter and adds up the differences."""
    nvml = import_module("pynvml")
    nvml.nvmlInit()
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    def watch() -> Watched:
        begun, before, total = boottime_ns(), cpu_s(), 0
        last = [nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles]
        while boottime_ns() - begun < seconds * 1e9:
            time.sleep(INTERVAL_S)
            now = [nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles]
            total += sum(b - a for a, b in zip(last, now, strict=True))
            last = now
        return begun, boottime_ns(), total, cpu_s() - before

    return watch


def zeus(seconds: float) -> Callable[[], Watched]:
    """Zeus: the counter at the edges of a window."""
    monitor = import_module("zeus.monitor").ZeusMonitor(approx_instant_energy=False)

    def watch() -> Watched:
        monitor.begin_window("all", sync_execution=False)
        begun, took = boottime_ns(), pause(seconds)
        found = monitor.end_window("all", sync_execution=False)
        return begun, boottime_ns(), 1000 * sum(found.gpu_energy.values()), took

    return watch


def codecarbon(seconds: float) -> Callable[[], Watched]:
    """CodeCarbon, offline, with a country, reading every second."""
    tracker = import_module("codecarbon").OfflineEmissionsTracker(
        country_iso_code="FRA",
        measure_power_secs=INTERVAL_S,
        save_to_file=False,
        log_level="critical",
        allow_multiple_runs=True,
    )

    def watch() -> Watched:
        tracker.start()
        begun, took = boottime_ns(), pause(seconds)
        tracker.stop()
        return begun, boottime_ns(), 3.6e9 * tracker.final_emissions_data.gpu_energy, took

    return watch


TOOLS: dict[str, Callable[[float], Callable[[], Watched]]] = {
    "bare counter loop": bare,
    "codecarbon": codecarbon,
    "joulegate": joulegate,
    "zeus": zeus,
}


def wait_until(begin_ns: int) -> None:
    """Let the others get ready too; raises ``TimeoutError`` where it is too late for that."""
    left_s = (begin_ns - boottime_ns()) / 1e9
    if left_s < 0:
        raise TimeoutError(f"was ready {-left_s:.0f} s too late")
    time.sleep(left_s)


def main(tool: str, seconds: str, begin_ns: str) -> None:
    """Watch and print."""
    printed, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 -- tools print
    answer: dict[str, Any] = {"tool": tool}
    try:
        watch = TOOLS[tool](float(seconds))
        wait_until(int(begin_ns))
        before = cpu_s()
        begun, ended, energy_mj, took = watch()
        once = cpu_s() - before - took
        answer |= {"begin_ns": begun, "end_ns": ended, "energy_mj": energy_mj, "cpu_s": took, "once_cpu_s": once}
    except Exception as error:  # noqa: BLE001 -- how a tool fails is a result
        answer["failed"] = f"{type(error).__name__}: {error}"[:200]
    answer["peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    json.dump(answer, printed)
    printed.flush()
    os._exit(0)  # threads of a tool may hold up the end


if __name__ == "__main__":
    main(*sys.argv[1:])
