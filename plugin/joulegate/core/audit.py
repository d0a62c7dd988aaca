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
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from joulegate.core.embodied import EmbodiedRange, embodied_of
from joulegate.core.encoding import encode
from joulegate.core.evidence import DeviceBalance, Event, Evidence, Hours, balances_of, enrolments_of, hours_of
from joulegate.core.footprint import EmissionBasis, GridIntensity, Rates, Reference, carbon_of, intensity_at
from joulegate.core.ghg import Category, categories_of
from joulegate.core.inferiority import Compared, Comparing, compared
from joulegate.core.instruments import Instrument, MarketBased, market_based
from joulegate.core.log import canonical
from joulegate.core.metering import Boundary, Method
from joulegate.core.opinions import Opinion, opinions_of
from joulegate.core.periods import Period
from joulegate.core.recomputing import Check, checked
from joulegate.core.records import LATER, EfficiencyRecord
from joulegate.core.scopes import ORGANISATION, Scope
from joulegate.core.settled import Cell, Charges, Settled, settled_again, settled_of
from joulegate.core.tallies import (
    DeviceRow,
    Fact,
    Interval95,
    RateRow,
    RunRow,
    Share,
    Slice,
    Total,
    coverage_of,
    devices_of,
    interval_of,
    intervals_in,
    rates_of,
    run_row,
    shares_of,
    totals_of,
)
from joulegate.core.units import NS_PER_HOUR

_YEAR_NS: Final = 8_760 * NS_PER_HOUR
VERSION: Final = 2
"""Of the form of a report; raised when a field changes its meaning."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision of the period: what became of a request, why, and when."""

    outcome: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PackOf:
    """A factor pack of the package, by its name and the SHA-256 (hex) of its rows."""

    name: str
    rows_sha256: str


@dataclass(frozen=True, slots=True)
class EmbodiedBy:
    """The package's table of embodied figures by its SHA-256 (hex), and the expected life of a board in years."""

    figures_sha256: str
    life_years: int


@dataclass(frozen=True, slots=True)
class Query:
    """What a report is of: a period of whole UTC quarter-hours, one namespace or all (None), one scope or all.

    ``comparing`` asks for variants side by side, ``against`` for the carbon of the same energy under another pack,
    ``embodied`` for the range of embodied carbon.
    """

    period: Period
    namespace: str | None
    scope: Scope | None = field(default=None, metadata=LATER)
    comparing: Comparing | None = field(default=None, metadata=LATER)
    against: PackOf | None = field(default=None, metadata=LATER)
    embodied: EmbodiedBy | None = field(default=None, metadata=LATER)

    @property
    def is_whole(self) -> bool:
        """Whether everything of the organisation is in it, so that whole devices can be balanced."""
        return self.namespace is None and self.scope is None

    @property
    def of(self) -> str:
        """What is reported, for people."""
        names = [f"namespace:{self.namespace}"] if self.namespace else []
        return ", ".join([*names, *([str(self.scope)] if self.scope else [])]) or ORGANISATION


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
class UnderPack:
    """Carbon of one boundary by the rates in force and by another pack's, of the same slices and the same PUE.

    Only slices that both could price are in the two sums; ``unknown`` counts the others.
    """

    pack: str
    boundary: Boundary
    basis: EmissionBasis
    slices: int
    unknown: int
    in_force_ug: int
    under_pack_ug: int


@dataclass(frozen=True, slots=True)
class StaleFactor:
    """A factor whose data ended more than 24 months before what it priced, and how many slices it priced then."""

    reference: Reference
    zone: str
    data_until: datetime
    slices: int


