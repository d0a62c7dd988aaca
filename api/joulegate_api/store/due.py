"""What has come due by the clock: exceptions that ran out, and periods that may be closed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from joulegate.core.budgets import Budget, CarryOver
from joulegate.core.periods import periods_between
from joulegate_api.store.balances import Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Writer
from joulegate_api.store.tables import balances, budget_revisions, grants

AT_ONCE: Final = 500
"""Rows that are locked together; what is left is due the next time."""


class Due:
    """What has come due for a tenant. Safe to ask and to do from several processes at once."""

    def __init__(self, database: Database, writer: Writer, accounts: Accounts, budgets: Budgets, tenant: str) -> None:
        """Look after one tenant."""
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._budgets = budgets
        self._tenant = tenant

    def expire_exceptions(self) -> int:
        """End exceptions that have run out; how many accounts they were granted on. The used part stays."""
        of = grants.c
        with self._database.read() as connection:
            query = (
                select(of.budget, of.period_start)
                .where(
                    of.tenant == self._tenant,
                    of.expired_at.is_(None),
                    of.expires_at <= self._database.now(connection),
                )
                .distinct()
                .order_by(of.budget, of.period_start)
                .limit(AT_ONCE)
            )
            keys = [Key(row.budget, row.period_start) for row in connection.execute(query)]
        if keys:
            try:
                with self._writer.transaction() as transaction:
                    self._accounts.lock(transaction, keys)  # whoever locks an account ends what has run out on it
            except StaleError:
                return 0  # the accounts are being cut anew, so nothing was ever granted on them
        return len(keys)

    def closable(self, delay: timedelta) -> tuple[tuple[str, datetime], ...]:
        """Budgets and the starts of their periods that have been over for ``delay`` and are not closed, in order.

        A period in which nothing was counted matters only where its rest is carried on.
        """
        with self._database.read() as connection:
            until = self._database.now(connection) - delay
            of = balances.c
            query = select(of.budget, of.period_start).where(
                of.tenant == self._tenant, of.closed_at.is_(None), of.period_end <= until
            )
            found = {(row.budget, row.period_start) for row in connection.execute(query)}
            for budget in self._budgets.hierarchy(connection).budgets.values():
                if budget.carry_over is CarryOver.UNUSED:
                    found.update(self._unused(connection, budget, until))
        return tuple(sorted(found, key=lambda key: (key[1], key[0])))

    def _unused(self, connection: Connection, budget: Budget, until: datetime) -> Iterator[tuple[str, datetime]]:
        """Periods since the last one that was closed, or since the budget was written."""
        of, form = balances.c, budget_revisions.c
        closed = select(func.max(of.period_end)).where(
            of.tenant == self._tenant, of.budget == budget.name, of.closed_at.is_not(None)
        )
        written = select(func.min(form.recorded_at)).where(form.tenant == self._tenant, form.name == budget.name)
        begin = connection.execute(closed).scalar_one_or_none() or connection.execute(written).scalar_one()
        for period in periods_between(budget.period, begin, until):
            if period.end <= until:
                yield budget.name, period.start
