"""Bodies of the HTTP API, version 1: the one place where their JSON fields are named.

A body is a dataclass whose fields have the names of the JSON and the marks of
:mod:`joulegate.schema`. Quantities leave as decimal strings and come in as such,
or as whole JSON numbers up to 2**53 - 1. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any, Final, TypeVar

from joulegate.core.encoding import later
from joulegate.core.metering import Boundary, Method, Uncertainty
from joulegate.core.periods import format_instant
from joulegate.core.records import (
    LATER,
    CrossCheck,
    DeviceUse,
    EfficiencyRecord,
    HostEnergy,
    Interval,
    Kind,
    Measuring,
    Opinion,
    Quality,
    Run,
    RunOutcome,
    Source,
    WorkDone,
)
from joulegate.core.sensors import Calibration
from joulegate.core.units import Energy
from joulegate.schema import (
    STRICT,
    Count,
    Flags,
    Identity,
    Items,
    Line,
    Mj,
    Moment,
    Ns,
    Number,
    Ratio,
    Text,
    Word,
)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class UncertaintyBody:
    """An interval for the true energy, and half-widths at ``confidence`` (a decimal string)."""

    __pydantic_config__ = STRICT
    lower_mj: Mj
    upper_mj: Mj
    confidence: Annotated[str, Text(12, r"^0\.[0-9]+$")]
    gain_mj: Mj
    duty_mj: Mj
    edge_mj: Mj
    gap_mj: Mj


@dataclass(frozen=True, slots=True)
class RunBody:
    """Which run; cluster, namespace and site are checked against the token."""

    __pydantic_config__ = STRICT
    uid: Identity
    pipeline: Line | None = None
    step: Line | None = None
    attempt: Annotated[int, Count(1, 1_000_000)] = 1
    cluster: Line = "local"
    namespace: Line = "default"
    pod_uid: Identity | None = None
    site: Line | None = "default"


@dataclass(frozen=True, slots=True)
class IntervalBody:
    """Energy of one device inside one UTC quarter-hour; ``energy_mj`` null is not measured."""

    __pydantic_config__ = STRICT
    start: Moment
    end: Moment
    energy_mj: Mj | None
    method: Method
    boundary: Boundary
    coverage: Annotated[float, Number(0, 1)]
    uncertainty: UncertaintyBody | None = None
    flags: Flags = ()


@dataclass(frozen=True, slots=True)
class CrossCheckBody:
    """The integral of power over the counter's difference, and for how long both were read."""

    __pydantic_config__ = STRICT
    integral_over_counter: Annotated[float, Number(0)]
    compared_ns: Ns


@dataclass(frozen=True, slots=True)
class CalibrationBody:
    """Reading = ``gain`` x true + ``offset_mw``, and who found that when."""

    __pydantic_config__ = STRICT
    gain: Ratio
    offset_mw: Ratio
    by: Line
    on: Line


@dataclass(frozen=True, slots=True)
class DeviceBody:
    """One accelerator and its intervals."""

    __pydantic_config__ = STRICT
    uuid: Identity
    model: Line
    intervals: Annotated[tuple[IntervalBody, ...], Items(10_000)]
    cross_check: CrossCheckBody | None = field(default=None, metadata=LATER)
    calibration: CalibrationBody | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True)
class HostBody:
    """Energy of the host; null is not measured."""

    __pydantic_config__ = STRICT
    energy_mj: Mj | None
    method: Word


@dataclass(frozen=True, slots=True)
class WorkBody:
    """A measured window of the work: ``amount`` of ``unit``, done ``repeats`` times."""

    __pydantic_config__ = STRICT
    name: Line
    unit: Word
    amount: Annotated[int, Count()]
    repeats: Annotated[int, Count(1)]
    start: Moment
    end: Moment
    energy_mj: Mj | None
    uncertainty: UncertaintyBody | None = None


@dataclass(frozen=True, slots=True)
class QualityBody:
    """A figure of merit, over ``n`` samples."""

    __pydantic_config__ = STRICT
    name: Line
    value: Annotated[float, Number()]
    n: Annotated[int, Count()] | None = None
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class MeasuringBody:
    """What measuring cost the run."""

    __pydantic_config__ = STRICT
    readings: Annotated[int, Count()]
    failures: Annotated[int, Count()]
    cpu_ns: Ns
    longest_ns: Ns


@dataclass(frozen=True, slots=True)
class OpinionBody:
    """What another tool says of the same run, never charged; null is not measured."""

    __pydantic_config__ = STRICT
    tool: Line
    accelerator_mj: Mj | None
    host_mj: Mj | None
    duration_ns: Ns
    reason: Annotated[str, Text(253, r"^[^\x00-\x1f\x7f-\x9f]*$")] | None = None


@dataclass(frozen=True, slots=True)
class RecordBody:
    """``POST /v1/records``: one EfficiencyRecord. Prices and factors never come from the sender."""

    __pydantic_config__ = STRICT
    record_id: Identity
    run: RunBody
    kind: Kind
    started_at: Moment
    ended_at: Moment
    outcome: RunOutcome
    devices: Annotated[tuple[DeviceBody, ...], Items()]
    host: HostBody
    source: Source
    software: Line
    model: Line | None = None
    variant: Line | None = None
    work: Annotated[tuple[WorkBody, ...], Items()] = ()
    quality: Annotated[tuple[QualityBody, ...], Items()] = ()
    measuring: MeasuringBody | None = field(default=None, metadata=LATER)
    opinions: Annotated[tuple[OpinionBody, ...], Items(16)] = field(default=(), metadata=LATER)


