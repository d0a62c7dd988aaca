"""The real boards of tests/traces: what NVML reported and what an external meter saw."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Final

from joulegate.core.sensors import NS_PER_MS, SENSORS, Calibration
from joulegate.core.traces import Trace, parse_trace

FOLDER: Final = Path(__file__).parent.parent / "tests" / "traces"
NAMES: Final = ("a100_square", "a100_steps", "rtx3090_square", "rtx3090_steps")

Truth = Callable[[int, int], float]
"""Energy in mJ between two times in ms."""


def sensor_trace(name: str) -> Trace:
    """What NVML reported."""
    return parse_trace((FOLDER / f"{name}.sensor.csv").read_text(), name)


def outside_truth(name: str) -> Truth:
    """What the external meter saw: means of 2 ms around the times given."""
    trace = parse_trace((FOLDER / f"{name}.meter.csv").read_text(), name)
    times = [time // NS_PER_MS - 1 for time in trace.times_ns]
    energies = [0, *accumulate(power * 2 for power in trace.columns["power_mw"])]
    return lambda start, end: (energies[bisect_left(times, end)] - energies[bisect_left(times, start)]) / 1000


def last_ms(trace: Trace) -> int:
    """The end of a trace."""
    return trace.times_ns[-1] // NS_PER_MS


def fitted(name: str) -> Calibration:
    """Gain and offset of a board by least squares over windows of 100 ms, the length its sensor averages over."""
    trace, truth = sensor_trace(name), outside_truth(name)
    lag = SENSORS["ampere-instant"].lag_ns // NS_PER_MS
    times = [time // NS_PER_MS for time in trace.times_ns]
    pairs: list[tuple[float, int]] = []
    for start in range(300, times[-1] - 300, 100):
        shown = trace.columns["instant_mw"][bisect_left(times, start + 50 + lag)]
        pairs.append((truth(start, start + 100) * 10, shown))
    mean_true, mean_shown = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    gain = sum((t - mean_true) * (s - mean_shown) for t, s in pairs) / sum((t - mean_true) ** 2 for t, _ in pairs)
    offset = Fraction(round(mean_shown - gain * mean_true))
    return Calibration(Fraction(gain).limit_denominator(10**6), offset, by="bench.traces", on=name)
