"""Cumulative energy of one device, built reading by reading.

:class:`EnergyCurve` is E(t): non-decreasing, in whole millijoules, with a value
that is fixed the first time that somebody asks for an instant. Between two
readings the counter's difference counts where it can be believed; where it
cannot, or where there is none, the integral of power; where neither was read
there is a gap, in which nothing is added and nothing is made up.

What the counter must pass, whatever the vendor: it does not run backwards, does
not rise faster than 1.2 x the enforced limit, and does not stand still while
power is drawn.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from joulegate.core.sensors import Calibration, Sensor
from joulegate.core.units import NS_PER_SECOND

UJ_PER_MJ: Final = 1_000
_MW_PER_UJ_PER_NS: Final = 1_000_000
_TWICE_UJ: Final = 2 * _MW_PER_UJ_PER_NS
"""Twice a microjoule in mW ns: the sum of two powers times a time, as whole microjoules."""

LIMIT_UNKNOWN_MW: Final = 1_500_000
"""Taken as the limit of a board whose limit is unknown; the largest board sold draws 1.4 kW (GB300)."""

_STUCK_NS: Final = NS_PER_SECOND
"""A counter that shows the same value for longer stands still; boards refresh it every 20-100 ms."""


MOST_ANSWERS: Final = 1 << 16
"""So many instants keep the value that was given for them; a month has 2,976 quarter-hours."""


class How(StrEnum):
    """What the energy of a piece of a curve comes from."""

    COUNTER = "counter"
    POWER = "power"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device said at one instant of CLOCK_BOOTTIME; None is not read, which is not zero."""

    at_ns: int
    counter_mj: int | None = None
    instant_mw: int | None = None
    average_mw: int | None = None

    @property
    def power_mw(self) -> int | None:
        """The power to integrate: the instant one, whose window is short, else the average."""
        return self.average_mw if self.instant_mw is None else self.instant_mw


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a curve that came about in one way, from ``start_ns`` to the start of the next."""

    start_ns: int
    how: How
    why: str = ""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is known about the thing that measures, before it is read.

    ``limit_mw`` is the enforced power limit; ``max_gap_ns`` is how long the
    integral of power may go without a reading; ``lag_ns`` replaces the sensor's lag
    where it is not certain which sensor it is.
    """

    sensor: Sensor
    limit_mw: int | None = None
    calibration: Calibration | None = None
    max_gap_ns: int = 3 * NS_PER_SECOND
    lag_ns: int | None = None

    @property
    def power_lag_ns(self) -> int:
        """How far readings of power trail."""
        return self.sensor.lag_ns if self.lag_ns is None else self.lag_ns


