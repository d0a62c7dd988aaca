"""One window of a board and a load that are drawn at random, measured as the meter would, beside the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from bench.boards import LOADS, Board, Truth, truth_of
from joulegate.core.curve import Instrument, Reading
from joulegate.core.metering import Measurement, measure_readings
from joulegate.core.sensors import NS_PER_MS, SENSORS, Sensor

Poll = Callable[[Board, Random, Truth, int], list[Reading]]

_LEAD_MS: Final = 1_500
_LATEST_MS: Final = 700
_TAIL_MS: Final = 1_500
_VENDORS_MW: Final = 5_000


@dataclass(frozen=True)
class Lot:
    """A population: how its boards are read and for how long."""

    name: str
    poll: Poll
    sensors: tuple[str, ...]
    seconds: int
    idle: bool = False
    """Near idle, and up to the vendor's 5 W off whatever it draws."""


@dataclass(frozen=True)
class Draw:
    """What was drawn, measured and true."""

    load: str
    sensor: Sensor
    found: Measurement
    true_mj: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        interval = self.found.uncertainty
        return interval is not None and interval.lower_mj <= self.true_mj <= interval.upper_mj

    @property
    def half_width(self) -> float:
        """Half of the interval as a share of the energy."""
        interval, energy_mj = self.found.uncertainty, self.found.energy_mj
        return (interval.upper_mj - interval.lower_mj) / 2 / energy_mj if interval and energy_mj else 0.0


def powers(every_ms: float) -> Poll:
    """Reading the power so often."""
    return lambda board, random, truth, length: board.powers(random, truth, length, every_ms)


def counters(every_ms: float) -> Poll:
    """Reading the counter so often."""
    return lambda board, random, truth, length: board.counters(random, truth, length, every_ms)


_CONTINUOUS: Final = ("a100", "turing", "volta", "gh200")

LOTS: Final = (
    Lot("power every 20 ms, 5 s", powers(20.0), (*_CONTINUOUS, "average-1s"), 5),
    Lot("power every 10 ms, 8 s", powers(10.0), (*_CONTINUOUS, "average-1s"), 8),
    Lot("power every 100 ms, 20 s", powers(100.0), ("a100", "turing", "gh200", "average-1s"), 20),
    Lot("counter every 100 ms, 8 s", counters(100.0), _CONTINUOUS, 8),
    Lot("counter every second, 20 s", counters(1000.0), _CONTINUOUS, 20),
    Lot("counter every second, 60 s", counters(1000.0), _CONTINUOUS, 60),
    Lot("near idle and up to 5 W off, counter, 60 s", counters(1000.0), _CONTINUOUS, 60, idle=True),
)


def drawn(random: Random, lot: Lot) -> Draw:
    """One member of a population."""
    load = random.choice(list(LOADS))
    least, span = (10_000, 30_000) if lot.idle else (30_000, 400_000)
    low = random.uniform(least, 4 * least)
    length = lot.seconds * 1000 + _LEAD_MS + _LATEST_MS + _TAIL_MS
    truth = truth_of(LOADS[load](random, length, low, low + random.uniform(span / 20, span)))
    board = Board.drawn(random, SENSORS[random.choice(lot.sensors)])
    if lot.idle:
        board = replace(board, offset_mw=random.uniform(-_VENDORS_MW, _VENDORS_MW))
    start = random.randrange(_LEAD_MS, _LEAD_MS + _LATEST_MS)
    end = start + lot.seconds * 1000
    readings = lot.poll(board, random, truth, length)
    found = measure_readings(readings, start * NS_PER_MS, end * NS_PER_MS, Instrument(board.sensor))
    return Draw(load, board.sensor, found, truth.energy_mj(start, end))
