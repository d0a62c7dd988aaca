"""Sums over priced slices: by boundary, run, device, rate and way of measuring.

Sums are of what is known; beside each stands how much is not. Figures of different
boundaries are never added, nor are currencies, nor the two columns of carbon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from math import ceil, hypot
from typing import Final, Protocol

from joulegate.core.footprint import Footprint, GridIntensity, Price, Rates, Reference, Site
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import ns_between, quarter_of
from joulegate.core.records import LATER, EfficiencyRecord, Interval, Quality, WorkDone
from joulegate.core.units import Money

PPM: Final = 1_000_000
_COST: Final = "cost "


class Slice(Protocol):
    """What is needed of a priced slice: one device in one UTC quarter-hour. The store's own satisfies it."""

    @property
    def device_uuid(self) -> str:
        """The physical accelerator."""

    @property
    def gpu_model(self) -> str:
        """Its model."""

    @property
    def boundary(self) -> Boundary:
        """What the energy contains."""

    @property
    def quarter(self) -> datetime:
        """The UTC quarter-hour."""

    @property
    def gpu_ns(self) -> int:
        """The device's time in it."""

    @property
    def missing_ns(self) -> int:
        """The part of that time in which nothing was measured."""

    @property
    def footprint(self) -> Footprint:
        """Energy, carbon and money as they were posted."""

    @property
    def rates(self) -> Rates:
        """The rows that priced it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A record, those of its slices that are counted, and how it was taken."""

    record: EfficiencyRecord
    slices: tuple[Slice, ...]
    accepted_at: datetime
    self_reported: bool
    charged: bool
    budgets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """What is known of one boundary, and of how many slices it is not known; None is known of none."""

    boundary: Boundary
    slices: int
    gpu_ns: int
    missing_ns: int
    energy_mj: int | None
    energy_unknown: int
    carbon_location_ug: int | None
    carbon_location_unknown: int
    carbon_market_ug: int | None
    carbon_market_unknown: int
    costs: tuple[Money, ...]
    cost_unknown: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """One record in the period."""

    record_id: str
    run_uid: str
    pipeline: str | None
    step: str | None
    cluster: str
    namespace: str
    site: str | None
    kind: str
    model: str | None
    variant: str | None
    outcome: str
    source: str
    software: str
    started_at: datetime
    ended_at: datetime
    accepted_at: datetime
    self_reported: bool
    charged: bool
    budgets: tuple[str, ...]
    totals: tuple[Total, ...]
    methods: tuple[Method, ...]
    coverage_ppm: int
    interval: Interval95 | None
    flags: tuple[str, ...]
    host_energy_mj: int | None
    host_method: str
    quality: tuple[Quality, ...]
    work: tuple[WorkDone, ...] = field(default=(), metadata=LATER)
    """What was done, of the whole run, also where a part of it lies outside the period."""
    boards: tuple[BoardTime, ...] = field(default=(), metadata=LATER)


@dataclass(frozen=True, slots=True)
class BoardTime:
    """Device time of a run on one model of accelerator, in the period."""

    gpu_model: str
    gpu_ns: int


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One accelerator in the period."""

    uuid: str
    model: str
    totals: tuple[Total, ...]


@dataclass(frozen=True, slots=True)
class RateRow:
    """A factor, price or site that priced something, and how many slices with how much energy."""

    kind: str
    what: str
    quantity: str
    valid_from: datetime
    valid_to: datetime
    reference: Reference
    slices: int
    energy_mj: int


@dataclass(frozen=True, slots=True)
class Interval95:
    """An interval for the sum of several measurements of the accelerators' energy."""

    lower_mj: int
    upper_mj: int
    confidence: str


class Tier(StrEnum):
    """How much a figure can be relied on, from its method."""

    MEASURED = "measured"
    REPLAYED = "replayed"
    ESTIMATED = "estimated"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Share:
    """Energy and device time of one tier, at the accelerators."""

    tier: Tier
    energy_mj: int
    gpu_ns: int


TIER_OF: Final[Mapping[Method, Tier]] = {
    Method.REPLAYED: Tier.REPLAYED,
    Method.DECLARED: Tier.ESTIMATED,
    Method.MODELLED: Tier.ESTIMATED,
    Method.NOT_MEASURED: Tier.NOT_MEASURED,
}


def totals_of(slices: Iterable[Slice]) -> tuple[Total, ...]:
    """One total for each boundary that occurs, in alphabetical order."""
    return Adding().add(slices).totals()