class EnergyCurve:
    """E(t) of one device. ``add`` readings in order of time; ``close`` after the last."""

    def __init__(self, instrument: Instrument, capacity: int = 1 << 17) -> None:
        """Start empty; at ``capacity`` knots the older half is thinned."""
        self.instrument = instrument
        self.flags: set[str] = set()
        self.pieces: list[Piece] = []
        self._capacity = capacity
        self._times = array("q")
        self._energies_uj = array("q")
        self._fixed: dict[int, int] = {}
        self._asked: list[int] = []
        self._anchor: Reading | None = None
        self._previous: Reading | None = None
        self._fill_twice: int | None = 0
        self._rest = 0
        self._stuck = False
        self._read_ns = self._reads = 0
        self._counted_uj = self._integrated_uj = self._compared_ns = 0

    # -- building ---------------------------------------------------------------------------

    def add(self, reading: Reading) -> None:
        """Take the next reading; raises ``ValueError`` where its time is not after the last."""
        previous = self._previous
        if previous is not None and reading.at_ns <= previous.at_ns:
            message = f"reading at {reading.at_ns} ns follows one at {previous.at_ns} ns"
            raise ValueError(message)
        if reading.counter_mj is None and reading.power_mw is None:
            return
        self._accumulate(reading)
        if self._anchor is None:
            self._times.append(self._time_of(reading))
            self._energies_uj.append(0)
            self._take(reading)
        elif reading.counter_mj is None or self._anchor.counter_mj is None:
            self._extend_by_power(reading, "")
        else:
            self._extend_by_counter(reading, self._anchor, reading.counter_mj - self._anchor.counter_mj)
        self._previous = reading
        if len(self._times) >= self._capacity:
            self._thin()

    def close(self) -> None:
        """Take the curve to the instant of the last reading, at the power that it had last."""
        last = self._previous
        if last is None or not self._times or last.at_ns <= self._times[-1]:
            return
        if self._anchor is not last and last.at_ns - self._times[-1] > _STUCK_NS:  # a counter that has not moved
            self._extend_by_power(last, "counter_stuck")
            return
        how = self.pieces[-1].how if self.pieces else How.GAP
        beyond_ns = last.at_ns - self._times[-1]
        power_mw = self._last_shown_mw() if last.power_mw is None else last.power_mw
        energy_uj = 0 if how is How.GAP else power_mw * beyond_ns // _MW_PER_UJ_PER_NS
        self._knot(last.at_ns, energy_uj, how, "")

    def _last_shown_mw(self) -> int:
        """The mean power of the last refresh or more in mW, as the board shows it; never above 1.2 x the limit."""
        limit_mw = 6 * (self.instrument.limit_mw or LIMIT_UNKNOWN_MW) // 5
        since = max(bisect_right(self._times, self._times[-1] - self.instrument.sensor.period_ns) - 1, 0)
        time_ns = self._times[-1] - self._times[since]
        energy_uj = self._energies_uj[-1] - self._energies_uj[since]
        if self.instrument.calibration is not None:
            energy_uj = self.instrument.calibration.shown_energy(energy_uj, time_ns, UJ_PER_MJ)
        return min(energy_uj * _MW_PER_UJ_PER_NS // time_ns, limit_mw) if time_ns else 0

    def _rate_uj(self, index: int) -> tuple[int, int]:
        """Energy and time of the piece of curve that ends at knot ``index``."""
        if index == 0:
            return 0, 1
        return (
            self._energies_uj[index] - self._energies_uj[index - 1],
            self._times[index] - self._times[index - 1],
        )

    def _accumulate(self, reading: Reading) -> None:
        """Keep the integral of power since the anchor, or None where it was interrupted."""
        before = self._previous
        if before is None or self._fill_twice is None:
            return
        elapsed = reading.at_ns - before.at_ns
        first, second = before.power_mw, reading.power_mw
        if first is None or second is None or elapsed > self.instrument.max_gap_ns:
            self._fill_twice = None
        else:
            self._fill_twice += (first + second) * elapsed
            self._read_ns += elapsed
            self._reads += 1

    def _take(self, reading: Reading) -> None:
        self._anchor = reading
        self._fill_twice = 0

    def _time_of(self, reading: Reading) -> int:
        """The instant that a reading stands for.

        A counter was refreshed at most one period before, and after the reading
        before this one: the middle of that. Power lags by the sensor's lag.
        """
        if reading.counter_mj is not None:
            seen = self.instrument.sensor.period_ns
            if self._previous is not None:
                seen = min(seen, reading.at_ns - self._previous.at_ns)
            stands_for = reading.at_ns - seen // 2
        else:
            stands_for = reading.at_ns - self.instrument.power_lag_ns
        return stands_for if not self._times else max(stands_for, self._times[-1] + 1)

    def _extend_by_counter(self, reading: Reading, anchor: Reading, delta_mj: int) -> None:
        elapsed = reading.at_ns - anchor.at_ns
        limit = self.instrument.limit_mw or LIMIT_UNKNOWN_MW
        if delta_mj < 0:
            self._extend_by_power(reading, "counter_backwards")
        elif 5 * delta_mj * NS_PER_SECOND > 6 * limit * (elapsed + self.instrument.sensor.period_ns):
            self._extend_by_power(reading, "counter_jump")
        elif self._stands_still(delta_mj, elapsed):
            self._extend_by_power(reading, "counter_stuck")
        elif delta_mj == 0:
            return
        else:
            if self._fill_twice is not None:
                self._compared_ns += elapsed
                self._counted_uj += delta_mj * UJ_PER_MJ
                self._integrated_uj += self._fill_twice // _TWICE_UJ
            self._knot(self._time_of(reading), delta_mj * UJ_PER_MJ, How.COUNTER, "")
            self._take(reading)

    def _stands_still(self, delta_mj: int, elapsed: int) -> bool:
        """Whether the counter does not move while power is drawn, or has just moved again after that.

        Where power is read, it takes over once the counter has stood still for long,
        until it moves. Where it is not, one waits until the counter moves, and looks
        whether it has caught up.
        """
        if elapsed > max(_STUCK_NS, 10 * self.instrument.sensor.period_ns):
            if delta_mj == 0:
                self._stuck = bool(self._fill_twice)
                return self._stuck
            return self._previous is not self._anchor and self._lacks(delta_mj, elapsed)
        stuck, self._stuck = self._stuck, self._stuck and delta_mj == 0
        return stuck

    def _lacks(self, delta_mj: int, elapsed: int) -> bool:
        """Whether a difference is less than half of what the power before it makes in this time."""
        energy_uj, time_ns = self._rate_uj(len(self._times) - 1)
        return 2 * delta_mj * UJ_PER_MJ * time_ns < energy_uj * elapsed

    def _extend_by_power(self, reading: Reading, why: str) -> None:
        if why:
            self.flags.add(why)
        if self._fill_twice is None:
            self._knot(self._time_of(reading), 0, How.GAP, why or "no_readings")
        else:
            energy, self._rest = divmod(self._fill_twice + self._rest, _TWICE_UJ)
            self._knot(self._time_of(reading), energy, How.POWER, why)
        self._take(reading)

    def _knot(self, at_ns: int, energy_uj: int, how: How, why: str) -> None:
        calibration = self.instrument.calibration
        if calibration is not None and how is not How.GAP:
            energy_uj = calibration.true_energy(energy_uj, at_ns - self._times[-1], UJ_PER_MJ)
        if not self.pieces or self.pieces[-1].how is not how or why != self.pieces[-1].why:
            self.pieces.append(Piece(self._times[-1], how, why))
        self._times.append(at_ns)
        self._energies_uj.append(self._energies_uj[-1] + energy_uj)

    def _thin(self) -> None:
        """Drop every second knot of the older half, but none where a piece begins."""
        kept = {piece.start_ns for piece in self.pieces}
        half = len(self._times) // 2
        keep = [i for i in range(len(self._times)) if i >= half or i % 2 == 0 or self._times[i] in kept]
        self._times = array("q", (self._times[i] for i in keep))
        self._energies_uj = array("q", (self._energies_uj[i] for i in keep))

    def _forget(self) -> None:
        """Let go of the older half of the answers; those instants are interpolated again."""
        half = len(self._asked) // 2
        for at_ns in self._asked[:half]:
            del self._fixed[at_ns]
        del self._asked[:half]

    # -- asking -----------------------------------------------------------------------------

    @property
    def known_from_ns(self) -> int | None:
        """The first instant of the curve, None while it is empty."""
        return self._times[0] if self._times else None

    @property
    def known_until_ns(self) -> int | None:
        """The last instant of the curve, None while it is empty."""
        return self._times[-1] if self._times else None

    def energy_at(self, at_ns: int) -> int:
        """E(t) in mJ, outside the curve that of its nearest end.

        The same once asked, for the latest :data:`MOST_ANSWERS` instants.

        Raises ``ValueError`` while the curve is empty.
        """
        if at_ns not in self._fixed:
            energy_mj = self._interpolate(at_ns) // UJ_PER_MJ
            place = bisect_left(self._asked, at_ns)
            if place > 0:  # what was answered before and what has been thinned since must not cross
                energy_mj = max(energy_mj, self._fixed[self._asked[place - 1]])
            if place < len(self._asked):
                energy_mj = min(energy_mj, self._fixed[self._asked[place]])
            self._asked.insert(place, at_ns)
            self._fixed[at_ns] = energy_mj
            if len(self._asked) > MOST_ANSWERS:
                self._forget()
        return self._fixed[at_ns]

    def _interpolate(self, at_ns: int) -> int:
        if not self._times:
            message = "an empty curve has no energy"
            raise ValueError(message)
        after = bisect_right(self._times, at_ns)
        if after == 0:
            return self._energies_uj[0]
        if after == len(self._times):
            return self._energies_uj[-1]
        energy, time = self._rate_uj(after)
        return self._energies_uj[after - 1] + energy * (at_ns - self._times[after - 1]) // time

    def pieces_between(self, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, Piece]]:
        """The pieces inside ``[start_ns, end_ns)``, clipped; what lies outside the curve is a gap."""
        if not self.pieces:
            yield start_ns, end_ns, Piece(start_ns, How.GAP, "no_readings")
            return
        first, last = self.pieces[0].start_ns, self._times[-1]
        if start_ns < first:
            yield start_ns, min(first, end_ns), Piece(start_ns, How.GAP, "before_first_reading")
        for index, piece in enumerate(self.pieces):
            until = self.pieces[index + 1].start_ns if index + 1 < len(self.pieces) else last
            begin, end = max(piece.start_ns, start_ns), min(until, end_ns)
            if begin < end:
                yield begin, end, piece
        if end_ns > last:
            yield max(last, start_ns), end_ns, Piece(last, How.GAP, "after_last_reading")

    @property
    def cross_check(self) -> tuple[Fraction, int] | None:
        """The integral of power over the counter, and the ns that both were read for; None where they were not."""
        return (Fraction(self._integrated_uj, self._counted_uj), self._compared_ns) if self._counted_uj else None

    @property
    def power_spacing_ns(self) -> int:
        """The mean time between two readings of power, gaps left out; 0 where there are fewer than two."""
        return self._read_ns // self._reads if self._reads else 0

    def knot_spacing(self, start_ns: int, end_ns: int) -> int:
        """The mean distance in ns of the knots between two instants, gaps left out; 0 where there are none."""
        known = [
            (begin, end) for begin, end, piece in self.pieces_between(start_ns, end_ns) if piece.how is not How.GAP
        ]
        knots = sum(bisect_right(self._times, end) - bisect_left(self._times, begin) for begin, end in known)
        return sum(end - begin for begin, end in known) // knots if knots else 0

    def knot_spacing_at(self, at_ns: int) -> int:
        """The distance in ns of the two knots around an instant; 0 where there are none."""
        after = bisect_left(self._times, at_ns)
        return self._times[after] - self._times[after - 1] if 0 < after < len(self._times) else 0

    def powers(self, start_ns: int, end_ns: int, spacing_ns: int) -> list[float]:
        """Power in mW, one value every ``spacing_ns`` or as often as it was read; gaps left out."""
        values: list[float] = []
        for begin, end, piece in self.pieces_between(start_ns, end_ns):
            if piece.how is How.GAP:
                continue
            index = max(bisect_left(self._times, begin), 1)
            next_ns = self._times[index - 1]
            while index < len(self._times) and self._times[index - 1] < end:
                if self._times[index - 1] >= next_ns:
                    energy, time = self._rate_uj(index)
                    values.append(energy * _MW_PER_UJ_PER_NS / time)
                    next_ns = max(next_ns + spacing_ns, self._times[index] - spacing_ns // 2)
                index += 1
        return values
