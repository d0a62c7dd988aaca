"""Postings: what a fact adds to the balances of its budgets, and what it draws from a hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert

from joulegate.core.budgets import Budget
from joulegate.core.footprint import Footprint
from joulegate.core.log import EntryType
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period, format_instant
from joulegate_api.store.amounts import NOTHING, UNKNOWN, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim, write
from joulegate_api.store.entries import Transaction
from joulegate_api.store.slices import PricedSlice
from joulegate_api.store.tables import postings

NOT_LATE: Final[Mapping[Key, Key]] = {}

NOTHING_PRICED: Final = Footprint(None, None, None, None)


@dataclass(slots=True)
class Charge:
    """What a fact charges to one budget and period. ``money`` is apart by currency, because currencies never mix."""

    period: Period
    energy: Amounts = UNKNOWN
    money: dict[str, int] = field(default_factory=dict)

    def add(self, before: Footprint, after: Footprint) -> None:
        """Add the difference between what was priced before and what is now; unknown stays unknown."""
        for sign, known in ((-1, before), (1, after)):
            energy = known.energy.mj if known.energy else None
            carbon = known.carbon_location.ug if known.carbon_location else None
            self.energy = self.energy.plus(
                Amounts(None if energy is None else sign * energy, None if carbon is None else sign * carbon, None)
            )
            if known.cost is not None:
                self.money[known.cost.currency] = self.money.get(known.cost.currency, 0) + sign * known.cost.micros

    def amounts(self, account: Account) -> Amounts:
        """In the units of the account; money in another currency than the account's is unknown to it."""
        counted = [micros for currency, micros in sorted(self.money.items()) if account.counts(currency)]
        return self.energy._replace(micros=sum(counted) if counted else None)


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
        for budget in budgets.values():
            period = budget.period.period_at(part.quarter)
            if period is not None:
                charges.setdefault(Key(budget.name, period.start), Charge(period)).add(NOTHING_PRICED, part.footprint)
    return charges


def post(
    transaction: Transaction,
    accounts: Mapping[Key, Account],
    fact: Fact,
    posted: Mapping[Key, Amounts],
    claims: Mapping[Key, Sequence[OpenClaim]],
    namespaces: Collection[str] = (),
    late: Mapping[Key, Key] = NOT_LATE,
) -> list[dict[str, Any]]:
    """Post amounts in full, with what changed of the pending of settled claims; returns what the entry says.

    What falls into a closed period lands in the period that ``late`` names for it.
    """
    rows, told = [], []
    landed, corrected = _landed(posted, accounts, late)
    for key in sorted({*landed, *claims}):
        own = claims.get(key, ())
        amounts = landed.get(key, UNKNOWN)
        pending = NOTHING
        for claim in own:
            pending = pending.plus(claim.change)
        if key not in landed and pending == NOTHING:
            continue
        account = accounts[key]
        account.post(amounts, pending, *namespaces)
        row = _row(transaction, fact, account, amounts, pending, own[0].hold_id if own else None)
        corrects = corrected.get(key)
        rows.append(row | {"corrects_period": corrects})
        told.append(
            {
                "budget": key.budget,
                "period_start": format_instant(key.start),
                "posted": amounts.written(),
                "pending": pending.written(),
                "currency": account.currency,
                "corrects_period": None if corrects is None else format_instant(corrects),
            }
        )
    if rows:
        transaction.connection.execute(insert(postings), rows)
    write(transaction, [claim for own in claims.values() for claim in own])
    return told


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


def _landed(
    posted: Mapping[Key, Amounts], accounts: Mapping[Key, Account], late: Mapping[Key, Key]
) -> tuple[dict[Key, Amounts], dict[Key, datetime]]:
    """Where amounts land, and the earliest closed period that a landing place corrects."""
    landed: dict[Key, Amounts] = {}
    corrected: dict[Key, datetime] = {}
    for key, amounts in posted.items():
        place = late.get(key, key) if accounts[key].closed_at is not None else key
        landed[place] = landed.get(place, UNKNOWN).plus(amounts)
        if place != key:
            corrected[place] = min(corrected.get(place, key.start), key.start)
    return landed, corrected
