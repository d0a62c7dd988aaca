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

from joulegate.core.units import NS_PER_SECOND

CONFIDENCE: Final = "0.95"

GAIN: Final = 0.112
"""Half-width of the gain of a board nobody calibrated, as a share of the reading.

SC24's table gives the energy error of 15 boards against an external meter, load
running (RTX 3090 x 5, 4090, 3070 Ti, 2080 Ti, 2060 S, A5000, GTX 1080, 1080 Ti,
A100, P100, M40): root mean square 5.25 %. A new board is one more draw:
Student's t for 15 boards is 2.131.
"""

OFFSET_MW: Final = 5_660
"""Half-width of what a board shows too much or too little whatever it draws, from the vendor's own figure.

``nvidia-smi --help-query-gpu``, power.draw: "accurate to within +/- 5 watts". Between such bounds nothing is known, so
its standard deviation is 5 W / sqrt(3) (JCGM 100:2008, 4.3.7), times 1.96. GAIN was found under load, where this hardly
shows; near idle it is most of the error. Single boards are further off: SC24 has an RTX 4090 with -22 W.
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

_FEWEST_CROSSINGS: Final = 3
"""A stretch that passes its mean less often than this has shown less than one and a half swings of a beat."""

_REACH: Final = 2
"""A real step is over within twice as many looks; boards change their clocks within 0.1-0.3 s (SC24, rise times)."""

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


def gain_part(energy_mj: int, duration_ns: int, *, calibrated: bool) -> int:
    """Board's gain, a share of the energy, and its offset, a power, over the time that was measured.

    A calibration has put both right, but for what it leaves of the gain.
    """
    if calibrated:
        return ceil(energy_mj * GAIN_CALIBRATED)
    return ceil(hypot(energy_mj * GAIN, OFFSET_MW * duration_ns / NS_PER_SECOND))


def duty_part(powers_mw: Sequence[float], spacing_ns: int, duration_ns: int, seen: float) -> int:
    """Time between the sensor's looks; nothing where the looks meet.

    ``powers_mw`` are successive looks, ``spacing_ns`` apart, in the window and,
    where there are readings, around it; ``seen`` is the share of time that they
    cover. Two ways in which unseen power may
    differ from seen power, both judged from what was seen:

    * fast and irregular: successive looks differ, and the mean of n of them errs
      by Student's t x s / sqrt(n), less the share that was seen (sampling without
      replacement);
    * fast and regular: the load beats with the sensor, and what looks like a slow
      swing is the load's shape drawn out. The energy then errs by at most the
      swing of the cumulated deviation from the mean; where less than one and a
      half swings were seen, by as much as power was from its mean. A slow swing
      that is real errs by far less; the two cannot be told apart, so the larger
      is taken. A real step can be: it is over within a few looks, while a drawn
      out one takes at least the share W/T of a beat.
    """
    unseen = 1 - seen
    if unseen <= 0 or duration_ns <= 0:
        return 0
    if not any(powers_mw[1:]):  # one look, or none, says nothing about the rest
        return ceil(sum(powers_mw) * duration_ns / NS_PER_SECOND)
    looks = max(duration_ns / spacing_ns, 1.0)
    spread = sqrt(sum((b - a) ** 2 for a, b in pairwise(powers_mw)) / (2 * (len(powers_mw) - 1)))
    fast = student(round(looks)) * spread * sqrt(unseen * looks)
    slow = [_swing(stretch, looks) for stretch in _stretches(powers_mw)]
    return ceil(hypot(fast, *slow) * spacing_ns / NS_PER_SECOND)


def _stretches(powers: Sequence[float]) -> list[Sequence[float]]:
    """Cut at real steps, which belong to neither side, and at the longest time that a beat can last."""
    stretches, begin, index = [], 0, 0
    while index < len(powers):
        if _REACH <= index < len(powers) - _REACH and _is_step(powers, index):
            stretches.append(powers[begin : index - 1])
            begin = index + _REACH
            index += _REACH + 1
        elif index - begin >= COHERENCE_PERIODS:
            stretches.append(powers[begin:index])
            begin = index
        index += 1
    return [stretch for stretch in (*stretches, powers[begin:]) if stretch]


def _is_step(powers: Sequence[float], index: int) -> bool:
    """Whether power changes for good within four looks around ``index``, and hardly in the four before and after."""
    first, last = index - _REACH, index + _REACH
    before, after = powers[max(first - 3, 0) : first + 1], powers[last : last + 4]
    restless = max(max(before) - min(before), max(after) - min(after))
    return abs(powers[last] - powers[first]) > 3 * restless


def _swing(powers: Sequence[float], looks: float) -> float:
    """The most by which a stretch may miss its true mean, in power times looks."""
    mean = sum(powers) / len(powers)
    furthest = max(abs(power - mean) for power in powers) * min(looks, len(powers))
    crossings = sum((a < mean) != (b < mean) for a, b in pairwise(powers))
    if crossings < _FEWEST_CROSSINGS:
        return furthest
    cumulated = [0.0, *accumulate(power - mean for power in powers)]
    return min(max(cumulated) - min(cumulated), furthest)


def edge_part(*edges: tuple[float, int]) -> int:
    """The ends of a window fall between readings.

    Each edge is the power there in mW and half the time in ns that it cannot be
    placed within; edges err independently.
    """
    return ceil(hypot(*(power * half for power, half in edges)) / NS_PER_SECOND)


def gap_part(gap_ns: int, limit_mw: int) -> int:
    """Time without readings: anything between nothing and the limit was drawn."""
    return ceil(limit_mw * gap_ns / (2 * NS_PER_SECOND))
