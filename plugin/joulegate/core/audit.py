"""From what is kept to a report that anybody can recompute.

A report adds up priced slices: the energy of one device in one UTC quarter-hour
with the rates that priced it. Nothing in it is taken on trust: every slice is
priced once more from its energy, its time and its rates, every slice's energy is
added up once more from the intervals that the sender reported, and every total is
added up in two ways. A report names what does not come out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from joulegate.core.encoding import encode
from joulegate.core.log import canonical
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period, format_instant, quarter_of
from joulegate.core.tallies import (
    DeviceRow,
    Fact,
    Interval95,
    RateRow,
    RunRow,
    Share,
    Slice,
    Total,
    devices_of,
    interval_of,
    intervals_in,
    rates_of,
    run_row,
    shares_of,
    totals_of,
)

VERSION: Final = 1
"""Of the form of a report; raised when a field changes its meaning."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision of the period: what became of a request, why, and when."""

    outcome: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Query:
    """What a report is of: a period of whole UTC quarter-hours, and one namespace or all (None)."""

    period: Period
    namespace: str | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """How often each outcome with its reason was decided."""

    outcome: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A slice whose energy is known and whose carbon or money is not; ``lacks`` names the missing rates."""

    record_id: str
    device_uuid: str
    quarter: datetime
    energy_mj: int
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was computed a second time: over how many items, and what did not come out."""

    name: str
    items: int
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything came out to the last unit."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a period cost, by total, run and device, and what each figure stands on.

    ``as_of`` is the newest fact that is in it; the same query as of the same instant is
    the same report. ``digest`` (hex SHA-256) is of everything else in it.
    """

    version: int
    software: str
    query: Query
    as_of: datetime
    totals: tuple[Total, ...]
    interval: Interval95 | None
    shares: tuple[Share, ...]
    runs: tuple[RunRow, ...]
    devices: tuple[DeviceRow, ...]
    rates: tuple[RateRow, ...]
    unpriced: tuple[Unpriced, ...]
    decisions: tuple[Decisions, ...]
    host_energy_mj: int | None
    host_measured_runs: int
    checks: tuple[Check, ...]
    digest: str = ""

    @property
    def recomputed(self) -> bool:
        """Whether every total recomputes from the records to the last unit."""
        return all(check.passed for check in self.checks)

    @property
    def refusals(self) -> int:
        """Requests that were kept out."""
        return sum(row.count for row in self.decisions if row.outcome in ("deny", "queue"))


def audit(query: Query, facts: Iterable[Fact], decided: Sequence[Decided], software: str) -> AuditReport:
    """Make a report of everything that lies in the query's period.

    Slices and intervals outside the period are left out, so that the reports of
    two periods that meet add up to that of both.
    """
    inside = [within(fact, query.period) for fact in facts]
    inside = sorted((fact for fact in inside if fact.slices), key=lambda f: (f.record.started_at, f.record.record_id))
    slices = [part for fact in inside for part in fact.slices]
    runs = tuple(run_row(fact) for fact in inside)
    devices = devices_of(slices)
    totals = totals_of(slices)
    hosts = [fact.record.host.energy.mj for fact in inside if fact.record.host.energy is not None]
    report = AuditReport(
        version=VERSION,
        software=software,
        query=query,
        as_of=max([query.period.start, *(f.accepted_at for f in inside), *(d.at for d in decided)]),
        totals=totals,
        interval=interval_of(inside),
        shares=shares_of(inside),
        runs=runs,
        devices=devices,
        rates=rates_of(slices),
        unpriced=tuple(_unpriced(inside)),
        decisions=_counted(decided),
        host_energy_mj=sum(hosts) if hosts else None,
        host_measured_runs=len(hosts),
        checks=(_priced_again(inside), _intervals_again(inside), _totals_again(totals, runs, devices)),
    )
    return _sealed(report)


def within(fact: Fact, period: Period) -> Fact:
    """A fact cut to a period of whole quarter-hours; its slices and intervals never cross one."""
    return replace(fact, slices=tuple(part for part in fact.slices if period.holds(part.quarter)))


def _unpriced(facts: Iterable[Fact]) -> Iterator[Unpriced]:
    for fact in facts:
        for part in fact.slices:
            known = part.footprint
            lacks = [
                name
                for name, value in (("carbon", known.carbon_location), ("cost", known.cost))
                if known.energy is not None and value is None
            ]
            if lacks and known.energy is not None:
                yield Unpriced(fact.record.record_id, part.device_uuid, part.quarter, known.energy.mj, tuple(lacks))


def _counted(decided: Sequence[Decided]) -> tuple[Decisions, ...]:
    counts = Counter((decision.outcome, decision.reason) for decision in decided)
    return tuple(Decisions(outcome, reason, counts[outcome, reason]) for outcome, reason in sorted(counts))


def _priced_again(facts: Sequence[Fact]) -> Check:
    """Each slice from its own energy, time and rates."""
    differences = [
        f"{_place(fact, part)}: posted as {encode(part.footprint)}"
        for fact in facts
        for part in fact.slices
        if part.rates.apply(part.footprint.energy, part.gpu_ns) != part.footprint
    ]
    items = sum(len(fact.slices) for fact in facts)
    return Check("each slice priced again from its energy, time and rates", items, tuple(differences))


def _place(fact: Fact, part: Slice) -> str:
    return f"{fact.record.record_id}, {part.device_uuid}, {format_instant(part.quarter)}"


def _intervals_again(facts: Sequence[Fact]) -> Check:
    """Each slice's energy from the intervals that the sender reported."""
    differences: list[str] = []
    items = 0
    for fact in facts:
        reported: dict[tuple[str, Boundary, datetime], int] = {}
        for uuid, interval in intervals_in(fact):
            items += 1
            if interval.energy is not None:
                key = (uuid, interval.boundary, quarter_of(interval.start))
                reported[key] = reported.get(key, 0) + interval.energy.mj
        for part in fact.slices:
            kept = part.footprint.energy.mj if part.footprint.energy else None
            sent = reported.get((part.device_uuid, part.boundary, part.quarter))
            if kept != sent:
                differences.append(f"{_place(fact, part)}: {kept} mJ kept, {sent} mJ reported")
    return Check("each slice's energy added up again from the record's intervals", items, tuple(differences))


