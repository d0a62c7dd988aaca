"""What the frozen quotes of a root say of each UTC quarter-hour, all its parts together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from joulegate.core.periods import quarter_of
from joulegate.core.quotes import QuarterAmount, Quote
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.holds import Held, Origin
from joulegate_api.store.quotes import read_quote
from joulegate_api.store.tables import holds

ON_TOP = (Origin.EXTENDED, Origin.RENEWED)
"""Parts that were held on top of what their root had; a growth quotes the whole of the larger demand anew."""


def quotes_of(connection: Connection, tenant: str, parts: Sequence[Held]) -> dict[str, tuple[Origin, Quote]]:
    """Origin and frozen quote of each part, by the id of its hold."""
    of = holds.c
    query = select(of.hold_id, of.origin, of.quote).where(
        of.tenant == tenant, of.hold_id.in_([part.hold_id for part in parts])
    )
    return {row.hold_id: (Origin(row.origin), read_quote(row.quote)) for row in connection.execute(query)}


def by_quarter(quotes: Iterable[tuple[Origin, Quote]]) -> dict[datetime, Amounts]:
    """What is quoted for each quarter-hour: the largest of the demands, and what was held on top of it."""
    whole: dict[datetime, Amounts] = {}
    on_top: dict[datetime, Amounts] = {}
    for origin, quote in quotes:
        for quarter, amounts in _quarters(quote).items():
            if origin in ON_TOP:
                on_top[quarter] = on_top.get(quarter, NOTHING).plus(amounts)
            else:
                before = whole.get(quarter, NOTHING)
                whole[quarter] = Amounts(*(max(a or 0, b or 0) for a, b in zip(before, amounts, strict=True)))
    return {quarter: whole.get(quarter, NOTHING).plus(on_top.get(quarter, NOTHING)) for quarter in {*whole, *on_top}}


def within(quarters: Mapping[datetime, Amounts], start: datetime, end: datetime) -> Amounts:
    """The sum over the quarter-hours that begin in [``start``, ``end``)."""
    whole = NOTHING
    for quarter, amounts in quarters.items():
        if start <= quarter < end:
            whole = whole.plus(amounts)
    return whole


def _quarters(quote: Quote) -> dict[datetime, Amounts]:
    found: dict[datetime, Amounts] = {}
    for amount in quote.quarters:
        quarter = quarter_of(amount.start)
        found[quarter] = found.get(quarter, NOTHING).plus(_amounts(amount))
    return found


def _amounts(amount: QuarterAmount) -> Amounts:
    return Amounts(amount.energy_mj, amount.carbon_ug, amount.cost.micros if amount.cost else None).known()
