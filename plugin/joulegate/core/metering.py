"""Readings of a device in, cumulative energy and measurements out.

The energy of a device is one non-decreasing function E(t) in whole millijoules
(:class:`~joulegate.core.curve.EnergyCurve`). A window is E(b) - E(a), so windows
that meet add up exactly to the window around them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from joulegate.core.curve import EnergyCurve, Piece, Reading
from joulegate.core.sensors import Calibration, Sensor

__all__ = ["Boundary", "EnergyCurve", "Measurement", "Method", "Reading", "Segment", "Uncertainty", "measure"]


class Method(StrEnum):
    """How a figure was measured, best first (the order of truth)."""

    NVML_COUNTER = "nvml_counter"
    NVML_COUNTER_AND_POWER = "nvml_counter_and_power"
    NVML_POWER_INTEGRAL = "nvml_power_integral"
    RAPL_COUNTER = "rapl_counter"
    ACPI_POWER_INTEGRAL = "acpi_power_integral"
    REPLAYED = "replayed"
    DECLARED = "declared"
    MODELLED = "modelled"
    NOT_MEASURED = "not_measured"


class Boundary(StrEnum):
    """What a figure contains; figures of different boundaries are never added."""

    ACCELERATOR = "accelerator"
    NODE = "node"
    IT = "it"
    FACILITY = "facility"


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """An interval for the true energy, and the half-widths that it is made of, all in mJ.

    ``confidence`` is a decimal string. The parts are at that confidence: gain of
    the board, share of time that the sensor does not look at, edges of the window,
    time without readings.
    """

    lower_mj: int
    upper_mj: int
    confidence: str
    gain_mj: int
    duty_mj: int
    edge_mj: int
    gap_mj: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a measurement that was measured in one way; ``energy_mj`` None is a gap."""

    start_ns: int
    end_ns: int
    method: Method
    energy_mj: int | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Energy over a window, with everything that is needed to judge it.

    ``energy_mj`` is None where nothing was measured, which is not zero. Where
    ``coverage`` (0..1, share of the window's time) is below 1 it holds the
    measured part only, and the gap part of the uncertainty says what the rest may be.
    """

    energy_mj: int | None
    duration_ns: int
    method: Method
    boundary: Boundary
    coverage: float
    uncertainty: Uncertainty | None
    segments: tuple[Segment, ...] = ()
    flags: tuple[str, ...] = ()