def _totals_again(totals: Sequence[Total], runs: Sequence[RunRow], devices: Sequence[DeviceRow]) -> Check:
    """Each total by runs and by devices."""
    differences = []
    for total in totals:
        for what, rows in (("runs", runs), ("devices", devices)):
            again = _sum_of(part for row in rows for part in row.totals if part.boundary is total.boundary)
            if again != _amounts(total):
                differences.append(f"{total.boundary.value}: {_amounts(total)} in total, {again} by {what}")
    return Check("each total added up again by runs and by devices", len(totals), tuple(differences))


def _amounts(total: Total) -> Mapping[str, int]:
    amounts = {
        "energy_mj": total.energy_mj,
        "carbon_location_ug": total.carbon_location_ug,
        "carbon_market_ug": total.carbon_market_ug,
        "gpu_ns": total.gpu_ns,
        "missing_ns": total.missing_ns,
    }
    return {name: value or 0 for name, value in amounts.items()} | {
        f"cost {cost.currency}": cost.micros for cost in total.costs
    }


def _sum_of(parts: Iterable[Total]) -> Mapping[str, int]:
    whole: Counter[str] = Counter(dict.fromkeys(_EVERY_AMOUNT, 0))
    for part in parts:
        whole.update(_amounts(part))
    return dict(whole)


_EVERY_AMOUNT: Final = ("energy_mj", "carbon_location_ug", "carbon_market_ug", "gpu_ns", "missing_ns")


def _sealed(report: AuditReport) -> AuditReport:
    """The report with the digest of what is in it."""
    return replace(report, digest=sha256(canonical(encode(report))).hexdigest())