_NAME_OF_QUANTITY: Final = re.compile(r"(.*_)?(mj|mw|ug|ul|micros|ns)(_per_[a-z]+)?")


def to_json(value: object) -> Any:  # noqa: ANN401, PLR0911 -- JSON; one line a type
    """Any value as JSON.

    Quantities, known by the unit at the end of their name, are decimal strings;
    instants are RFC 3339 with ``Z``. Fields that came later are left out while they say nothing.
    """
    if is_dataclass(value) and not isinstance(value, type):
        absent = {name for name, default in later(type(value)).items() if getattr(value, name) == default}
        parts = (part.name for part in fields(value) if part.name not in absent)
        return {name: _field(name, getattr(value, name)) for name in parts}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _field(str(key), item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def _field(name: str, value: object) -> Any:  # noqa: ANN401 -- JSON
    if isinstance(value, int) and not isinstance(value, bool) and _NAME_OF_QUANTITY.fullmatch(name):
        return str(value)
    return to_json(value)


def record_body(record: EfficiencyRecord) -> dict[str, Any]:
    """The body of ``POST /v1/records``; :func:`record_of` reads it back to an equal record."""
    body: dict[str, Any] = to_json(
        RecordBody(
            record_id=record.record_id,
            run=RunBody(**_same(record.run)),
            kind=record.kind,
            started_at=record.started_at,
            ended_at=record.ended_at,
            outcome=record.outcome,
            devices=tuple(_device_body(device) for device in record.devices),
            host=HostBody(_mj(record.host.energy), record.host.method),
            source=record.source,
            software=record.software,
            model=record.model,
            variant=record.variant,
            work=tuple(_work_body(work) for work in record.work),
            quality=tuple(QualityBody(q.name, q.value, q.n, q.higher_is_better) for q in record.quality),
            measuring=_as(MeasuringBody, record.measuring),
            opinions=tuple(
                OpinionBody(o.tool, _mj(o.accelerator), _mj(o.host), o.duration_ns, o.reason or None)
                for o in record.opinions
            ),
        )
    )
    return body


def record_of(body: RecordBody) -> EfficiencyRecord:
    """The record of a body that was read."""
    return EfficiencyRecord(
        record_id=body.record_id,
        run=Run(**_same(body.run)),
        kind=body.kind,
        model=body.model,
        variant=body.variant,
        started_at=body.started_at,
        ended_at=body.ended_at,
        outcome=body.outcome,
        devices=tuple(_device_of(device) for device in body.devices),
        host=HostEnergy(_energy(body.host.energy_mj), body.host.method),
        source=body.source,
        software=body.software,
        work=tuple(_work_of(work) for work in body.work),
        quality=tuple(Quality(q.name, q.value, q.n, q.higher_is_better) for q in body.quality),
        measuring=_as(Measuring, body.measuring),
        opinions=tuple(
            Opinion(o.tool, _energy(o.accelerator_mj), _energy(o.host_mj), o.duration_ns, o.reason or "")
            for o in body.opinions
        ),
    )


def _device_body(device: DeviceUse) -> DeviceBody:
    return DeviceBody(
        device.uuid,
        device.model,
        tuple(
            IntervalBody(
                start=i.start,
                end=i.end,
                energy_mj=_mj(i.energy),
                method=i.method,
                boundary=i.boundary,
                coverage=i.coverage,
                uncertainty=_as(UncertaintyBody, i.uncertainty),
                flags=i.flags,
            )
            for i in device.intervals
        ),
        _as(CrossCheckBody, device.cross_check),
        _calibration_body(device.calibration),
    )


def _device_of(body: DeviceBody) -> DeviceUse:
    return DeviceUse(
        body.uuid,
        body.model,
        tuple(
            Interval(
                start=i.start,
                end=i.end,
                energy=_energy(i.energy_mj),
                method=i.method,
                boundary=i.boundary,
                coverage=i.coverage,
                uncertainty=_as(Uncertainty, i.uncertainty),
                flags=i.flags,
            )
            for i in body.intervals
        ),
        _as(CrossCheck, body.cross_check),
        _calibration_of(body.calibration),
    )


def _work_body(w: WorkDone) -> WorkBody:
    return WorkBody(
        w.name,
        w.unit,
        w.amount,
        w.repeats,
        w.start,
        w.end,
        _mj(w.energy),
        _as(UncertaintyBody, w.uncertainty),
    )


def _work_of(w: WorkBody) -> WorkDone:
    return WorkDone(
        w.name,
        w.unit,
        w.amount,
        w.repeats,
        w.start,
        w.end,
        _energy(w.energy_mj),
        _as(Uncertainty, w.uncertainty),
    )


def _calibration_body(known: Calibration | None) -> CalibrationBody | None:
    return None if known is None else CalibrationBody(str(known.gain), str(known.offset_mw), known.by, known.on)


def _calibration_of(body: CalibrationBody | None) -> Calibration | None:
    if body is None:
        return None
    return Calibration(Fraction(body.gain), Fraction(body.offset_mw), body.by, body.on)


def _as(kind: type[Value], value: object) -> Value | None:
    """The same fields as another dataclass; None stays None."""
    return None if value is None else kind(**_same(value))


def _same(value: Any) -> dict[str, Any]:  # noqa: ANN401 -- a domain value, or a body with the same fields
    return {part.name: getattr(value, part.name) for part in fields(value)}


def _mj(energy: Energy | None) -> int | None:
    return None if energy is None else energy.mj


def _energy(mj: int | None) -> Energy | None:
    return None if mj is None else Energy(mj)
