"""Trace files: recorded readings of one board as text, and their measurement.

A trace is CSV with a header: ``t_ms`` from any origin, then any of ``power_mw``,
``default_mw``, ``average_mw``, ``instant_mw`` (NVML's readings) and ``energy_mj``
(a cumulative counter). Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Final

from joulegate.core.curve import EnergyCurve, Instrument, Reading
from joulegate.core.errors import InvalidInputError
from joulegate.core.metering import NVML, Measurement, interval, measure
from joulegate.core.sensors import NS_PER_MS, SENSORS, Calibration, Sensor
from joulegate.core.uncertainty import Parts

COLUMNS: Final = ("energy_mj", "instant_mw", "power_mw", "average_mw", "default_mw")
"""The columns that can be measured, the one to be preferred first."""

_LARGEST: Final[Mapping[str, int]] = {
    "t_ms": 10**14,
    "energy_mj": 10**16,
    "power_mw": 10**7,
    "default_mw": 10**7,
    "average_mw": 10**7,
    "instant_mw": 10**7,
}
"""Beyond these a value is a mistake of unit: 3,000 years, 317 years of a megawatt, 10 kW from one board."""

_NAMED: Final = ("instant_mw", "average_mw")
_UNNAMED: Final = ("power_mw", "default_mw")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
_LONGEST_NUMBER: Final = 30
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class Trace:
    """Times in ns, strictly rising, and one value of each column for each of them."""

    name: str
    times_ns: tuple[int, ...]
    columns: Mapping[str, tuple[int, ...]]

    def column(self, wanted: str | None) -> str:
        """The column to measure: the one that is wanted, with or without its unit, or the best there is."""
        if wanted is None:
            return next(column for column in COLUMNS if column in self.columns)
        for column in COLUMNS:
            if column in self.columns and wanted in (column, column.rpartition("_")[0]):
                return column
        raise InvalidInputError(f"there is no column {wanted!r}; there are {', '.join(self.columns)}", self.name)

    def powers_mw(self) -> tuple[int, ...]:
        """The best column of power; raises :class:`InvalidInputError` where there is none."""
        for column in COLUMNS[1:]:
            if column in self.columns:
                return self.columns[column]
        raise InvalidInputError("there is no column of power", self.name)


def parse_trace(text: str, name: str) -> Trace:
    """Read a trace; raises :class:`InvalidInputError` that names the file ``name`` and the line."""
    rows = _rows(text)
    number, header = next(rows, (1, []))
    if not header or "t_ms" not in header:
        raise InvalidInputError("the first line must be a header with the column t_ms", f"{name}:{number}")
    repeated = [column for column, count in Counter(header).items() if count > 1]
    if repeated:
        raise InvalidInputError(f"the column {repeated[0]!r} is there twice", f"{name}:{number}")
    known = [column for column in header if column in COLUMNS]
    if not known:
        raise InvalidInputError(f"there is none of the columns {', '.join(COLUMNS)}", f"{name}:{number}")
    times: list[int] = []
    values: dict[str, list[int]] = {column: [] for column in known}
    for number, cells in rows:
        place = f"{name}:{number}"
        if len(cells) != len(header):
            raise InvalidInputError(f"{len(cells)} values where the header has {len(header)}", place)
        row = dict(zip(header, cells, strict=True))
        time_ns = _whole(row["t_ms"], "t_ms", NS_PER_MS, place)
        if times and time_ns <= times[-1]:
            word = "repeats" if time_ns == times[-1] else "is before"
            raise InvalidInputError(f"t_ms {row['t_ms'][:_LONGEST_NUMBER]} {word} the time of the line before", place)
        times.append(time_ns)
        for column in known:
            values[column].append(_whole(row[column], column, 1, place))
    if len(times) < _FEWEST:
        raise InvalidInputError("at least two readings are needed", f"{name}:{number}")
    return Trace(name, tuple(times), {column: tuple(values[column]) for column in known})


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is neither a comment nor empty."""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, [cell.strip() for cell in stripped.split(",")]


def _whole(cell: str, column: str, units: int, place: str) -> int:
    """One number in whole units; negative only for a time."""
    if not cell:
        raise InvalidInputError(f"{column} is missing", place)
    shown = cell[:_LONGEST_NUMBER]
    if len(cell) > _LONGEST_NUMBER or not _NUMBER.fullmatch(cell):
        raise InvalidInputError(f"{column} is {shown!r}, not a number", place)
    number = Decimal(cell)
    if number < 0 and column != "t_ms":
        raise InvalidInputError(f"{column} is {shown}, negative", place)
    if abs(number) > _LARGEST[column]:
        raise InvalidInputError(f"{column} is {shown}, beyond {_LARGEST[column]:,}", place)
    return round(number * units)


