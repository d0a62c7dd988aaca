"""Readings of a device in, cumulative energy and measurements out.

The energy of a device is one non-decreasing function E(t) in whole millijoules
(:class:`~joulegate.core.curve.EnergyCurve`). A window is E(b) - E(a), so windows
that meet add up exactly to the window around them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import Final

from joulegate.core.curve import EnergyCurve, How, Instrument, Piece, Reading
from joulegate.core.uncertainty import COHERENCE_PERIODS, CONFIDENCE, Parts, duty_part, edge_part, gain_part, gap_part
from joulegate.core.units import NS_PER_SECOND

__all__ = [
    "NVML",
    "REPLAYED",
    "Boundary",
    "EnergyCurve",
    "Instrument",
    "Measurement",
    "Method",
    "Methods",
    "Reading",
    "Segment",
    "Uncertainty",
    "interval",
    "measure",
    "measure_readings",
]


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


@dataclass(frozen=True, slots=True)
class Methods:
    """What the pieces of a curve are called, by the kind of device that was read."""

    counter: Method
    power: Method
    both: Method


NVML = Methods(Method.NVML_COUNTER, Method.NVML_POWER_INTEGRAL, Method.NVML_COUNTER_AND_POWER)
REPLAYED = Methods(Method.REPLAYED, Method.REPLAYED, Method.REPLAYED)


def measure(
    curve: EnergyCurve,
    start_ns: int,
    end_ns: int,
    methods: Methods = NVML,
    boundary: Boundary = Boundary.ACCELERATOR,
) -> Measurement:
    """The energy of ``[start_ns, end_ns)``; raises ``ValueError`` for an empty window."""
    if end_ns <= start_ns:
        message = f"a window from {start_ns} ns to {end_ns} ns is empty"
        raise ValueError(message)
    duration_ns = end_ns - start_ns
    pieces = list(curve.pieces_between(start_ns, end_ns))
    segments = tuple(_segment(curve, begin, end, piece, methods) for begin, end, piece in pieces)
    covered_ns = sum(end - begin for begin, end, piece in pieces if piece.how is not How.GAP)
    flags = {piece.why for _, _, piece in pieces if piece.why}
    if curve.instrument.calibration is not None:
        flags.add("calibrated")
    if _disagree(curve):
        flags.add("counter_and_power_disagree")
    if covered_ns == 0:
        return Measurement(None, duration_ns, Method.NOT_MEASURED, boundary, 0.0, None, segments, tuple(sorted(flags)))
    hows = {piece.how for _, _, piece in pieces} - {How.GAP}
    method = methods.both if len(hows) > 1 else methods.counter if How.COUNTER in hows else methods.power
    energy_mj = curve.energy_at(end_ns) - curve.energy_at(start_ns)
    uncertainty = _uncertainty(curve, start_ns, end_ns, energy_mj, duration_ns - covered_ns)
    coverage = covered_ns / duration_ns
    return Measurement(energy_mj, duration_ns, method, boundary, coverage, uncertainty, segments, tuple(sorted(flags)))


def measure_readings(
    readings: Iterable[Reading],
    start_ns: int,
    end_ns: int,
    instrument: Instrument,
    methods: Methods = NVML,
) -> Measurement:
    """The energy of ``[start_ns, end_ns)`` from readings that are all at hand."""
    curve = EnergyCurve(instrument)
    for reading in readings:
        curve.add(reading)
    curve.close()
    return measure(curve, start_ns, end_ns, methods)


_AGREEMENT: Final = (Fraction(95, 100), Fraction(105, 100))
_COMPARED_NS: Final = 60 * NS_PER_SECOND
"""How well, and from when on, counter and integral of power must agree (field reports: within 1-2 %)."""


def _disagree(curve: EnergyCurve) -> bool:
    """Whether counter and power, read side by side for a minute or more, say different things."""
    if curve.cross_check is None:
        return False
    ratio, compared_ns = curve.cross_check
    return compared_ns >= _COMPARED_NS and not _AGREEMENT[0] <= ratio <= _AGREEMENT[1]


def _segment(curve: EnergyCurve, begin: int, end: int, piece: Piece, methods: Methods) -> Segment:
    if piece.how is How.GAP:
        return Segment(begin, end, Method.NOT_MEASURED, None)
    energy_mj = curve.energy_at(end) - curve.energy_at(begin)
    return Segment(begin, end, methods.counter if piece.how is How.COUNTER else methods.power, energy_mj)


def _uncertainty(curve: EnergyCurve, start_ns: int, end_ns: int, energy_mj: int, gap_ns: int) -> Uncertainty:
    """Parts and interval of one window; see :mod:`joulegate.core.uncertainty`."""
    instrument = curve.instrument
    sensor = instrument.sensor
    context_ns = COHERENCE_PERIODS * sensor.period_ns // 2
    counted = any(piece.how is How.COUNTER for _, _, piece in curve.pieces_between(start_ns, end_ns))
    spacing_ns = max(sensor.period_ns, curve.knot_spacing(start_ns, end_ns))
    powers = curve.powers(start_ns - context_ns, end_ns + context_ns, spacing_ns)
    # A counter adds up every refresh, however seldom it is read.
    seen = sensor.window_ns / (sensor.period_ns if counted else max(sensor.period_ns, curve.power_spacing_ns))
    limit_mw = instrument.limit_mw or ceil(2 * max(powers, default=0.0))
    parts = Parts(
        gain_mj=gain_part(energy_mj, end_ns - start_ns - gap_ns, calibrated=instrument.calibration is not None),
        duty_mj=duty_part(powers, spacing_ns, end_ns - start_ns, seen),
        edge_mj=edge_part(
            *_edge(curve, max(start_ns, curve.known_from_ns or start_ns)),
            *_edge(curve, min(end_ns, curve.known_until_ns or end_ns)),
        ),
        gap_mj=gap_part(gap_ns, limit_mw),
    )
    return interval(energy_mj, parts)


def _edge(curve: EnergyCurve, at_ns: int) -> tuple[tuple[float, int], tuple[float, int]]:
    """What an edge may be wrong by: power there x half a refresh, change there x an eighth of a long window.

    A mean over a window that is centred on the edge misplaces a step of power by at most an
    eighth of the window's length, at the edge itself.
    """
    sensor = curve.instrument.sensor
    spacing_ns = max(sensor.period_ns, curve.knot_spacing_at(at_ns))
    reach_ns = max(sensor.window_ns, spacing_ns)
    near = curve.powers(at_ns - reach_ns, at_ns + reach_ns, spacing_ns) or [0.0]
    beyond_ns = max(0, sensor.window_ns - sensor.period_ns)
    return (max(near), spacing_ns // 2), (max(near) - min(near), beyond_ns // 8)


def interval(energy_mj: int, parts: Parts) -> Uncertainty:
    """The interval around a figure; what was drawn in gaps is never less than nothing, so it lies above."""
    half = parts.combined()
    middle = energy_mj + parts.gap_mj
    return Uncertainty(
        lower_mj=max(0, middle - half),
        upper_mj=middle + half,
        confidence=CONFIDENCE,
        gain_mj=parts.gain_mj,
        duty_mj=parts.duty_mj,
        edge_mj=parts.edge_mj,
        gap_mj=parts.gap_mj,
    )
