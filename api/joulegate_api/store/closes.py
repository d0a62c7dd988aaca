"""The close of a period: after it nothing is posted there, and what was not used may be carried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update

from joulegate.core.budgets import Budget, CarryOver
from joulegate.core.errors import ConflictError, NotFoundError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import QUARTER, Period, format_instant
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Account, Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.tables import balances, budget_revisions

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


@dataclass(frozen=True, slots=True)
class _Before:
    """What was before a period: since when the budget is written, and the last period where that is still open."""

    written: datetime
    open_since: datetime | None
    counted: bool


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
        :class:`ConflictError` where the period has not been over for ``delay``, where it was over
        before the budget was written and nothing was counted in it, or where its rest is carried
        on and the period before it is still open.
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
            with self._database.read() as connection:
                before = self._before(connection, budget, period)
            if not before.counted:
                raise ConflictError(f"budget {name} was written on {before.written:%Y-%m-%d}, after that period")
            self._accounts.prepare(periods)
            try:
                with self._writer.transaction() as transaction:
                    return self._close(transaction, budget, period, periods, principal, delay, before)
            except StaleError:
                continue
        raise UnavailableError("the budget is being changed faster than its period can be closed; try again")

    def _before(self, connection: Connection, budget: Budget, period: Period) -> _Before:
        form, of = budget_revisions.c, balances.c
        written = connection.execute(
            select(func.min(form.recorded_at)).where(form.tenant == self._tenant, form.name == budget.name)
        ).scalar_one()
        mine = select(of.closed_at).where(of.tenant == self._tenant, of.budget == budget.name)
        own = connection.execute(mine.where(of.period_start == period.start)).first()
        last = budget.period.period_at(period.start - QUARTER)
        open_since = None
        if last is not None and last.end > written:
            closed_at = connection.execute(mine.where(of.period_start == last.start)).scalar_one_or_none()
            open_since = last.start if closed_at is None else None
        return _Before(written, open_since, counted=own is not None or period.end > written)

    def _close(
        self,
        transaction: Transaction,
        budget: Budget,
        period: Period,
        periods: Mapping[Key, Period],
        principal: str,
        delay: timedelta,
        before: _Before,
    ) -> Closed:
        accounts = self._accounts.lock(transaction, periods)
        own = accounts[Key(budget.name, period.start)]
        now = transaction.now()
        carries = budget.carry_over is CarryOver.UNUSED and before.written < period.end
        if own.closed_at is not None:
            return Closed(budget.name, period, NOTHING, repeat=True)
        _check(budget, period, before, now, delay, carries=carries)
        carried = NOTHING
        following = next((account for key, account in accounts.items() if key != own.key), None)
        if carries and following is not None:
            carried = _unused(own)
            following.carried = following.carried.plus(carried)
            following.post(NOTHING, NOTHING)  # what its exceptions carry is less by what was carried on
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


def _check(budget: Budget, period: Period, before: _Before, now: datetime, delay: timedelta, *, carries: bool) -> None:
    if now < period.end + delay:
        raise ConflictError(f"the period of {budget.name} can be closed from {format_instant(period.end + delay)} on")
    if carries and before.open_since is not None:
        raise ConflictError(f"close the period from {format_instant(before.open_since)} first: its rest is carried on")


def _unused(account: Account) -> Amounts:
    """What was left at the close of the limit without exceptions: those were for their own time."""
    sums = zip(account.base, account.carried, account.posted, account.pending, strict=True)
    return Amounts(*(0 if base is None else max(0, base + (c or 0) - (p or 0) - (h or 0)) for base, c, p, h in sums))
