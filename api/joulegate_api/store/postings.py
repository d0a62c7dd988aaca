"""Postings: what a fact adds to the balances of its budgets, and what it draws from a hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from joulegate.core.budgets import Budget
from joulegate.core.log import EntryType
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period, format_instant
from joulegate_api.store.amounts import NOTHING, UNKNOWN, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.entries import Transaction
from joulegate_api.store.slices import PricedSlice
from joulegate_api.store.tables import hold_claims, postings


@dataclass(slots=True)
class Charge:
    """What a fact charges to one budget and period. ``money`` is apart by currency, because currencies never mix."""

    period: Period
    energy: Amounts = UNKNOWN
    money: dict[str, int] = field(default_factory=dict)

    def amounts(self, account: Account) -> Amounts:
        """In the units of the account; money in another currency than the account's is unknown to it."""
        counted = [micros for currency, micros in sorted(self.money.items()) if account.counts(currency)]
        return self.energy._replace(micros=sum(counted) if counted else None)


@dataclass(slots=True)
class OpenClaim:
    """A hold's claim on one budget and period, as it is drawn down."""

    hold_id: str
    part: int
    key: Key
    held: Amounts
    drawn: Amounts
    pending: Amounts

    def draw(self, amounts: Amounts, *, last: bool) -> Amounts:
        """Take what fits, or all of it where this is the last claim; returns what is left."""
        before = self.pending
        taken = [
            asked or 0 if last else min(asked or 0, pending or 0)
            for asked, pending in zip(amounts, before, strict=True)
        ]
        self.drawn = self.drawn.plus(Amounts(*taken))
        self.pending = Amounts(*(max(0, (p or 0) - t) for p, t in zip(before, taken, strict=True)))
        return Amounts(*((asked or 0) - t for asked, t in zip(amounts, taken, strict=True)))


@dataclass(frozen=True, slots=True)
class Fact:
    """What is posted, and why."""

    type: EntryType
    id: str
    reason: str
    at: datetime


def charges_of(slices: Iterable[PricedSlice], budgets: Mapping[str, Budget]) -> dict[Key, Charge]:
    """What priced slices charge to each budget, in the period that holds their quarter-hour.

    A limit counts accelerators (version 1): slices of another boundary charge nothing.
    """
    charges: dict[Key, Charge] = {}
    for part in slices:
        if part.boundary is not Boundary.ACCELERATOR:
            continue
        known = part.footprint
        amounts = Amounts(
            known.energy.mj if known.energy else None, known.carbon_location.ug if known.carbon_location else None, None
        )
        for budget in budgets.values():
            period = budget.period.period_at(part.quarter)
            if period is None:
                continue
            charge = charges.setdefault(Key(budget.name, period.start), Charge(period))
            charge.energy = charge.energy.plus(amounts)
            if known.cost is not None:
                charge.money[known.cost.currency] = charge.money.get(known.cost.currency, 0) + known.cost.micros
    return charges


def claims_of(transaction: Transaction, hold_ids: Mapping[str, int]) -> dict[Key, list[OpenClaim]]:
    """The claims of these holds by budget and period, in the order of their parts."""
    if not hold_ids:
        return {}
    of = hold_claims.c
    rows = transaction.connection.execute(
        select(hold_claims).where(of.tenant == transaction.tenant, of.hold_id.in_(list(hold_ids)))
    )
    found: dict[Key, list[OpenClaim]] = {}
    for row in rows:
        key = Key(row.budget, row.period_start)
        claim = OpenClaim(
            hold_id=row.hold_id,
            part=hold_ids[row.hold_id],
            key=key,
            held=Amounts.read(row, "held"),
            drawn=Amounts.read(row, "drawn"),
            pending=Amounts.read(row, "pending"),
        )
        found.setdefault(key, []).append(claim)
    for claims in found.values():
        claims.sort(key=lambda claim: claim.part)
    return found


def post(
    transaction: Transaction,
    accounts: Mapping[Key, Account],
    fact: Fact,
    charges: Mapping[Key, Charge],
    claims: Mapping[Key, list[OpenClaim]],
) -> list[dict[str, Any]]:
    """Post charges in full and draw them from the claims of their budget and period; returns what the entry says."""
    rows, told, drawn = [], [], []
    for key in sorted(charges):
        account = accounts[key]
        posted = charges[key].amounts(account)
        own = claims.get(key, [])
        pending = _draw(own, posted)
        drawn += own
        account.post(posted, pending)
        rows.append(_row(transaction, fact, account, posted, pending, own[0].hold_id if own else None))
        told.append(
            {
                "budget": key.budget,
                "period_start": format_instant(key.start),
                "posted": posted.written(),
                "pending": pending.written(),
                "currency": account.currency,
            }
        )
    if rows:
        transaction.connection.execute(insert(postings), rows)
    _write_claims(transaction, drawn)
    return told


def _draw(claims: list[OpenClaim], amounts: Amounts) -> Amounts:
    """Draw from each claim what it holds, the rest from the last; returns the change of what is pending."""
    change, rest = NOTHING, amounts
    for claim in claims:
        before = claim.pending
        rest = claim.draw(rest, last=claim is claims[-1])
        change = change.plus(claim.pending).plus(before.negated())
    return change


def _row(
    transaction: Transaction, fact: Fact, account: Account, posted: Amounts, pending: Amounts, hold_id: str | None
) -> dict[str, Any]:
    return {
        "tenant": transaction.tenant,
        "fact_type": fact.type.value,
        "fact_id": fact.id,
        "budget": account.key.budget,
        "period_start": account.key.start,
        "hold_id": hold_id,
        "reason": fact.reason,
        "posted_at": fact.at,
        **posted.columns("posted"),
        **pending.known().columns("pending"),
        "currency": account.currency,
    }


_WRITE_CLAIM = update(hold_claims).where(
    hold_claims.c.hold_id == bindparam("b_hold"),
    hold_claims.c.budget == bindparam("b_budget"),
    hold_claims.c.period_start == bindparam("b_start"),
)


def _write_claims(transaction: Transaction, claims: Collection[OpenClaim]) -> None:
    rows = [
        {
            "b_hold": claim.hold_id,
            "b_budget": claim.key.budget,
            "b_start": claim.key.start,
            **claim.drawn.columns("drawn"),
            **claim.pending.columns("pending"),
        }
        for claim in claims
    ]
    if rows:
        transaction.connection.execute(_WRITE_CLAIM.where(hold_claims.c.tenant == transaction.tenant), rows)