@dataclass(slots=True)
class Adding:
    """Adds slices up as they come, and keeps none of them."""

    _sums: dict[Boundary, Counter[str]] = field(default_factory=dict)

    def add(self, slices: Iterable[Slice]) -> Adding:
        """Count slices; returns itself."""
        for part in slices:
            known = part.footprint
            own = self._sums.setdefault(part.boundary, Counter())
            own["slices"] += 1
            own["gpu_ns"] += part.gpu_ns
            own["missing_ns"] += part.missing_ns
            if known.energy is not None:
                own["energies"] += 1
                own["energy_mj"] += known.energy.mj
            if known.carbon_location is not None:
                own["locations"] += 1
                own["carbon_location_ug"] += known.carbon_location.ug
            if known.carbon_market is not None:
                own["markets"] += 1
                own["carbon_market_ug"] += known.carbon_market.ug
            if known.cost is not None:
                own["costs"] += 1
                own[_COST + known.cost.currency] += known.cost.micros
        return self

    def merge(self, other: Adding) -> None:
        """Count what another one counted."""
        for boundary, sums in other._sums.items():
            self._sums.setdefault(boundary, Counter()).update(sums)

    def totals(self) -> tuple[Total, ...]:
        """One total for each boundary that occurs, in alphabetical order."""
        return tuple(_total(boundary, self._sums[boundary]) for boundary in sorted(self._sums))


def _total(boundary: Boundary, sums: Counter[str]) -> Total:
    slices, currencies = sums["slices"], sorted(each.removeprefix(_COST) for each in sums if each.startswith(_COST))
    return Total(
        boundary=boundary,
        slices=slices,
        gpu_ns=sums["gpu_ns"],
        missing_ns=sums["missing_ns"],
        energy_mj=sums["energy_mj"] if sums["energies"] else None,
        energy_unknown=slices - sums["energies"],
        carbon_location_ug=sums["carbon_location_ug"] if sums["locations"] else None,
        carbon_location_unknown=slices - sums["locations"],
        carbon_market_ug=sums["carbon_market_ug"] if sums["markets"] else None,
        carbon_market_unknown=slices - sums["markets"],
        costs=tuple(Money(sums[_COST + currency], currency) for currency in currencies),
        cost_unknown=slices - sums["costs"],
    )


def intervals_in(fact: Fact) -> Iterator[tuple[str, Interval]]:
    """The intervals of a record that its slices are made of, each with its device."""
    quarters = {(part.device_uuid, part.boundary, part.quarter) for part in fact.slices}
    for device in fact.record.devices:
        for interval in device.intervals:
            if (device.uuid, interval.boundary, quarter_of(interval.start)) in quarters:
                yield device.uuid, interval


def run_row(fact: Fact) -> RunRow:
    """A record as a row."""
    record, run = fact.record, fact.record.run
    intervals = [interval for _, interval in intervals_in(fact)]
    return RunRow(
        record_id=record.record_id,
        run_uid=run.uid,
        pipeline=run.pipeline,
        step=run.step,
        cluster=run.cluster,
        namespace=run.namespace,
        site=run.site,
        kind=record.kind.value,
        model=record.model,
        variant=record.variant,
        outcome=record.outcome.value,
        source=record.source.value,
        software=record.software,
        started_at=record.started_at,
        ended_at=record.ended_at,
        accepted_at=fact.accepted_at,
        self_reported=fact.self_reported,
        charged=fact.charged,
        budgets=fact.budgets,
        totals=totals_of(fact.slices),
        methods=tuple(sorted({interval.method for interval in intervals})),
        coverage_ppm=coverage_of(intervals),
        interval=interval_of([fact]),
        flags=tuple(sorted({flag for interval in intervals for flag in interval.flags})),
        host_energy_mj=record.host.energy.mj if record.host.energy is not None else None,
        host_method=record.host.method,
        quality=record.quality,
        work=record.work,
        boards=_boards(fact.slices),
    )


def _boards(slices: Iterable[Slice]) -> tuple[BoardTime, ...]:
    times: dict[str, int] = {}
    for part in slices:
        if part.boundary is Boundary.ACCELERATOR:
            times[part.gpu_model] = times.get(part.gpu_model, 0) + part.gpu_ns
    return tuple(BoardTime(model, times[model]) for model in sorted(times))


