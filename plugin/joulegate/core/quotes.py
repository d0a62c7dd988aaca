"""What a demand would cost: predicted energy, spread over the quarter-hours ahead and priced there.

A quote is frozen when it is held: it keeps the amounts, the rows that priced them and
what the energy was predicted from. What no row prices stays None: unknown, not zero.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import GridIntensity, Price, RateBook, Rates, Reference, Site
from joulegate.core.periods import cut_at_quarters, format_instant, ns_between
from joulegate.core.units import NS_PER_SECOND, Energy, Money, split_by_largest_remainder

LONGEST_NS: Final = 92 * 86_400 * NS_PER_SECOND
"""Longest time that is quoted quarter-hour by quarter-hour: a quarter of a year."""


@dataclass(frozen=True, slots=True)
class QuarterAmount:
    """What falls into the UTC quarter-hour that holds ``start``; None is not priced."""

    start: datetime
    energy_mj: int
    carbon_ug: int | None
    cost: Money | None


@dataclass(frozen=True, slots=True)
class Quote:
    """Amounts by quarter-hour, the references that priced them, and what the energy stands on."""

    quarters: tuple[QuarterAmount, ...]
    references: tuple[Reference, ...]
    basis: str
    n: int
    detail: str

    @property
    def energy_mj(self) -> int:
        """Energy of all quarter-hours."""
        return sum(quarter.energy_mj for quarter in self.quarters)

    @property
    def carbon_ug(self) -> int | None:
        """Carbon of all quarter-hours; None where one of them is not priced."""
        known = [quarter.carbon_ug for quarter in self.quarters if quarter.carbon_ug is not None]
        return sum(known) if len(known) == len(self.quarters) else None

    @property
    def cost(self) -> Money | None:
        """Money of all quarter-hours; None where one is not priced or currencies differ."""
        known = [quarter.cost for quarter in self.quarters if quarter.cost is not None]
        if len(known) != len(self.quarters) or len({money.currency for money in known}) != 1:
            return None
        return Money(sum(money.micros for money in known), known[0].currency)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Energy that boards of one model are expected to draw; ``accelerators`` in whole boards."""

    gpu_model: str | None
    accelerators: Fraction
    energy_mj: int


@dataclass(frozen=True, slots=True)
class Basis:
    """What an estimate stands on, as the prediction says it."""

    basis: str
    n: int
    detail: str


def quote(
    estimates: Sequence[Estimate],
    book: RateBook,
    site: str,
    start: datetime,
    duration_ns: int,
    basis: Basis,
) -> Quote:
    """Spread estimates over ``duration_ns`` from ``start`` and price each quarter-hour.

    Energy is spread in proportion to time by largest remainder, so the parts sum
    exactly; each part is rounded once when it is priced. Raises
    :class:`InvalidInputError` for a time of nothing or of more than 92 days.
    """
    if not 0 < duration_ns <= LONGEST_NS:
        raise InvalidInputError("the time must be more than nothing and at most 92 days")
    end = start + timedelta(microseconds=max(1, duration_ns // 1_000))
    slices = list(cut_at_quarters(start, end))
    weights = {format_instant(begin): ns_between(begin, stop) for begin, stop in slices}
    columns = [_column(estimate, book, site, weights, slices) for estimate in estimates]
    references: dict[Reference, None] = {}
    quarters = []
    for row in zip(*columns, strict=True):
        quarters.append(_added([amount for amount, _ in row]))
        for _, rates in row:
            references.update(dict.fromkeys(_references(rates)))
    return Quote(tuple(quarters), tuple(references), basis.basis, basis.n, basis.detail)


def _column(
    estimate: Estimate,
    book: RateBook,
    site: str,
    weights: dict[str, int],
    slices: Sequence[tuple[datetime, datetime]],
) -> list[tuple[QuarterAmount, Rates]]:
    parts = split_by_largest_remainder(estimate.energy_mj, weights)
    rates = _rates(book, site, estimate.gpu_model, [begin for begin, _ in slices])
    column = []
    for (begin, weight), in_force in zip(
        ((begin, weights[format_instant(begin)]) for begin, _ in slices), rates, strict=True
    ):
        energy = Energy(parts[format_instant(begin)])
        priced = in_force.apply(energy, int(weight * estimate.accelerators))
        carbon = priced.carbon_location.ug if priced.carbon_location else None
        column.append((QuarterAmount(begin, energy.mj, carbon, priced.cost), in_force))
    return column


def _rates(book: RateBook, site: str, gpu_model: str | None, begins: Sequence[datetime]) -> Iterator[Rates]:
    """The rates in force at each instant, looked up again only where a row, or an hour of a price, begins or ends."""
    rows: list[GridIntensity | Price | Site] = [*book.intensities, *book.prices, *book.sites]
    changes = sorted({instant for row in rows for instant in (row.valid_from, row.valid_to)})
    hourly = [row for row in book.prices if row.from_hour is not None]
    known: dict[tuple[int, tuple[bool, ...]], Rates] = {}
    for begin in begins:
        stretch = bisect_right(changes, begin), tuple(row.in_hours(begin) for row in hourly)
        if stretch not in known:
            known[stretch] = book.rates_at(site, gpu_model, begin)
        yield known[stretch]


def _added(amounts: Sequence[QuarterAmount]) -> QuarterAmount:
    """The amounts of several models in one quarter-hour; unknown where one of them is."""
    carbon = [amount.carbon_ug for amount in amounts if amount.carbon_ug is not None]
    cost = [amount.cost for amount in amounts if amount.cost is not None]
    one_currency = len({money.currency for money in cost}) == 1
    return QuarterAmount(
        start=amounts[0].start,
        energy_mj=sum(amount.energy_mj for amount in amounts),
        carbon_ug=sum(carbon) if len(carbon) == len(amounts) else None,
        cost=Money(sum(money.micros for money in cost), cost[0].currency)
        if one_currency and len(cost) == len(amounts)
        else None,
    )


def _references(rates: Rates) -> Iterator[Reference]:
    for row in (rates.site, rates.location, rates.price):
        if row is not None:
            yield row.reference