@dataclass(frozen=True, slots=True)
class Tree:
    """The signed log that a report was made from: the first checkpoint that covers the report's own entry."""

    origin: str
    size: int
    root: str
    report_index: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a period cost, by total, run and device, and what each figure stands on.

    ``as_of`` is the newest fact that is in it; the same query as of the same instant is
    the same report. ``digest`` (hex SHA-256) is of everything else in it but ``tree``,
    which is known only after the report is itself in the log. ``totals``, ``runs`` and ``devices`` are of records;
    ``settled`` is what was charged, where node meters charged. ``balances`` are of whole
    devices, so they stand in reports of everything only, and so does ``market``: the market-based
    figure with instruments, None where none lay in the period. ``embodied`` is added to nothing.
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
    methods: tuple[Method, ...]
    coverage_ppm: int
    hours: tuple[Hours, ...]
    balances: tuple[DeviceBalance, ...]
    events: tuple[Event, ...]
    comparison: Compared | None
    under_pack: tuple[UnderPack, ...]
    checks: tuple[Check, ...]
    digest: str = ""
    market: MarketBased | None = field(default=None, metadata=LATER)
    embodied: tuple[EmbodiedRange, ...] = field(default=(), metadata=LATER)
    stale: tuple[StaleFactor, ...] = field(default=(), metadata=LATER)
    categories: tuple[Category, ...] = field(default=(), metadata=LATER)
    opinions: tuple[Opinion, ...] = field(default=(), metadata=LATER)
    settled: tuple[Settled, ...] = field(default=(), metadata=LATER)
    tree: Tree | None = field(default=None, metadata=LATER)

    @property
    def recomputed(self) -> bool:
        """Whether every total recomputes from the records to the last unit."""
        return all(check.passed for check in self.checks)

    @property
    def refusals(self) -> int:
        """Requests that were kept out."""
        return sum(row.count for row in self.decisions if row.outcome in ("deny", "queue"))


def audit(
    query: Query,
    facts: Iterable[Fact],
    decided: Sequence[Decided],
    software: str,
    evidence: Evidence = Evidence(),  # noqa: B008 -- a value
    cells: Iterable[Cell] = (),
) -> AuditReport:
    """Make a report of everything that lies in the query's period and scope.

    Slices and intervals outside the period are left out, so that the reports of
    two periods that meet add up to that of both. Decisions are known by namespace, so
    a report of a narrower scope counts none. Raises :class:`InvalidInputError` where
    variants are to be compared that cannot be.
    """
    inside = _inside(query, facts)
    slices = [part for fact in inside for part in fact.slices]
    decided, events = decided if query.scope is None else (), _events(query, inside, evidence.events)
    evidence = replace(evidence, instruments=_in_period(query, evidence)) if query.is_whole else _of_a_part(evidence)
    charges = Charges(query.namespace, scoped=query.scope is not None).add(cells)
    as_of = max(_newest(query, inside, decided, events, evidence), charges.newest or query.period.start)
    balances = _balances(query, evidence, as_of)
    runs, devices, totals = tuple(run_row(fact) for fact in inside), devices_of(slices), totals_of(slices)
    hosts = [fact.record.host.energy.mj for fact in inside if fact.record.host.energy is not None]
    shares, intervals = shares_of(inside), [interval for fact in inside for _, interval in intervals_in(fact)]
    report = AuditReport(
        version=VERSION,
        software=software,
        query=query,
        as_of=as_of,
        totals=totals,
        interval=interval_of(inside),
        shares=shares,
        runs=runs,
        devices=devices,
        rates=rates_of(slices),
        unpriced=tuple(_unpriced(inside)),
        decisions=_counted(decided),
        host_energy_mj=sum(hosts) if hosts else None,
        host_measured_runs=len(hosts),
        methods=tuple(sorted({interval.method for interval in intervals})),
        coverage_ppm=coverage_of(intervals),
        hours=hours_of(shares, balances),
        balances=balances,
        events=events,
        comparison=compared(_measured(inside), query.comparing) if query.comparing else None,
        under_pack=_under_pack(query.against, slices, evidence.intensities),
        checks=checked(inside, totals, runs, devices, balances),
    )
    return _sealed(_settled(_beside(report, slices, evidence), charges, inside, evidence))


def _inside(query: Query, facts: Iterable[Fact]) -> list[Fact]:
    """What lies in the query's period and scope, in the order of the report."""
    scope = query.scope
    cut = [within(fact, query.period) for fact in facts if scope is None or scope.holds(fact)]
    return sorted((fact for fact in cut if fact.slices), key=lambda f: (f.record.started_at, f.record.record_id))


def _newest(
    query: Query, facts: Sequence[Fact], decided: Sequence[Decided], events: Sequence[Event], evidence: Evidence
) -> datetime:
    """The instant of the newest fact that is in the report."""
    told = [*(fact.accepted_at for fact in facts), evidence.readings.newest or query.period.start]
    told += [*(each.at for each in decided), *(each.at for each in events), *(at for at, _ in evidence.instruments)]
    return max([query.period.start, *told])