@dataclass(frozen=True, slots=True)
class TraceMeasurement:
    """A measurement, the sensor by which it was judged (``assumed`` where nobody named it), the lag put right."""

    measurement: Measurement
    column: str
    sensor: Sensor
    lag_ns: int
    assumed: bool


class TraceMeter:
    """Measures any window of one column of a trace.

    Without ``sensor`` the update period is inferred from the trace and every
    sensor of about that period is tried. The one with the widest interval is
    given. Time is put right by the middle of their lags, and the edge part holds
    what the window would hold at the ends of them.
    """

    def __init__(
        self,
        trace: Trace,
        *,
        column: str | None = None,
        calibration: Calibration | None = None,
        sensor: Sensor | None = None,
    ) -> None:
        """Build the curves; raises :class:`InvalidInputError` where there is no such column."""
        self.trace = trace
        self.column = trace.column(column)
        self._assumed = sensor is None
        sensors = [sensor] if sensor else candidates(trace, self.column)
        lags = sorted(candidate.lag_ns for candidate in sensors)
        self._lag_ns, self._doubt_ns = (lags[0] + lags[-1]) // 2, (lags[-1] - lags[0]) // 2
        readings = list(_readings(trace, self.column))
        self._curves = []
        for candidate in sensors:
            curve = EnergyCurve(_instrument(trace, candidate, calibration, self._lag_ns), len(readings) + 2)
            for reading in readings:
                curve.add(reading)
            curve.close()
            self._curves.append(curve)

    def measure(self, start_ns: int, end_ns: int) -> TraceMeasurement:
        """The energy of a window; raises :class:`InvalidInputError` where it is empty."""
        if end_ns <= start_ns:
            raise InvalidInputError(
                f"the window from {start_ns / 1e6:g} to {end_ns / 1e6:g} ms is empty", self.trace.name
            )
        tried = [self._measured(curve, start_ns, end_ns) for curve in self._curves]
        return _said(max(tried, key=_width))

    def _measured(self, curve: EnergyCurve, start_ns: int, end_ns: int) -> TraceMeasurement:
        found = _allow_for_lag(curve, measure(curve, start_ns, end_ns, NVML), start_ns, end_ns, self._doubt_ns)
        return TraceMeasurement(found, self.column, curve.instrument.sensor, self._lag_ns, self._assumed)


def measure_trace(
    text: str,
    name: str,
    *,
    start_ms: Decimal | int | None = None,
    end_ms: Decimal | int | None = None,
    column: str | None = None,
    calibration: Calibration | None = None,
    sensor: Sensor | None = None,
) -> TraceMeasurement:
    """Measure a window of a trace, without bounds all of it, as :class:`TraceMeter` does.

    Raises :class:`InvalidInputError` for a trace that cannot be read and a window
    that is empty.
    """
    trace = parse_trace(text, name)
    meter = TraceMeter(trace, column=column, calibration=calibration, sensor=sensor)
    start_ns = trace.times_ns[0] if start_ms is None else round(start_ms * NS_PER_MS)
    end_ns = trace.times_ns[-1] if end_ms is None else round(end_ms * NS_PER_MS)
    return meter.measure(start_ns, end_ns)


def _allow_for_lag(curve: EnergyCurve, found: Measurement, start_ns: int, end_ns: int, doubt_ns: int) -> Measurement:
    """Widen the edges by what the window would hold if the lag were ``doubt_ns`` more or less."""
    parts = found.uncertainty
    if parts is None or found.energy_mj is None or doubt_ns == 0:
        return found
    moved = [curve.energy_at(end_ns + by) - curve.energy_at(start_ns + by) for by in (-doubt_ns, doubt_ns)]
    edge_mj = parts.edge_mj + max(abs(energy_mj - found.energy_mj) for energy_mj in moved)
    return replace(
        found, uncertainty=interval(found.energy_mj, Parts(parts.gain_mj, parts.duty_mj, edge_mj, parts.gap_mj))
    )


def _said(result: TraceMeasurement) -> TraceMeasurement:
    """With flags for what was assumed and corrected."""
    found = result.measurement
    if found.energy_mj is None:
        return result
    more = {"lag_corrected", "sensor_assumed"} if result.assumed else {"lag_corrected"}
    return replace(result, measurement=replace(found, flags=tuple(sorted(more.union(found.flags)))))


def _width(tried: TraceMeasurement) -> int:
    uncertainty = tried.measurement.uncertainty
    return uncertainty.upper_mj - uncertainty.lower_mj if uncertainty else 0


def _readings(trace: Trace, chosen: str) -> Iterator[Reading]:
    """The chosen column; beside a counter the best power as well, to fill from and to compare with."""
    counters = trace.columns[chosen] if chosen == "energy_mj" else None
    powers: Sequence[int] | None
    if counters is None:
        powers = trace.columns[chosen]
    else:
        powers = next((trace.columns[name] for name in COLUMNS[1:] if name in trace.columns), None)
    for index, time_ns in enumerate(trace.times_ns):
        yield Reading(
            time_ns,
            counter_mj=counters[index] if counters is not None else None,
            instant_mw=powers[index] if powers is not None else None,
        )