def coverage_of(intervals: Sequence[Interval]) -> int:
    """Millionths of the intervals' time that were measured; zero where there is no time."""
    whole_ns = sum(ns_between(interval.start, interval.end) for interval in intervals)
    covered = sum(
        (Fraction(repr(interval.coverage)) * ns_between(interval.start, interval.end) for interval in intervals),
        Fraction(0),
    )
    return round(covered * PPM / whole_ns) if whole_ns else 0


def devices_of(slices: Iterable[Slice]) -> tuple[DeviceRow, ...]:
    """One row for each accelerator, by its uuid."""
    by_device: dict[tuple[str, str], list[Slice]] = {}
    for part in slices:
        by_device.setdefault((part.device_uuid, part.gpu_model), []).append(part)
    return tuple(DeviceRow(uuid, model, totals_of(by_device[uuid, model])) for uuid, model in sorted(by_device))


def shares_of(facts: Iterable[Fact]) -> tuple[Share, ...]:
    """Energy and time of each tier at the accelerators; every tier has a row, so that nothing is silently absent."""
    energy_mj = dict.fromkeys(Tier, 0)
    gpu_ns = dict.fromkeys(Tier, 0)
    for fact in facts:
        for _, interval in intervals_in(fact):
            if interval.boundary is not Boundary.ACCELERATOR:
                continue
            tier = Tier.NOT_MEASURED if interval.energy is None else TIER_OF.get(interval.method, Tier.MEASURED)
            energy_mj[tier] += interval.energy.mj if interval.energy is not None else 0
            gpu_ns[tier] += ns_between(interval.start, interval.end)
    return tuple(Share(tier, energy_mj[tier], gpu_ns[tier]) for tier in Tier)


def interval_of(facts: Iterable[Fact]) -> Interval95 | None:
    """The interval of the sum at the accelerators; None where a measured part has none, or nothing was measured.

    A board errs by its gain the same way each time, so gains add up for each board;
    everything else, and different boards, err independently and combine in quadrature
    (JCGM 100:2008, 5.1.2 and F.1.2.3). A gap's half-width also lies in the middle:
    what was drawn in it is between nothing and the limit.
    """
    gains: dict[str, int] = {}
    others: list[int] = []
    middle, confidences = 0, set()
    for fact in facts:
        for uuid, interval in intervals_in(fact):
            if interval.boundary is not Boundary.ACCELERATOR or interval.energy is None:
                continue
            parts = interval.uncertainty
            if parts is None:
                return None
            gains[uuid] = gains.get(uuid, 0) + parts.gain_mj
            others += [parts.duty_mj, parts.edge_mj, parts.gap_mj]
            middle += interval.energy.mj + parts.gap_mj
            confidences.add(parts.confidence)
    if len(confidences) != 1:
        return None
    half = ceil(hypot(*gains.values(), *others))
    return Interval95(max(0, middle - half), middle + half, confidences.pop())


def rates_of(slices: Iterable[Slice]) -> tuple[RateRow, ...]:
    """Every row that priced something."""
    uses: dict[GridIntensity | Price | Site, tuple[int, int]] = {}
    for part in slices:
        energy_mj = part.footprint.energy.mj if part.footprint.energy is not None else 0
        for rate in (part.rates.site, part.rates.location, part.rates.market, part.rates.price):
            if rate is not None:
                count, sum_mj = uses.get(rate, (0, 0))
                uses[rate] = count + 1, sum_mj + energy_mj
    rows = [_rate_row(rate, *use) for rate, use in uses.items()]
    return tuple(sorted(rows, key=lambda row: (row.kind, row.what, row.valid_from, row.reference.version)))


def _rate_row(rate: GridIntensity | Price | Site, slices: int, energy_mj: int) -> RateRow:
    if isinstance(rate, GridIntensity):
        kind = f"{rate.basis.value}-based intensity"
        what = f"zone {rate.zone}: {rate.boundary}, {rate.mix}, {rate.signal}, {rate.gwp}"
        quantity = f"{rate.ug_per_kwh} ug CO2e/kWh"
    elif isinstance(rate, Price):
        kind = "price"
        each = "GPU-hour" if rate.rule.value == "gpu_hours" else "kWh"
        what = f"{rate.gpu_model or 'any GPU'}, zone {rate.zone or 'any'}"
        quantity = f"{rate.micros_per_unit} micros {rate.currency}/{each}"
    else:
        kind = "site"
        what = f"{rate.name} in zone {rate.zone}: PUE category {rate.pue_category}"
        quantity = f"{rate.pue_ppm} ppm PUE"
    return RateRow(kind, what, quantity, rate.valid_from, rate.valid_to, rate.reference, slices, energy_mj)
