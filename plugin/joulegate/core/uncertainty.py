"""How far a measured energy may be from the true one, part by part.

All parts are half-widths at 95 % confidence in mJ. They have different causes
and are combined in quadrature (JCGM 100:2008, section 5.1.2); for several
windows of one board the gain parts add up, because the board errs the same way
each time, and only the others combine in quadrature. SC24 is named in
:mod:`joulegate.core.sensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil, hypot, sqrt
from typing import Final

from joulegate.core.sensors import Sensor
from joulegate.core.units import NS_PER_SECOND

CONFIDENCE: Final = "0.95"

GAIN: Final = 0.112
"""Half-width of the gain of a board nobody calibrated, as a share of the reading.

SC24's table gives the energy error of 15 boards against an external meter, load
running (RTX 3090 x 5, 4090, 3070 Ti, 2080 Ti, 2060 S, A5000, GTX 1080, 1080 Ti,
A100, P100, M40): root mean square 5.25 %. A new board is one more draw:
Student's t for 15 boards is 2.131.
"""

GAIN_CALIBRATED: Final = 0.015
"""The same after calibration. SC24: the steady-state error of one board moved by
up to 1.1 points between three drivers, trials of one driver by 0.1-1 % (one sigma)."""

COHERENCE_PERIODS: Final = 100
"""For how many refreshes a periodic load may keep step with the sensor.

A load that repeats about once a refresh looks slow to a sensor that does not
look all the time (aliasing). To look slower than this many refreshes it would
have to keep its own period to within a hundredth for as long.
"""

_NORMAL: Final = 1.96
_STUDENT: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The half-widths of one figure, in mJ."""

    gain_mj: int
    duty_mj: int
    edge_mj: int
    gap_mj: int

    def combined(self) -> int:
        """The half-width of all four together, rounded up."""
        return ceil(hypot(self.gain_mj, self.duty_mj, self.edge_mj, self.gap_mj))


def student(samples: int) -> float:
    """The two-sided 95 % quantile for the mean of ``samples`` values."""
    freedom = max(samples - 1, 1)
    return _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL * (1 + 1.2 / freedom)


def gain_part(energy_mj: int, *, calibrated: bool) -> int:
    """Board's gain: a share of the energy."""
    return ceil(energy_mj * (GAIN_CALIBRATED if calibrated else GAIN))


def duty_part(powers_mw: Sequence[float], spacing_ns: int, duration_ns: int, sensor: Sensor) -> int:
    """Time between the sensor's looks; nothing where the looks meet.

    ``powers_mw`` are successive looks, ``spacing_ns`` apart, in the window and,
    where there are readings, around it. Two ways in which unseen power may
    differ from seen power, both judged from what was seen:

    * fast and irregular: successive looks differ, and the mean of n of them errs
      by Student's t x s / sqrt(n), less the share that was seen (sampling without
      replacement);
    * fast and regular: the load beats with the sensor, and what looks like a slow
      swing is the load's shape drawn out. The mean over a window then errs by
      at most the swing of the cumulated deviation, over the window's length. A
      slow swing that is real errs by far less; the two cannot be told apart, so
      the larger is taken. A real step can be: it is over within a look or two,
      while a drawn-out one takes at least the share W/T of a beat.
    """
    unseen = 1 - sensor.window_ns / max(spacing_ns, sensor.period_ns)
    if unseen <= 0 or duration_ns <= 0:
        return 0
    if len(powers_mw) < 2:
        return ceil(max(powers_mw, default=0) * duration_ns / NS_PER_SECOND)
    looks = max(duration_ns / spacing_ns, 1.0)
    spread = sqrt(sum((b - a) ** 2 for a, b in pairwise(powers_mw)) / (2 * (len(powers_mw) - 1)))
    fast_mw = student(round(looks)) * spread * sqrt(unseen / looks)
    swings = [_swing(stretch, spacing_ns, duration_ns) for stretch in _stretches(powers_mw)]
    slow_mw = sqrt(unseen) * max(swings)
    return ceil(hypot(fast_mw, slow_mw) * duration_ns / NS_PER_SECOND)


def _stretches(powers: Sequence[float]) -> list[Sequence[float]]:
    """Cut at real steps, and at the longest time that a beat can last."""
    cuts = [0]
    for index in range(3, len(powers) - 4):
        step = abs(powers[index + 1] - powers[index - 1])
        around = max(abs(powers[index - 1] - powers[index - 3]), abs(powers[index + 3] - powers[index + 1]))
        if step > 2 * around and index - cuts[-1] >= 3 or index - cuts[-1] >= COHERENCE_PERIODS:
            cuts.append(index)
    return [powers[a:b] for a, b in pairwise([*cuts, len(powers)])]


def _swing(powers: Sequence[float], spacing_ns: int, duration_ns: int) -> float:
    """The most by which a window's mean may miss the mean of a stretch, in mW."""
    mean = sum(powers) / len(powers)
    cumulated = [0.0, *accumulate(power - mean for power in powers)]
    furthest = max(abs(power - mean) for power in powers)
    return min((max(cumulated) - min(cumulated)) * spacing_ns / duration_ns, furthest)


def edge_part(start_mw: float, end_mw: float, start_ns: int, end_ns: int) -> int:
    """The two ends of a window fall between readings.

    ``start_ns`` and ``end_ns`` are half the time that each end cannot be placed
    within, at the power there; the two err independently.
    """
    return ceil(hypot(start_mw * start_ns, end_mw * end_ns) / NS_PER_SECOND)


def gap_part(gap_ns: int, limit_mw: int) -> int:
    """Time without readings: anything between nothing and the limit was drawn."""
    return ceil(limit_mw * gap_ns / (2 * NS_PER_SECOND))
