"""Bodies of the HTTP API, version 1: the one place where their JSON fields are named.

A body is a dataclass whose fields have the names of the JSON and the marks of
:mod:`joulegate.schema`. Quantities leave as decimal strings and come in as such,
or as whole JSON numbers up to 2**53 - 1. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any, Final

from joulegate.core.footprint import EmissionBasis, PriceRule
from joulegate.core.metering import Boundary, Method, Uncertainty
from joulegate.core.periods import format_instant
from joulegate.core.records import (
    DeviceUse,
    EfficiencyRecord,
    HostEnergy,
    Interval,
    Kind,
    Quality,
    Run,
    RunOutcome,
    Source,
    WorkDone,
)
from joulegate.core.units import Energy
from joulegate.schema import (
    STRICT,
    Count,
    Currency,
    Flags,
    Identity,
    Items,
    Line,
    Mj,
    Moment,
    Number,
    Quantity,
    Text,
    Validity,
    Word,
)


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
class DeviceBody:
    """One accelerator and its intervals."""

    __pydantic_config__ = STRICT
    uuid: Identity
    model: Line
    intervals: Annotated[tuple[IntervalBody, ...], Items(10_000)]


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


@dataclass(frozen=True, slots=True)
class ReferenceBody:
    """Where a row comes from; nothing is taken without it."""

    __pydantic_config__ = STRICT
    dataset: Line
    version: Line
    publisher: Line
    licence: Line
    source: Annotated[str, Text(1_000)]


@dataclass(frozen=True, slots=True)
class IntensityBody:
    """Carbon intensity of a grid zone between two instants."""

    __pydantic_config__ = STRICT
    zone: Line
    valid_from: Validity
    valid_to: Validity
    ug_per_kwh: Annotated[int, Quantity(0, 10**10)]
    basis: EmissionBasis
    boundary: Word
    mix: Word
    signal: Word
    gwp: Word
    reference: ReferenceBody


@dataclass(frozen=True, slots=True)
class PriceBody:
    """Micros of a currency for a GPU-hour or for a kWh, between two instants."""

    __pydantic_config__ = STRICT
    rule: PriceRule
    currency: Currency
    micros_per_unit: Annotated[int, Quantity(0, 10**12)]
    valid_from: Validity
    valid_to: Validity
    reference: ReferenceBody
    gpu_model: Line | None = None
    zone: Line | None = None


@dataclass(frozen=True, slots=True)
class SiteBody:
    """A place with its grid zone and its power usage effectiveness (millionths, 1 or more)."""

    __pydantic_config__ = STRICT
    name: Line
    zone: Line
    pue_ppm: Annotated[int, Count(1_000_000, 10_000_000)]
    pue_category: Word
    valid_from: Validity
    valid_to: Validity
    reference: ReferenceBody


@dataclass(frozen=True, slots=True)
class FactorsBody:
    """``PUT /v1/factors``: a dated set, added as a whole."""

    __pydantic_config__ = STRICT
    rows: Annotated[tuple[IntensityBody, ...], Items(10_000)]


@dataclass(frozen=True, slots=True)
class PricesBody:
    """``PUT /v1/prices``: a dated set, added as a whole."""

    __pydantic_config__ = STRICT
    rows: Annotated[tuple[PriceBody, ...], Items(10_000)]


@dataclass(frozen=True, slots=True)
class SitesBody:
    """``PUT /v1/sites``: a dated set, added as a whole."""

    __pydantic_config__ = STRICT
    rows: Annotated[tuple[SiteBody, ...], Items(10_000)]


_NAME_OF_QUANTITY: Final = re.compile(r"(.*_)?(mj|mw|ug|micros|ns)(_per_[a-z]+)?")


def to_json(value: object) -> Any:  # noqa: ANN401, PLR0911 -- JSON; one line a type
    """Any value as JSON.

    Quantities, known by the unit at the end of their name, are decimal strings;
    instants are RFC 3339 with ``Z``.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: _field(part.name, getattr(value, part.name)) for part in fields(value)}
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
            run=RunBody(**{part.name: getattr(record.run, part.name) for part in fields(Run)}),
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
        )
    )
    return body


def record_of(body: RecordBody) -> EfficiencyRecord:
    """The record of a body that was read."""
    return EfficiencyRecord(
        record_id=body.record_id,
        run=Run(**{part.name: getattr(body.run, part.name) for part in fields(RunBody)}),
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
                uncertainty=_uncertainty_body(i.uncertainty),
                flags=i.flags,
            )
            for i in device.intervals
        ),
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
                uncertainty=_uncertainty_of(i.uncertainty),
                flags=i.flags,
            )
            for i in body.intervals
        ),
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
        _uncertainty_body(w.uncertainty),
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
        _uncertainty_of(w.uncertainty),
    )


def _uncertainty_body(value: Uncertainty | None) -> UncertaintyBody | None:
    return None if value is None else UncertaintyBody(**{p.name: getattr(value, p.name) for p in fields(Uncertainty)})


def _uncertainty_of(body: UncertaintyBody | None) -> Uncertainty | None:
    return None if body is None else Uncertainty(**{p.name: getattr(body, p.name) for p in fields(UncertaintyBody)})


def _mj(energy: Energy | None) -> int | None:
    return None if energy is None else energy.mj


def _energy(mj: int | None) -> Energy | None:
    return None if mj is None else Energy(mj)
