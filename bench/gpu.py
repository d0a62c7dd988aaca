"""What the board of this machine does, measured: ``pytest -m gpu`` writes bench/results/gpu-<model>.json.

Counter against integral of power under load and idle, the counter under a square wave near the sensor's period at
several phases, the time that a reading takes, the update period, and what the meter itself costs.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

from joulegate.clock import boottime_ns
from joulegate.core.curve import EnergyCurve, Instrument, Reading
from joulegate.core.metering import measure
from joulegate.core.traces import update_period
from joulegate.gpu import Device, GpuReader
from joulegate.meter import Meter

Load = Callable[[float, float, float], AbstractContextManager[object]]
"""A load for so many seconds, on for so many ms of every period in ms; a context while it lasts."""

RESULTS: Final = Path(__file__).parent / "results"
_DENSE_S: Final = 0.005


def dense(reader: GpuReader, device: Device, seconds: float) -> list[Reading]:
    """Readings as fast as every 5 ms."""
    readings: list[Reading] = []
    until = boottime_ns() + int(seconds * 1e9)
    while boottime_ns() < until:
        readings.append(reader.read(device))
        time.sleep(_DENSE_S)
    return readings


def call_cost_us(reader: GpuReader, device: Device, calls: int = 200) -> dict[str, float]:
    """The time of a reading in microseconds."""
    took = []
    for _ in range(calls):
        begun = time.perf_counter_ns()
        reader.read(device)
        took.append((time.perf_counter_ns() - begun) / 1000)
    took.sort()
    return {"median": median(took), "p99": took[int(0.99 * (calls - 1))], "longest": took[-1]}


def period_ms(readings: Sequence[Reading], field: str) -> float | None:
    """How often a field is refreshed."""
    known = [(reading.at_ns, getattr(reading, field)) for reading in readings if getattr(reading, field) is not None]
    found = update_period([at for at, _ in known], [value for _, value in known])
    return found / 1e6 if found else None


def energy_mj(readings: Sequence[Reading], device: Device, *, counter: bool) -> int | None:
    """The energy of a stretch of readings by the counter alone, or by power alone; edges of half a second left out."""
    curve = EnergyCurve(Instrument(device.sensor, device.enforced_limit_mw))
    for reading in readings:
        one = (
            Reading(reading.at_ns, counter_mj=reading.counter_mj)
            if counter
            else Reading(reading.at_ns, instant_mw=reading.instant_mw, average_mw=reading.average_mw)
        )
        curve.add(one)
    curve.close()
    return measure(curve, readings[0].at_ns + 500_000_000, readings[-1].at_ns - 500_000_000).energy_mj


def compared(readings: Sequence[Reading], device: Device) -> dict[str, Any]:
    """Counter and integral of power over the same stretch."""
    counted, integrated = (energy_mj(readings, device, counter=counter) for counter in (True, False))
    ratio = integrated / counted if counted and integrated is not None else None
    return {"counter_mj": counted, "integral_mj": integrated, "integral_over_counter": ratio}


def meter_cost(reader: GpuReader, seconds: float, interval_ms: int) -> dict[str, Any]:
    """What the meter itself costs while it reads this often."""
    meter = Meter(reader, interval_ns=interval_ms * 1_000_000)
    with meter:
        time.sleep(seconds)
    cost = meter.cost()
    return {"interval_ms": interval_ms, **asdict(cost), "share_of_a_core": cost.cpu_ns / (seconds * 1e9)}


def measure_board(reader: GpuReader, device: Device, load: Load, seconds: float = 8.0) -> dict[str, Any]:
    """Everything, in about eight times ``seconds``."""
    sensor_ms = device.sensor.period_ns / 1e6
    idle = dense(reader, device, seconds)
    with load(seconds, 1.0, 1.0):
        busy = dense(reader, device, seconds)
    phases = []
    for step in range(4):
        time.sleep(step * sensor_ms / 4000)
        with load(seconds, 0.52 * sensor_ms, 1.04 * sensor_ms):
            phases.append(compared(dense(reader, device, seconds), device))
    counters = [reading.counter_mj for reading in busy if reading.counter_mj is not None]
    return {
        "model": device.model,
        "sensor": device.sensor.name,
        "flags": list(device.flags),
        "idle": compared(idle, device),
        "load": compared(busy, device),
        "square_near_the_refresh": phases,
        "call_cost_us": call_cost_us(reader, device),
        "update_period_ms": {field: period_ms(busy, field) for field in ("counter_mj", "instant_mw", "average_mw")},
        "counter_never_ran_backwards": all(b >= a for a, b in pairwise(counters)),
        "meter": [meter_cost(reader, seconds / 2, interval_ms) for interval_ms in (1000, 100)],
    }


def write(found: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Keep the result under the model's name."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", str(found["model"]).lower()).strip("-")
    path = folder / f"gpu-{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path
