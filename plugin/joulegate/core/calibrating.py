"""A board's gain and offset from two traces of the same time: what it showed, and what an external meter saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import sqrt
from statistics import fmean
from typing import Final

from joulegate.core.curve import EnergyCurve, Instrument, Reading
from joulegate.core.errors import InvalidInputError
from joulegate.core.sensors import NS_PER_MS, Calibration, Sensor
from joulegate.core.traces import Trace, TraceMeter
from joulegate.core.units import NS_PER_SECOND

_WINDOW_NS: Final = 100 * NS_PER_MS
"""The usual refresh: longer windows leave fewer levels of power to fit a line to."""

_FEWEST: Final = 20
_LEAST_SPREAD: Final = 0.2
"""True power must vary by a fifth of its largest value, or a line through it is a guess."""

_STEP: Final = 0.2
"""A change of this share of the whole range from one window to the next is a step."""

_MOST_LEFT: Final = 0.05
"""What is left of the largest true power; more is a sensor that looks away, or two clocks."""

_DIGITS: Final = 10**6


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration, the root mean square of what it leaves in mW, and the number of windows behind it."""

    calibration: Calibration
    residual_mw: float
    windows: int


def fit(shown: Trace, true: Trace, *, column: str | None = None, sensor: Sensor | None = None) -> Fit:
    """Least squares of shown over true mean power, over all windows of a tenth of a second that both traces hold.

    Both count time from the same origin. A sensor that averages over longer has windows as long. Raises
    :class:`InvalidInputError` where they overlap too little, power varies too little, or they do not agree on a line.
    """
    meter = TraceMeter(shown, column=column, sensor=sensor)
    outside = EnergyCurve(Instrument(_EXACT, lag_ns=0), len(true.times_ns) + 2)
    for at_ns, power_mw in zip(true.times_ns, true.powers_mw(), strict=True):
        outside.add(Reading(at_ns, instant_mw=power_mw))
    outside.close()
    begin = max(shown.times_ns[0], true.times_ns[0]) + _WINDOW_NS
    end = min(shown.times_ns[-1], true.times_ns[-1]) - _WINDOW_NS
    found = meter.measure(begin, max(end, begin + 1))
    length_ns = max(_WINDOW_NS, found.sensor.window_ns)
    starts = range(begin, end - length_ns + 1, length_ns)
    if len(starts) < _FEWEST:
        raise InvalidInputError(f"{shown.name} and {true.name} have less than {_FEWEST} windows in common", shown.name)
    pairs = [
        (_mean_mw(outside.energy_at(at + length_ns) - outside.energy_at(at), length_ns), _mean_mw(energy_mj, length_ns))
        for at in starts
        if (energy_mj := meter.measure(at, at + length_ns).measurement.energy_mj) is not None
    ]
    return _line(pairs, true.name)


_EXACT: Final = Sensor("external meter", NS_PER_MS, NS_PER_MS, "as it is")


def _mean_mw(energy_mj: int, length_ns: int) -> float:
    return energy_mj * NS_PER_SECOND / length_ns


def _line(pairs: Sequence[tuple[float, float]], name: str) -> Fit:
    """The line through windows whose neighbours are alike: around a step the sensor's lag would bend it."""
    every = [true for true, _ in pairs]
    spread = max(every) - min(every)
    if spread < _LEAST_SPREAD * max(every):
        raise InvalidInputError("power hardly varies: two loads or more are needed, such as idle and full", name)
    steps = {at for at, (a, b) in enumerate(pairwise(every)) if abs(b - a) > _STEP * spread}
    steady = [pair for at, pair in enumerate(pairs) if not steps & {at - 2, at - 1, at, at + 1}]
    trues, showns = [true for true, _ in steady], [shown for _, shown in steady]
    if len(steady) < _FEWEST or max(trues) - min(trues) < spread / 2:
        raise InvalidInputError("power changes all the time: steady loads of seconds are needed", name)
    mean_true, mean_shown = fmean(trues), fmean(showns)
    gain = sum((t - mean_true) * (s - mean_shown) for t, s in steady) / sum((t - mean_true) ** 2 for t in trues)
    offset_mw = mean_shown - gain * mean_true
    residual_mw = sqrt(fmean((s - gain * t - offset_mw) ** 2 for t, s in steady))
    if residual_mw > _MOST_LEFT * max(trues):
        off = f"the readings are {residual_mw / 1000:.0f} W off any line"
        raise InvalidInputError(f"{off}: steady loads of seconds and one clock are needed", name)
    return Fit(
        Calibration(Fraction(round(gain * _DIGITS), _DIGITS), Fraction(round(offset_mw))), residual_mw, len(steady)
    )
