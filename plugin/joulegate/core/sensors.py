"""What is known of the power sensors behind NVML: update period, averaging window, lag.

A board's firmware refreshes its power reading every ``period``, with the mean
over the ``window`` before; the rest of the period is never seen. Periods and
windows are measurements, not promises of the vendor.

Sources:
    SC24: Z. Yang, K. Adamek, W. Armour, "Accurate and Convenient Energy
        Measurements for GPUs: A Detailed Study of NVIDIA GPU's Built-in Power
        Sensor", SC'24, arXiv 2312.02741, section 4 and the authors' table of
        results (github.com/JimZeyuYang/GPU_Power_Benchmark, MIT licence).
    NVML: NVIDIA, NVML API reference, ``nvmlDeviceGetPowerUsage``: a mean over one
        second from Ampere on, GA100 excepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.units import NS_PER_SECOND, divide_half_even

NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sensor:
    """One kind of power reading: ``window_ns`` of every ``period_ns`` is seen."""

    name: str
    period_ns: int
    window_ns: int
    source: str

    @property
    def lag_ns(self) -> int:
        """How far a reading trails what it stands for, on average.

        A reading is the mean over the window before its refresh (centre: half a
        window back) and is held for one period (half a period more). SC24
        measured no further delay than 0-5 ms on any board but one.
        """
        return (self.window_ns + self.period_ns) // 2

    @property
    def seen(self) -> Fraction:
        """The share of time that the sensor looks at, at most 1."""
        return min(Fraction(self.window_ns, self.period_ns), Fraction(1))


def _sensor(name: str, period_ms: int, window_ms: int, source: str) -> Sensor:
    return Sensor(name, period_ms * NS_PER_MS, window_ms * NS_PER_MS, source)


SENSORS: Final = {
    sensor.name: sensor
    for sensor in (
        _sensor("gh200", 100, 20, "SC24, GH200, GPU side"),
        _sensor("quadro-rtx-8000", 100, 20, "SC24, table, four boards"),
        _sensor("a100", 100, 25, "SC24, GA100"),
        _sensor("h100-instant", 100, 25, "SC24, GH100"),
        _sensor("turing", 100, 100, "SC24, TU10x"),
        _sensor("ampere-instant", 100, 100, "SC24, GA10x"),
        _sensor("ada-instant", 100, 100, "SC24, AD10x"),
        _sensor("average-1s", 100, 1000, "NVML; SC24, Ampere (less GA100), Ada, Hopper: average"),
        _sensor("volta", 20, 10, "SC24, GV100"),
        _sensor("pascal", 20, 10, "SC24, GP10x"),
    )
}
"""Every kind of reading that is known, by the name that ``--sensor`` takes."""


def sensor_named(name: str) -> Sensor:
    """The sensor of this name; raises :class:`InvalidInputError` with the list of names."""
    try:
        return SENSORS[name]
    except KeyError:
        raise InvalidInputError(f"no sensor is called {name!r}; known: {', '.join(SENSORS)}", "sensor") from None


WIDEST: Final = SENSORS["gh200"]
"""Taken for a board that is not known: the least share of time of all sensors of accelerators."""

_MODELS: Final = (
    ("GH200", "gh200"),
    ("QUADRO RTX 8000", "quadro-rtx-8000"),
    ("A100", "a100"),
    ("A800", "a100"),
    ("A30", "a100"),
    ("H100", "h100-instant"),
    ("H200", "h100-instant"),
    ("H800", "h100-instant"),
    ("V100", "volta"),
    ("TITAN V", "volta"),
    ("P100", "pascal"),
    ("P40", "pascal"),
    ("GTX 10", "pascal"),
    ("T4", "turing"),
    ("RTX 20", "turing"),
    ("TITAN RTX", "turing"),
    ("A10", "ampere-instant"),
    ("A40", "ampere-instant"),
    ("A5000", "ampere-instant"),
    ("A6000", "ampere-instant"),
    ("RTX 30", "ampere-instant"),
    ("L4", "ada-instant"),
    ("RTX 40", "ada-instant"),
)
"""A part of the name that NVML gives, and the sensor; the first that fits counts."""


def sensor_of_model(model: str) -> tuple[Sensor, bool]:
    """The sensor of a board by the name that NVML gives, and whether it is known."""
    for part, name in _MODELS:
        if re.search(rf"\b{part}", model.upper()):
            return SENSORS[name], True
    return WIDEST, False


_LEAST_GAIN: Final = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Calibration:
    """One board against an external meter: reading = ``gain`` x true + ``offset_mw``.

    ``by`` and ``on`` say who calibrated and when; both are shown with the figure.
    """

    gain: Fraction
    offset_mw: Fraction
    by: str = ""
    on: str = ""

    def __post_init__(self) -> None:
        """Refuse a gain that no board has: a swapped or misplaced figure."""
        if not _LEAST_GAIN <= self.gain <= 1 / _LEAST_GAIN:
            raise InvalidInputError(f"a gain of {float(self.gain):g} is outside 0.5 to 2", "calibration")

    def true_energy(self, energy: int, duration_ns: int, units_per_mj: int) -> int:
        """Energy that was drawn where the sensor shows ``energy``; never below zero, rounded half even.

        ``energy`` is in any unit of which ``units_per_mj`` make one millijoule.
        """
        true = (energy - self._offset(duration_ns, units_per_mj)) / self.gain
        return max(0, divide_half_even(true.numerator, true.denominator))

    def shown_energy(self, energy: int, duration_ns: int, units_per_mj: int) -> int:
        """The reverse of :meth:`true_energy`."""
        shown = energy * self.gain + self._offset(duration_ns, units_per_mj)
        return max(0, divide_half_even(shown.numerator, shown.denominator))

    def _offset(self, duration_ns: int, units_per_mj: int) -> Fraction:
        return self.offset_mw * duration_ns * units_per_mj / NS_PER_SECOND


def parse_calibration(text: str) -> Calibration:
    """Read ``G,O``: gain and offset in mW; raises :class:`InvalidInputError`."""
    parts = text.split(",")
    try:
        gain, offset = (Fraction(part.strip()) for part in parts)
    except (ValueError, ZeroDivisionError):
        raise InvalidInputError(f"{text[:60]!r} is not G,O: a gain and an offset in mW", "calibration") from None
    return Calibration(gain, offset)


_COLUMNS: Final = ["uuid", "gain", "offset_mw", "by", "on"]


def calibration_row(uuid: str, found: Calibration, by: str, on: str) -> dict[str, str]:
    """A line of a file of calibrations, by column; raises :class:`InvalidInputError` where a cell cannot be."""
    row = dict(zip(_COLUMNS, (uuid, str(float(found.gain)), str(round(found.offset_mw)), by, on), strict=True))
    for column, cell in row.items():
        if "," in cell or not cell.strip() or not cell.isprintable():
            raise InvalidInputError(f"{cell[:60]!r} is empty, or has a comma", column)
    return row


def parse_calibrations(text: str, name: str) -> dict[str, Calibration]:
    """Read the calibrations of boards, one a line: ``uuid,gain,offset_mw,by,on`` under that header.

    ``on`` is a date such as 2026-11-23. Raises :class:`InvalidInputError` that names the file ``name`` and the line.
    """
    found: dict[str, Calibration] = {}
    header = False
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{name}:{number}"
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip() or line.startswith("#"):
            continue
        if not header:
            header = cells == _COLUMNS
            if not header:
                raise InvalidInputError(f"the first line must be {','.join(_COLUMNS)}", place)
            continue
        if len(cells) != len(_COLUMNS) or not all(cells):
            raise InvalidInputError(f"{','.join(_COLUMNS)} are wanted, none of them empty", place)
        uuid, gain, offset_mw, by, on = cells
        if uuid in found:
            raise InvalidInputError(f"{uuid} is there twice", place)
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", on):
            raise InvalidInputError(f"{on[:60]!r} is not a date such as 2026-11-23", place)
        try:
            one = parse_calibration(f"{gain},{offset_mw}")
        except InvalidInputError as error:
            raise InvalidInputError(error.message, place) from None
        found[uuid] = Calibration(one.gain, one.offset_mw, by, on)
    return found
