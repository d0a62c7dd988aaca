"""What the page shows, in words and shapes, from what the store knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from joulegate.core import display
from joulegate.core.budgets import SENTENCES, Balance, Budget, Outcome, Verdict
from joulegate.core.errors import NotFoundError
from joulegate.core.labels import escape
from joulegate.core.periods import CalendarRule, Period, PeriodRule, zone_named
from joulegate.core.tallies import Fact, intervals_in, run_row
from joulegate.core.units import Unit
from joulegate_api.store import Decision, Store, StoredRecord

NAMES: Final = {Unit.MJ: "Energy", Unit.UG: "Carbon", Unit.MICROS: "Cost"}
_PILLS: Final = {
    Outcome.ALLOW: "good",
    Outcome.WARN: "warn",
    Outcome.QUEUE: "warn",
    Outcome.DENY: "bad",
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "warn",
}


@dataclass(frozen=True, slots=True)
class Gauge:
    """One unit of a budget: how much is posted, held and left, as text and as a bar."""

    name: str
    limit: str
    posted: str
    pending: str
    available: str
    debt: str | None
    bar: str


@dataclass(frozen=True, slots=True)
class BudgetCard:
    """A budget in its present period; without gauges where it has none now."""

    name: str
    parent: str | None
    enforcement: str
    scope: str
    period: str | None
    gauges: tuple[Gauge, ...]


@dataclass(frozen=True, slots=True)
class RunLine:
    """A record as the page shows it. ``energy`` None is not measured."""

    record_id: str
    name: str
    place: str
    kind: str
    variant: str | None
    outcome: str
    pill: str
    started: str
    duration: str
    energy: str | None
    interval: str | None
    carbon: str | None
    cost: str | None
    source: str
    method: str
    coverage: str
    host: str | None
    quality: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """A decision as the page shows it."""

    at: str
    work: str
    place: str
    outcome: str
    pill: str
    reason: str
    sentence: str
    amounts: tuple[tuple[str, str], ...]
    budget: str | None
    estimate: str | None


def budget_cards(store: Store) -> Iterator[BudgetCard]:
    """Every open budget, parents before their children."""
    budgets = {budget.name: budget for budget in store.budgets.list()}
    for budget in sorted(budgets.values(), key=lambda budget: _path(budget, budgets)):
        try:
            found = store.budgets.balance(budget.name)
        except NotFoundError:  # a fixed span that is not now
            yield _card(budget, None, ())
            continue
        gauges = tuple(gauge(found.balances[unit]) for unit in Unit if found.balances[unit].limit is not None)
        yield _card(budget, _span(budget.period, found.period), gauges)


def _path(budget: Budget, budgets: Mapping[str, Budget]) -> tuple[str, ...]:
    names = [budget.name]
    while (above := budgets.get(budgets[names[0]].parent or "")) is not None and above.name not in names:
        names.insert(0, above.name)
    return tuple(names)


def _span(rule: PeriodRule, period: Period) -> str:
    """The days of a period in the zone that its budget counts them in."""
    name = rule.timezone if isinstance(rule, CalendarRule) else "UTC"
    zone = zone_named(name, "timezone")
    return " to ".join(f"{end.astimezone(zone):%d %b %Y}" for end in (period.start, period.end)) + f", {name}"


def _card(budget: Budget, period: str | None, gauges: tuple[Gauge, ...]) -> BudgetCard:
    scope = budget.scope
    said = [
        f"{what} {', '.join(values)}"
        for what, values in (
            ("namespaces", scope.namespaces if scope else None),
            ("kinds", scope.kinds if scope else None),
        )
        if values
    ]
    unscoped = "all work" if scope else "only the budgets below it"
    return BudgetCard(budget.name, budget.parent, budget.enforcement.value, "; ".join(said) or unscoped, period, gauges)


def gauge(balance: Balance) -> Gauge:
    """A balance with a limit. The bar is as long as the limit, or as what was drawn where that is more."""

    def text(value: int | None) -> str:
        return display.amount(value, balance.unit, balance.currency)

    shown = Gauge(
        name=NAMES[balance.unit],
        limit=text(balance.limit),
        posted=text(balance.posted),
        pending=text(balance.pending),
        available=text(balance.available),
        debt=text(balance.debt) if balance.debt else None,
        bar="",
    )
    words = f"{shown.name}: {shown.posted} posted, {shown.pending} held, {shown.available} available of {shown.limit}"
    return Gauge(
        shown.name, shown.limit, shown.posted, shown.pending, shown.available, shown.debt, _bar(balance, words)
    )


def _bar(balance: Balance, words: str) -> str:
    limit = balance.limit or 0
    used = max(0, balance.posted) + max(0, balance.pending)
    whole = max(limit, used, 1)
    posted, pending = (_width(max(0, part), whole) for part in (balance.posted, balance.pending))
    over = _width(used - limit, whole) if used > limit else 0.0
    parts = [
        '<rect class="track" width="1000" height="12"/>',
        f'<rect class="posted" width="{posted:.1f}" height="12"/>',
        f'<rect class="pending" x="{posted:.1f}" width="{pending:.1f}" height="12"/>',
    ]
    if over:
        edge = 1000 - over
        parts.append(f'<rect class="debt" x="{edge:.1f}" width="{over:.1f}" height="12"/>')
        parts.append(f'<line class="limit" x1="{edge:.1f}" x2="{edge:.1f}" y1="0" y2="12"/>')
    return (
        f'<svg class="gauge" viewBox="0 0 1000 12" preserveAspectRatio="none" role="img" aria-label="{escape(words)}">'
        f"{''.join(parts)}</svg>"
    )


def _width(part: int, whole: int) -> float:
    """Of a thousand; anything that is not nothing can be seen."""
    return max(4.0, float(Fraction(1000 * part, whole))) if part else 0.0


def run_line(stored: StoredRecord) -> RunLine:
    """A record in words."""
    record, known = stored.record, stored.footprint
    fact = Fact(record, stored.slices, stored.accepted_at, stored.self_reported, stored.charged, stored.budgets)
    row = run_row(fact)
    interval = row.interval if known.energy is not None else None
    boundaries = sorted({interval.boundary.value for _, interval in intervals_in(fact)})
    return RunLine(
        record_id=record.record_id,
        name=record.run.step or record.run.pipeline or record.run.uid,
        place=record.run.namespace + (f", {record.run.pipeline}" if record.run.pipeline and record.run.step else ""),
        kind=record.kind.value,
        variant=record.variant,
        outcome=record.outcome.value,
        pill=_PILLS[record.outcome.value],
        started=display.moment(record.started_at).removesuffix(" UTC"),
        duration=display.duration(round((record.ended_at - record.started_at).total_seconds() * 1e9)),
        energy=display.energy(known.energy.mj) if known.energy else None,
        interval=display.energy_between(interval.lower_mj, interval.upper_mj) if interval else None,
        carbon=display.carbon(known.carbon_location.ug) if known.carbon_location else None,
        cost=display.money(known.cost.micros, known.cost.currency) if known.cost else None,
        source=record.source.value,
        method=", ".join([*boundaries, *(m.value for m in row.methods if m.value != record.source.value)]),
        coverage=display.percent(Fraction(row.coverage_ppm, 1_000_000), 3),
        host=display.energy(record.host.energy.mj) if record.host.energy else None,
        quality=tuple(f"{one.name} {one.value:.4g}" for one in record.quality),
        notes=tuple(_notes(stored)),
    )


def _notes(stored: StoredRecord) -> Iterator[str]:
    if not stored.charged:
        yield "not charged: a node meter charges here"
    elif not stored.budgets:
        yield "no budget binds it"
    if stored.unpriced:
        yield f"{len(stored.unpriced)} quarter-hours not fully priced"


def decision_line(decision: Decision) -> DecisionLine:
    """A decision in words."""
    verdict = decision.verdict
    return DecisionLine(
        at=display.moment(decision.at).removesuffix(" UTC"),
        work=decision.name or "without a name",
        place=f"{decision.namespace}, {decision.resource}",
        outcome=verdict.outcome.value,
        pill=_PILLS[verdict.outcome],
        reason=verdict.reason.value,
        sentence=SENTENCES[verdict.reason],
        amounts=tuple(_amounts(verdict)),
        budget=verdict.budget,
        estimate=None if verdict.basis is None else f"basis {verdict.basis}, {verdict.n or 0} runs",
    )


def _amounts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    if verdict.unit is None:
        return
    for name, value in (
        ("asked", verdict.asked),
        ("available", verdict.available),
        ("would have fitted", None if verdict.allowed else verdict.fits),
    ):
        if value is not None:
            yield name, display.amount(value, verdict.unit, verdict.currency)


def compared_variants(records: Sequence[StoredRecord]) -> tuple[str, ...]:
    """The variants to compare where nobody chose: those of the newest measured model, the first that ran first."""
    usable = [
        stored.record
        for stored in records
        if stored.record.work
        and stored.record.quality
        and stored.record.variant
        and stored.record.outcome == "succeeded"
    ]
    if not usable:
        return ()
    newest = max(usable, key=lambda record: record.started_at)
    alike = [
        record
        for record in usable
        if (record.model, record.run.pipeline, record.quality[0].name, record.work[0].unit)
        == (newest.model, newest.run.pipeline, newest.quality[0].name, newest.work[0].unit)
    ]
    latest = {record.variant or "": record for record in sorted(alike, key=lambda record: record.started_at)}
    return tuple(sorted(latest, key=lambda name: latest[name].started_at))
