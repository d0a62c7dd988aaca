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
from joulegate.core.traces import Trace, TraceMeter

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
    sensors: tuple[Sensor, ...]
    seconds: int
    idle: bool = False
    """Near idle, and up to the vendor's 5 W off whatever it draws."""
    column: str | None = None
    """The column of a trace; the sensor is then not named, and has to be inferred."""


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


def noisy(poll: Poll) -> Poll:
    """The same readings of power, each half a per cent off by itself, so that the refreshes do not show."""

    def blurred(board: Board, random: Random, truth: Truth, length: int) -> list[Reading]:
        found = poll(board, random, truth, length)
        return [replace(one, instant_mw=round((one.instant_mw or 0) * random.gauss(1, 0.005))) for one in found]

    return blurred


_CONTINUOUS: Final = tuple(SENSORS[name] for name in ("a100", "turing", "volta", "gh200"))
_AVERAGE: Final = SENSORS["average-1s"]


def _foreign(period_ms: int, window_ms: float) -> Sensor:
    return Sensor("not listed", period_ms * NS_PER_MS, int(window_ms * NS_PER_MS), "made up")


_FOREIGN: Final = tuple(_foreign(period, period * seen) for period in (35, 50, 70, 200) for seen in (0.2, 0.25, 0.5, 1))
_FOREIGN_AVERAGES: Final = tuple(_foreign(period, 1000) for period in (20, 50))
"""Sensors that nobody has described: other periods, and shares of them that are seen."""

LOTS: Final = (
    Lot("power every 20 ms, 5 s", powers(20.0), (*_CONTINUOUS, _AVERAGE), 5),
    Lot("power every 10 ms, 8 s", powers(10.0), (*_CONTINUOUS, _AVERAGE), 8),
    Lot(
        "power every 100 ms, 20 s", powers(100.0), (SENSORS["a100"], SENSORS["turing"], SENSORS["gh200"], _AVERAGE), 20
    ),
    Lot("counter every 100 ms, 8 s", counters(100.0), _CONTINUOUS, 8),
    Lot("counter every second, 20 s", counters(1000.0), _CONTINUOUS, 20),
    Lot("counter every second, 60 s", counters(1000.0), _CONTINUOUS, 60),
    Lot("near idle and up to 5 W off, counter, 60 s", counters(1000.0), _CONTINUOUS, 60, idle=True),
    Lot("sensor not listed, power every 5 ms, 8 s", powers(5.0), _FOREIGN, 8, column="instant_mw"),
    Lot(
        "sensor not listed, noisy power every 20 ms, 8 s",
        noisy(powers(20.0)),
        (*_FOREIGN, *_FOREIGN_AVERAGES),
        8,
        column="power_mw",
    ),
    Lot("sensor not listed, counter every 100 ms, 8 s", counters(100.0), _FOREIGN, 8, column="energy_mj"),
)


def drawn(random: Random, lot: Lot) -> Draw:
    """One member of a population."""
    load = random.choice(list(LOADS))
    least, span = (10_000, 30_000) if lot.idle else (30_000, 400_000)
    low = random.uniform(least, 4 * least)
    length = lot.seconds * 1000 + _LEAD_MS + _LATEST_MS + _TAIL_MS
    truth = truth_of(LOADS[load](random, length, low, low + random.uniform(span / 20, span)))
    board = Board.drawn(random, random.choice(lot.sensors))
    if lot.idle:
        board = replace(board, offset_mw=random.uniform(-_VENDORS_MW, _VENDORS_MW))
    start = random.randrange(_LEAD_MS, _LEAD_MS + _LATEST_MS)
    end = start + lot.seconds * 1000
    readings = lot.poll(board, random, truth, length)
    return Draw(load, board.sensor, _measured(lot, board, readings, start, end), truth.energy_mj(start, end))


def _measured(lot: Lot, board: Board, readings: list[Reading], start_ms: int, end_ms: int) -> Measurement:
    start_ns, end_ns = start_ms * NS_PER_MS, end_ms * NS_PER_MS
    if lot.column is None:
        return measure_readings(readings, start_ns, end_ns, Instrument(board.sensor))
    values = tuple((one.counter_mj if one.instant_mw is None else one.instant_mw) or 0 for one in readings)
    trace = Trace(lot.name, tuple(one.at_ns for one in readings), {lot.column: values})
    return TraceMeter(trace).measure(start_ns, end_ns).measurement
