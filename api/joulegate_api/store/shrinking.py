"""A smaller demand of a root gives back what it no longer needs, exactly once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from hashlib import sha256
from typing import Any

from sqlalchemy import update

from joulegate.core.encoding import encode
from joulegate.core.log import EntryType
from joulegate.core.quotes import QuarterAmount, Quote
from joulegate.core.units import Money
from joulegate.core.workloads import Demand
from joulegate_api.store import claims, holds, postings, tables
from joulegate_api.store.amounts import Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import Held, HoldState, Root
from joulegate_api.store.postings import Fact
from joulegate_api.store.quoted import by_quarter, quotes_of, within
from joulegate_api.store.quotes import quote_hash, write_quote
from joulegate_api.store.unpriced import tell_unpriced


def shrink(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    demand: Demand,
    accounts: Mapping[Key, Account],
    now: datetime,
    why: Mapping[str, Any],
) -> list[Held]:
    """Let the live parts hold what ``demand`` needs of the quarter-hours ahead; returns all parts as they then are.

    Their frozen quotes are cut in proportion to the boards, and after the demand's
    time; what is drawn is not given back. A demand that is not smaller, and the same
    one again, change nothing.
    """
    live = [part for part in parts if part.state in holds.LIVE]
    larger = [part for part in live if not part.demand.within(demand)]
    if not larger or not any(demand.within(part.demand) for part in larger):
        return list(parts)
    before = quotes_of(transaction.connection, transaction.tenant, live)
    after = dict(before)
    for part in larger:
        origin, quote = before[part.hold_id]
        after[part.hold_id] = (origin, _cut(quote, part, demand, now))
    opened = claims.claims_of(transaction, live)
    tell_unpriced(transaction, root, live, opened, accounts)
    old, new = by_quarter(before.values()), by_quarter(after.values())
    for key, own in opened.items():
        span = (key.start, accounts[key].end)
        _give_back(own, within(old, *span).plus(within(new, *span).negated()))
    told = postings.post(transaction, accounts, _fact(live, demand, now), {}, opened, holds.namespaces_of(live))
    written = {part.hold_id: write_quote(after[part.hold_id][1]) for part in larger}
    for part in larger:
        _rewrite(transaction, part, demand, written[part.hold_id])
    body = {
        "cluster": root[0],
        "root_uid": root[1],
        "demand": encode(demand),
        "quotes": {hold_id: quote_hash(quote) for hold_id, quote in sorted(written.items())},
        "why": dict(why),
        "charges": told,
    }
    transaction.log(EntryType.HOLD_SHRUNK, _fact(live, demand, now).id, now, body)
    return holds.of_roots(transaction.connection, transaction.tenant, [root])[root]


def _fact(live: Sequence[Held], demand: Demand, now: datetime) -> Fact:
    """Each growth adds a part, so the parts and what they shrink to name one step."""
    named = sha256("\n".join([*(part.hold_id for part in live), repr(encode(demand))]).encode()).hexdigest()[:16]
    return Fact(EntryType.HOLD_SHRUNK, f"{live[0].hold_id}/{named}", "shrunk", now)


def _cut(quote: Quote, part: Held, demand: Demand, now: datetime) -> Quote:
    """The quote for fewer boards or less time; quarter-hours in which confirmed work already ran stay as they were."""
    held = part.demand
    share = min(Fraction(1), demand.accelerators / held.accelerators) if held.accelerators else Fraction(1)
    since = now if part.state is HoldState.CONFIRMED else None
    end = None
    if demand.time_ns is not None and held.time_ns is not None and demand.time_ns < held.time_ns and quote.quarters:
        end = quote.quarters[0].start + timedelta(microseconds=demand.time_ns // 1_000)
    quarters = []
    for quarter in quote.quarters:
        if since is not None and quarter.start < since:
            quarters.append(quarter)
        elif end is None or quarter.start < end:
            quarters.append(_scaled(quarter, share))
    return replace(quote, quarters=tuple(quarters))


def _scaled(quarter: QuarterAmount, share: Fraction) -> QuarterAmount:
    cost = quarter.cost
    return QuarterAmount(
        quarter.start,
        _up(quarter.energy_mj, share),
        None if quarter.carbon_ug is None else _up(quarter.carbon_ug, share),
        None if cost is None else Money(_up(cost.micros, share), cost.currency),
    )


def _up(amount: int, share: Fraction) -> int:
    """Rounded up: a hold is never less than its share."""
    return -(-amount * share.numerator // share.denominator)


def _give_back(own: Sequence[OpenClaim], amounts: Amounts) -> None:
    """The last part gives first, and no part more than is left of it."""
    left = [max(0, amount or 0) for amount in amounts]
    for claim in reversed(own):
        given = [min(wanted, rest or 0) for wanted, rest in zip(left, claim.rest, strict=True)]
        left = [wanted - each for wanted, each in zip(left, given, strict=True)]
        claim.given_back = claim.given_back.plus(Amounts(*given))
    claims.settle(own)


def _rewrite(transaction: Transaction, part: Held, demand: Demand, quote: str) -> None:
    of = tables.holds.c
    transaction.connection.execute(
        update(tables.holds)
        .where(of.tenant == transaction.tenant, of.hold_id == part.hold_id)
        .values(demand=encode(demand), quote=quote)
    )
