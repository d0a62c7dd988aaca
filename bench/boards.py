"""Boards that do not exist: a load whose true power is known, seen through a sensor like a real one's.

A board has a sensor of :data:`joulegate.core.sensors.SENSORS`, a phase and a
period a little off its nominal one, and a gain drawn from the published spread.
All randomness comes from one seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from joulegate.core.curve import Reading
from joulegate.core.sensors import NS_PER_MS, Sensor

GAIN_SPREAD = 0.05
"""Standard deviation of the gain between boards (SC24; see joulegate.core.uncertainty.GAIN)."""

Load = Callable[[Random, int, float, float], list[float]]
"""Makes true power in mW, one value a millisecond, from a length and two levels."""


def constant(random: Random, length: int, low: float, high: float) -> list[float]:
    """The same power all the time."""
    return [random.uniform(low, high)] * length


def near_the_refresh(random: Random, length: int, low: float, high: float) -> list[float]:
    """A square wave whose period is near 100 ms: what beats with most sensors."""
    return _square(random, length, low, high, random.uniform(90, 115))


def square(random: Random, length: int, low: float, high: float) -> list[float]:
    """A square wave of any period from 15 ms to 3 s."""
    return _square(random, length, low, high, math.exp(random.uniform(math.log(15), math.log(3000))))


def _square(random: Random, length: int, low: float, high: float, period: float) -> list[float]:
    share, jitter = random.uniform(0.2, 0.8), random.choice((0.0, 0.0, 0.01, 0.05))
    powers: list[float] = []
    current, at = period, random.random() * period
    for _ in range(length):
        at += 1
        if at >= current:
            at -= current
            current = period * (1 + random.gauss(0, jitter))
        powers.append(high if at < share * current else low)
    return powers


def steps(random: Random, length: int, low: float, high: float) -> list[float]:
    """Levels that last half a second to six seconds."""
    powers: list[float] = []
    while len(powers) < length:
        powers += [random.uniform(low, high)] * int(random.uniform(500, 6000))
    return powers[:length]


def training(random: Random, length: int, low: float, high: float) -> list[float]:
    """Iterations of computing and waiting, a few per cent apart in length."""
    period = random.uniform(80, 900)
    powers: list[float] = []
    while len(powers) < length:
        whole = int(period * (1 + abs(random.gauss(0, 0.03))))
        busy = int(whole * random.uniform(0.55, 0.9))
        powers += [high * random.uniform(0.97, 1)] * busy + [1.3 * low] * (whole - busy)
    return powers[:length]


def noise(random: Random, length: int, low: float, high: float) -> list[float]:
    """Power that wanders, forgetting within 5 to 500 ms."""
    keep = math.exp(-1 / random.uniform(5, 500))
    state, powers = 0.0, []
    for _ in range(length):
        state = keep * state + math.sqrt(1 - keep * keep) * random.gauss(0, 1)
        powers.append(max(low, (low + high) / 2 + state * (high - low) / 5))
    return powers


def waves(random: Random, length: int, low: float, high: float) -> list[float]:
    """A sine of any period from 30 ms to 20 s."""
    period = math.exp(random.uniform(math.log(30), math.log(20_000)))
    phase = random.uniform(0, 2 * math.pi)
    middle, swing = (low + high) / 2, (high - low) / 2
    return [middle + swing * math.sin(phase + 2 * math.pi * at / period) for at in range(length)]


def burst(random: Random, length: int, low: float, high: float) -> list[float]:
    """Idle, then busy once, then idle."""
    begin, end = int(random.uniform(0, 0.4) * length), int(random.uniform(0.6, 1) * length)
    return [low] * begin + [high] * (end - begin) + [low] * (length - end)


LOADS: dict[str, Load] = {
    load.__name__: load for load in (constant, near_the_refresh, square, steps, training, noise, waves, burst)
}


@dataclass(frozen=True)
class Truth:
    """True cumulative energy of a load, to the millisecond."""

    energies_uj: Sequence[float]

    def energy_mj(self, start_ms: int, end_ms: int) -> float:
        """Energy that was drawn between two instants."""
        return (self.energies_uj[end_ms] - self.energies_uj[start_ms]) / 1000

    def mean_mw(self, start_ms: float, end_ms: float) -> float:
        """Mean power between two instants; before the first one it is the first power."""
        start, end = max(start_ms, 0.0), min(end_ms, len(self.energies_uj) - 1.0)
        if end <= start:
            return self.energies_uj[1]
        return (self._at(end) - self._at(start)) / (end - start)

    def _at(self, ms: float) -> float:
        whole = min(int(ms), len(self.energies_uj) - 2)
        before, after = self.energies_uj[whole], self.energies_uj[whole + 1]
        return before + (after - before) * (ms - whole)


def truth_of(powers_mw: Sequence[float]) -> Truth:
    """The truth behind powers, one a millisecond (mW x ms = uJ)."""
    return Truth([0.0, *accumulate(powers_mw)])


@dataclass(frozen=True)
class Board:
    """One board: a sensor, where its refreshes fall, and how far its gain is off."""

    sensor: Sensor
    period_ms: float
    phase_ms: float
    gain: float
    offset_mw: float = 0.0

    @classmethod
    def drawn(cls, random: Random, sensor: Sensor) -> Board:
        """A board of this kind of sensor, drawn at random."""
        period = sensor.period_ns / NS_PER_MS * random.uniform(0.995, 1.012)
        return cls(sensor, period, random.uniform(0, period), random.gauss(1, GAIN_SPREAD))

    def refreshes(self, truth: Truth, length_ms: float) -> Iterator[tuple[float, float]]:
        """Times and values of the sensor's refreshes, from one before the start on."""
        window = self.sensor.window_ns / NS_PER_MS
        at = self.phase_ms - self.period_ms
        while at < length_ms:
            yield at, self.gain * truth.mean_mw(at - window, at) + self.offset_mw
            at += self.period_ms

    def powers(self, random: Random, truth: Truth, length_ms: int, every_ms: float) -> list[Reading]:
        """What a poll of the power sees."""
        return [
            Reading(at_ns, instant_mw=round(power))
            for at_ns, power, _ in self._polled(random, truth, length_ms, every_ms)
        ]

    def counters(self, random: Random, truth: Truth, length_ms: int, every_ms: float) -> list[Reading]:
        """What a poll of a counter sees that is fed by the sensor and refreshed with it."""
        return [
            Reading(at_ns, counter_mj=1_000_000 + int(energy_uj / 1000))
            for at_ns, _, energy_uj in self._polled(random, truth, length_ms, every_ms)
        ]

    def _polled(
        self, random: Random, truth: Truth, length_ms: int, every_ms: float
    ) -> Iterator[tuple[int, float, float]]:
        refreshes = self.refreshes(truth, length_ms)
        _, power = next(refreshes)
        upcoming = next(refreshes, None)
        energy_uj, at = 0.0, 0.0
        while at < length_ms:
            while upcoming is not None and upcoming[0] <= at:
                power = upcoming[1]
                energy_uj += power * self.period_ms
                upcoming = next(refreshes, None)
            yield int(at * NS_PER_MS), power, energy_uj
            at += every_ms * random.uniform(0.9, 1.1)