def _instrument(trace: Trace, sensor: Sensor, calibration: Calibration | None, lag_ns: int) -> Instrument:
    spacing = median(b - a for a, b in pairwise(trace.times_ns))
    max_gap_ns = 3 * max(int(spacing), sensor.period_ns)
    return Instrument(sensor, None, calibration, max_gap_ns, lag_ns)


def candidates(trace: Trace, column: str) -> list[Sensor]:
    """The sensors that may be behind a column: by its name, its twin, and how often and how fast it changes."""
    averaged = SENSORS["average-1s"]
    values = trace.columns[column]
    if column in _UNNAMED:  # NVML's default is one of the two others, by driver and board
        column = next((twin for twin in _NAMED if _same(values, trace.columns.get(twin, ()))), column)
    if column == "average_mw":
        return [averaged]
    may_average = column in _UNNAMED and not _jumps(values)
    fitting = [sensor for sensor in SENSORS.values() if may_average or sensor is not averaged]
    period_ns = update_period(trace.times_ns, values)
    spacing_ns = median(b - a for a, b in pairwise(trace.times_ns))
    if period_ns is None or not 2 * spacing_ns <= period_ns <= _LONGEST_PERIOD_NS:
        return fitting  # read too seldom to see the refreshes, or power hardly changes
    nearest_ns = min(fitting, key=lambda sensor: abs(sensor.period_ns - period_ns)).period_ns
    if not _NEAR[0] <= Fraction(period_ns, nearest_ns) <= _NEAR[1]:  # a sensor that nobody has described
        return [_unlisted(period_ns, share) for share in sorted({sensor.seen for sensor in fitting})]
    return [sensor for sensor in fitting if sensor.period_ns == nearest_ns]


_LONGEST_PERIOD_NS: Final = 250 * NS_PER_MS
"""Rarer changes are those of the load: SC24 found 15 to 100 ms on 70 boards."""

_NEAR: Final = (Fraction(3, 4), Fraction(4, 3))
"""How far an inferred period may be from a listed one: SC24 found single boards within 2 %, readings blur the rest."""


def _unlisted(period_ns: int, seen: Fraction) -> Sensor:
    """A sensor of a period that is not listed, which sees a share of time that some listed one sees."""
    return Sensor("unlisted", period_ns, round(period_ns * seen), "the trace: its period; SC24: the share that is seen")


def _same(values: Sequence[int], others: Sequence[int]) -> bool:
    """Whether two columns are one reading, taken microseconds apart: a refresh may fall between."""
    equal = sum(a == b for a, b in zip(values, others, strict=False))
    return equal * 10 >= len(values) * 9


def _jumps(values: Sequence[int]) -> bool:
    """Whether one refresh makes 40 % of the range: a mean over ten refreshes would need four times the range."""
    return max(abs(b - a) for a, b in pairwise(values)) * 5 > 2 * (max(values) - min(values)) > 0


def update_period(times_ns: Sequence[int], values: Iterable[int]) -> int | None:
    """The usual time between two changes of a value in ns; None where it changes less than twice."""
    changes = [time for time, (a, b) in zip(times_ns[1:], pairwise(values), strict=True) if a != b]
    return int(median(b - a for a, b in pairwise(changes))) if len(changes) > _FEWEST else None


def as_json(result: TraceMeasurement) -> dict[str, object]:
    """The form of ``joulegate meter --json``: whole numbers as decimal strings."""
    found, sensor = result.measurement, result.sensor
    parts = found.uncertainty
    return {
        "energy_mj": None if found.energy_mj is None else str(found.energy_mj),
        "duration_ns": str(found.duration_ns),
        "method": found.method.value,
        "boundary": found.boundary.value,
        "coverage": round(found.coverage, 6),
        "uncertainty": parts
        and {
            "lower_mj": str(parts.lower_mj),
            "upper_mj": str(parts.upper_mj),
            "confidence": float(parts.confidence),
            "gain_mj": str(parts.gain_mj),
            "duty_mj": str(parts.duty_mj),
            "edge_mj": str(parts.edge_mj),
            "gap_mj": str(parts.gap_mj),
        },
        "segments": [
            {
                "start_ns": str(segment.start_ns),
                "end_ns": str(segment.end_ns),
                "method": segment.method.value,
                "energy_mj": None if segment.energy_mj is None else str(segment.energy_mj),
            }
            for segment in found.segments
        ],
        "flags": list(found.flags),
        "column": result.column,
        "sensor": {
            "name": sensor.name,
            "assumed": result.assumed,
            "period_ns": str(sensor.period_ns),
            "window_ns": str(sensor.window_ns),
            "lag_ns": str(result.lag_ns),
        },
    }
