"""The close of a period: after it nothing is posted there, and what was not used may be carried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update

from joulegate.core.budgets import Budget, CarryOver
from joulegate.core.errors import ConflictError, NotFoundError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import Period, format_instant
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Account, Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.tables import balances

DELAY: Final = timedelta(days=4)
"""How long after its end a period is usually closed: late facts have come by then."""

ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed period, and what of it was carried into the next; ``repeat`` where it was closed before."""

    budget: str
    period: Period
    carried: Amounts
    repeat: bool


class Closes:
    """Closes the periods of a tenant."""

    def __init__(self, database: Database, writer: Writer, accounts: Accounts, budgets: Budgets, tenant: str) -> None:
        """Close for one tenant."""
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._budgets = budgets
        self._tenant = tenant

    def close(self, name: str, at: datetime, principal: str, delay: timedelta = DELAY) -> Closed:
        """Close the period of a budget that holds ``at``; again changes nothing.

        Raises :class:`NotFoundError` for an unknown budget or an instant outside its span,
        :class:`ConflictError` where the period has not been over for ``delay``.
        """
        for _ in range(ATTEMPTS):
            with self._database.read() as connection:
                budget = self._budgets.ever(connection, [name]).get(name)
            if budget is None:
                raise NotFoundError(f"there is no budget {name}")
            period = budget.period.period_at(at)
            if period is None:
                raise NotFoundError(f"budget {name} has no period at {format_instant(at)}")
            following = budget.period.period_at(period.end)
            periods = {Key(name, each.start): each for each in (period, following) if each is not None}
            self._accounts.prepare(periods)
            try:
                with self._writer.transaction() as transaction:
                    return self._close(transaction, budget, period, periods, principal, delay)
            except StaleError:
                continue
        raise UnavailableError("the budget is being changed faster than its period can be closed; try again")

    def _close(
        self,
        transaction: Transaction,
        budget: Budget,
        period: Period,
        periods: Mapping[Key, Period],
        principal: str,
        delay: timedelta,
    ) -> Closed:
        accounts = self._accounts.lock(transaction, periods)
        own = accounts[Key(budget.name, period.start)]
        now = transaction.now()
        if own.closed_at is not None:
            return Closed(budget.name, period, NOTHING, repeat=True)
        if now < period.end + delay:
            raise ConflictError(
                f"the period of {budget.name} can be closed from {format_instant(period.end + delay)} on"
            )
        carried = NOTHING
        following = next((account for key, account in accounts.items() if key != own.key), None)
        if budget.carry_over is CarryOver.UNUSED and following is not None:
            carried = _unused(own)
            following.carried = following.carried.plus(carried)
            following.changed = True
        of = balances.c
        transaction.connection.execute(
            update(balances)
            .where(of.tenant == self._tenant, of.budget == budget.name, of.period_start == period.start)
            .values(closed_at=now)
        )
        self._accounts.write(transaction, accounts.values())
        told = []
        if carried != NOTHING and following is not None:
            start = format_instant(following.key.start)
            told.append({"budget": budget.name, "period_start": start, "amount": carried.written()})
        body = {
            "budget": budget.name,
            "period_start": format_instant(period.start),
            "period_end": format_instant(period.end),
            "posted": own.posted.written(),
            "pending": own.pending.written(),
            "principal": principal,
            "carried": told,
        }
        transaction.log(EntryType.PERIOD_CLOSED, f"{budget.name}/{format_instant(period.start)}", now, body)
        return Closed(budget.name, period, carried, repeat=False)


def _unused(account: Account) -> Amounts:
    """What was available at the close, without exceptions: those were for their own time."""
    available = account.available(None)
    return Amounts(*(max(0, room or 0) for room in available))