def _beside(report: AuditReport, slices: Sequence[Slice], evidence: Evidence) -> AuditReport:
    """The report with the columns of carbon that stand beside its totals."""
    by, period = report.query.embodied, report.query.period
    bought = [each for _, each in evidence.instruments]
    return replace(
        report,
        market=market_based(slices, bought, period) if bought else None,
        embodied=embodied_of(slices, evidence.figures, by.life_years * _YEAR_NS) if by is not None else (),
        stale=_stale(slices),
        categories=categories_of(slices),
    )


def _settled(report: AuditReport, charges: Charges, facts: Sequence[Fact], evidence: Evidence) -> AuditReport:
    """The report with what was charged, and what runs say beside it."""
    found, beside = settled_of(charges, facts), opinions_of(facts, evidence.readings)
    checks = (*report.checks, *settled_again(found, report.balances))
    return replace(report, settled=found, opinions=beside, checks=checks)


def _in_period(query: Query, evidence: Evidence) -> tuple[tuple[datetime, Instrument], ...]:
    return tuple((at, each) for at, each in evidence.instruments if each.amount_in(query.period))


def _of_a_part(evidence: Evidence) -> Evidence:
    """Whole devices and an organisation's instruments say nothing of a part of it."""
    return Evidence(evidence.events, intensities=evidence.intensities, figures=evidence.figures)


def _balances(query: Query, evidence: Evidence, as_of: datetime) -> tuple[DeviceBalance, ...]:
    enrolments = enrolments_of(body for at, body in evidence.devices if at <= as_of)
    return balances_of(evidence.readings, enrolments, query.period, as_of)


def _measured(facts: Iterable[Fact]) -> Iterator[tuple[EfficiencyRecord, Mapping[datetime, Rates]]]:
    for fact in facts:
        yield fact.record, {part.quarter: part.rates for part in fact.slices}


def _events(query: Query, facts: Sequence[Fact], events: Iterable[Event]) -> tuple[Event, ...]:
    """Those about what is reported, whenever they came; in a report of everything also those of its period."""
    known = {name for fact in facts for name in (fact.record.record_id, fact.record.run.uid)}
    own = [each for each in events if each.about in known or (query.is_whole and query.period.holds(each.at))]
    return tuple(sorted(own, key=lambda each: (each.at, each.kind, each.about, each.reason)))


def _stale(slices: Iterable[Slice]) -> tuple[StaleFactor, ...]:
    uses: Counter[tuple[Reference, str, datetime]] = Counter()
    for part in slices:
        for row in (part.rates.location, part.rates.market):
            if row is not None and row.is_stale_at(part.quarter):
                uses[row.reference, row.zone, row.data_until or row.valid_from] += 1
    found = [StaleFactor(reference, zone, until, count) for (reference, zone, until), count in uses.items()]
    return tuple(sorted(found, key=lambda row: (row.zone, row.reference.dataset, row.reference.version)))


def _under_pack(
    against: PackOf | None, slices: Sequence[Slice], rows: Sequence[GridIntensity]
) -> tuple[UnderPack, ...]:
    if against is None:
        return ()
    found: list[UnderPack] = []
    by_zone: dict[str, list[GridIntensity]] = {}
    for row in rows:
        by_zone.setdefault(row.zone, []).append(row)
    for boundary in sorted({part.boundary for part in slices}):
        pairs: list[tuple[int, int]] = []
        own = [part for part in slices if part.boundary is boundary]
        for part in own:
            site, energy, known = part.rates.site, part.footprint.energy, part.footprint.carbon_location
            if site is None or energy is None or known is None:
                continue
            other = intensity_at(by_zone.get(site.zone, ()), site.zone, part.quarter)
            if other is not None:
                pairs.append((known.ug, carbon_of(energy, site.pue_ppm, other.ug_per_kwh).ug))
        sums = [sum(pair[side] for pair in pairs) for side in (0, 1)]
        basis = EmissionBasis.LOCATION
        found.append(UnderPack(against.name, boundary, basis, len(own), len(own) - len(pairs), *sums))
    return tuple(found)


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


def _sealed(report: AuditReport) -> AuditReport:
    """The report with the digest of what is in it."""
    return replace(report, digest=sha256(canonical(encode(report))).hexdigest())
