"""The real boards of tests/traces: what NVML reported and what an external meter saw."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Final

from joulegate.core.calibrating import fit
from joulegate.core.sensors import NS_PER_MS, SENSORS, Calibration
from joulegate.core.traces import Trace, parse_trace

FOLDER: Final = Path(__file__).parent.parent / "tests" / "traces"
NAMES: Final = ("a100_square", "a100_steps", "rtx3090_square", "rtx3090_steps")

Truth = Callable[[int, int], float]
"""Energy in mJ between two times in ms."""


def sensor_trace(name: str) -> Trace:
    """What NVML reported."""
    return parse_trace((FOLDER / f"{name}.sensor.csv").read_text(), name)


def outside(name: str) -> Trace:
    """What the external meter saw, as it came."""
    return parse_trace((FOLDER / f"{name}.meter.csv").read_text(), name)


def outside_truth(name: str) -> Truth:
    """What the external meter saw: means of 2 ms around the times given."""
    trace = outside(name)
    times = [time // NS_PER_MS - 1 for time in trace.times_ns]
    energies = [0, *accumulate(power * 2 for power in trace.columns["power_mw"])]
    return lambda start, end: (energies[bisect_left(times, end)] - energies[bisect_left(times, start)]) / 1000


def last_ms(trace: Trace) -> int:
    """The end of a trace."""
    return trace.times_ns[-1] // NS_PER_MS


def fitted(name: str) -> Calibration:
    """Gain and offset of an RTX 3090, as `joulegate calibrate` finds them."""
    return fit(sensor_trace(name), outside(name), sensor=SENSORS["ampere-instant"]).calibration
