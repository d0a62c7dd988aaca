"""What is posted for time that nobody measured, and taken back as far as its measurement comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, insert, select, update

from joulegate.core.log import EntryType
from joulegate.core.periods import QUARTER, cut_at_quarters, format_instant, ns_between, quarter_of
from joulegate_api.store import claims, postings
from joulegate_api.store.amounts import NOTHING, UNITS, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.coverage import Span, life_of, uncovered
from joulegate_api.store.draws import drawn
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import DEAD, LIVE, Held, Root, namespaces_of
from joulegate_api.store.lateness import late_of
from joulegate_api.store.meter_tables import estimates
from joulegate_api.store.postings import Fact
from joulegate_api.store.quoted import by_quarter, quotes_of
from joulegate_api.store.tables import holds
from joulegate_api.store.unpriced import tell_unpriced

_QUARTER_NS: Final = QUARTER.seconds * 1_000_000_000


def estimate(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    accounts: Mapping[Key, Account],
    gaps: Sequence[Span],
    now: datetime,
) -> None:
    """Post what was quoted for time that no meter covered, at most what the claims still hold."""
    begin, _ = life_of(transaction.connection, transaction.tenant, root)
    live = [part for part in parts if part.state in LIVE]
    opened = claims.claims_of(transaction, live)
    tell_unpriced(transaction, root, live, opened, accounts)
    came = [part for part in parts if part.state not in DEAD]  # growth that expired was never there to be measured
    quoted = by_quarter(quotes_of(transaction.connection, transaction.tenant, came).values())
    expected = _expected(quoted, _by_quarter(gaps), begin)
    found = {key: _at_most(expected, own, accounts[key]) for key, own in opened.items()}
    posted = {key: _sum(quarters) for key, quarters in found.items()}
    posted = {key: amounts for key, amounts in posted.items() if amounts != NOTHING}
    if not posted:
        return
    for key, amounts in posted.items():
        claims.draw(opened[key], amounts)
        claims.settle(opened[key])
    fact = Fact(EntryType.ESTIMATE, parts[0].hold_id, "estimated", now)
    own = {key: opened[key] for key in posted}
    late = late_of(accounts, now)
    told = postings.post(transaction, accounts, fact, posted, own, namespaces_of(parts), late)
    rows = [
        {
            "tenant": transaction.tenant,
            "hold_id": parts[0].hold_id,
            "budget": key.budget,
            "period_start": key.start,
            **amounts.columns("posted"),
            **NOTHING.columns("reversed"),
            "posted_at": now,
            "quarters": {format_instant(quarter): [ns, *each] for quarter, (ns, each) in sorted(found[key].items())},
        }
        for key, amounts in posted.items()
    ]
    transaction.connection.execute(insert(estimates), rows)
    body: dict[str, Any] = {"cluster": root[0], "root_uid": root[1], "charges": told}
    body["uncovered"] = [{"from": format_instant(since), "to": format_instant(until)} for since, until in gaps]
    transaction.log(EntryType.ESTIMATE, parts[0].hold_id, now, body)


def reverse_estimates(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    accounts: Mapping[Key, Account],
    now: datetime,
) -> None:
    """Take back what was estimated for time that has been measured since; what is still uncovered stays posted.

    What is taken back of a quarter-hour is a function of how much of it is still not covered,
    so neither the order nor the batching of late windows changes it.
    """
    of = estimates.c
    mine = and_(of.tenant == transaction.tenant, of.hold_id.in_([part.hold_id for part in parts]))
    rows = transaction.connection.execute(select(estimates).where(mine, of.reversed_at.is_(None))).all()
    if not rows:
        return
    begin, end = life_of(transaction.connection, transaction.tenant, root)
    gaps = uncovered(transaction.connection, transaction.tenant, root, begin, end or now)
    left = _by_quarter(gaps)
    back: dict[Key, Amounts] = {}
    for row in rows:
        whole = _taken_back(row, left)
        change = whole.plus(Amounts.read(row, "reversed").negated())
        if change != NOTHING:
            back[Key(row.budget, row.period_start)] = change.negated()
        values: dict[str, Any] = whole.columns("reversed")
        if whole == Amounts.read(row, "posted").known():
            values["reversed_at"] = now
        of_row = and_(mine, of.hold_id == row.hold_id, of.budget == row.budget, of.period_start == row.period_start)
        transaction.connection.execute(update(estimates).where(of_row).values(values))
    if not back:
        return
    opened = drawn(transaction, root, parts, back, accounts)
    still_ns = sum(left.values())
    fact = Fact(EntryType.ESTIMATE_REVERSED, f"{rows[0].hold_id}/{still_ns}", "measured_late", now)
    late = late_of(accounts, now)
    told = postings.post(transaction, accounts, fact, back, opened, namespaces_of(parts), late)
    body = {"cluster": root[0], "root_uid": root[1], "uncovered_ns": str(still_ns), "charges": told}
    transaction.log(EntryType.ESTIMATE_REVERSED, fact.id, now, body)


def estimated_roots(connection: Connection, tenant: str) -> list[Root]:
    """Roots of which an estimate still stands."""
    query = (
        select(holds.c.cluster, holds.c.root_uid)
        .join(estimates, and_(estimates.c.tenant == holds.c.tenant, estimates.c.hold_id == holds.c.hold_id))
        .where(holds.c.tenant == tenant, estimates.c.reversed_at.is_(None))
        .distinct()
    )
    return [(row.cluster, row.root_uid) for row in connection.execute(query)]


def _by_quarter(gaps: Sequence[Span]) -> dict[datetime, int]:
    """Uncovered nanoseconds by UTC quarter-hour."""
    found: dict[datetime, int] = {}
    for since, until in gaps:
        for start, stop in cut_at_quarters(since, until):
            quarter = quarter_of(start)
            found[quarter] = found.get(quarter, 0) + ns_between(start, stop)
    return found


def _expected(
    quoted: Mapping[datetime, Amounts], gaps: Mapping[datetime, int], begin: datetime
) -> dict[datetime, tuple[int, Amounts]]:
    """What uncovered time would have drawn: as quoted for its quarter-hour, else as quoted on average."""
    count = max(1, len(quoted))
    whole = NOTHING
    for amounts in quoted.values():
        whole = whole.plus(amounts)
    found = {}
    for quarter, ns in gaps.items():
        if quarter in quoted:  # the first one was quoted from the decision on
            span_ns = _QUARTER_NS - max(0, ns_between(quarter, begin))
            found[quarter] = (ns, _share(quoted[quarter], min(ns, span_ns), span_ns))
        else:
            found[quarter] = (ns, _share(whole, ns, count * _QUARTER_NS))
    return found


def _share(amounts: Amounts, ns: int, of_ns: int) -> Amounts:
    """Rounded up: an estimate is never less than its share of the quote."""
    return Amounts(*(-(-(amount or 0) * ns // of_ns) for amount in amounts))


def _at_most(
    expected: Mapping[datetime, tuple[int, Amounts]], own: Sequence[OpenClaim], account: Account
) -> dict[datetime, tuple[int, Amounts]]:
    """The expected quarter-hours of one period, in order, until the rest of its claims is used up."""
    rest = [sum(claim.rest[unit] or 0 for claim in own) for unit in range(len(UNITS))]
    found = {}
    for quarter, (ns, amounts) in sorted(expected.items()):
        if account.key.start <= quarter < account.end:
            taken = Amounts(*(min(left, amount or 0) for left, amount in zip(rest, amounts, strict=True)))
            rest = [left - (amount or 0) for left, amount in zip(rest, taken, strict=True)]
            found[quarter] = (ns, taken)
    return found


def _sum(quarters: Mapping[datetime, tuple[int, Amounts]]) -> Amounts:
    whole = NOTHING
    for _, amounts in quarters.values():
        whole = whole.plus(amounts)
    return whole


def _taken_back(row: Any, left: Mapping[datetime, int]) -> Amounts:  # noqa: ANN401 - a row of estimates
    """How much of an estimate the measured part of its time was, from its beginning until now."""
    if row.quarters is None:  # an estimate of the first version: as a whole
        return Amounts.read(row, "posted").known()
    still = {format_instant(quarter): ns for quarter, ns in left.items()}
    whole = NOTHING
    for quarter, (ns, *posted) in row.quarters.items():
        measured_ns = ns - min(ns, still.get(quarter, 0))
        whole = whole.plus(Amounts(*(amount * measured_ns // ns for amount in posted)))
    return whole
