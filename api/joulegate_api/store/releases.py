"""When a hold may end: its work is gone and every meter that hosted it has answered for the time until then.

What no meter answers for within the grace time is posted as an estimate, from the
frozen quote, and taken back as its measurement comes. Killing a meter makes nothing free.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select, update

from joulegate.core.log import EntryType
from joulegate.core.periods import format_instant
from joulegate_api.store import holds, tables
from joulegate_api.store.balances import Account, Accounts, Key
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.coverage import life_of, uncovered
from joulegate_api.store.database import Database
from joulegate_api.store.devices import is_metered
from joulegate_api.store.entries import Transaction
from joulegate_api.store.estimates import estimate, estimated_roots, reverse_estimates
from joulegate_api.store.holds import LIVE, Held, Root
from joulegate_api.store.lateness import open_periods
from joulegate_api.store.transitions import RELEASE, Transitions, Work, close_if_priced, keys_of, step

GRACE: Final = timedelta(hours=72)
"""How long uncovered time stays pending before it is estimated."""


class Releases:
    """Ends the holds of a tenant by evidence."""

    def __init__(
        self, database: Database, transitions: Transitions, accounts: Accounts, budgets: Budgets, tenant: str
    ) -> None:
        """Work for one tenant."""
        self._database = database
        self._transitions = transitions
        self._accounts = accounts
        self._budgets = budgets
        self._tenant = tenant

    def end(self, ended: Mapping[Root, datetime]) -> None:
        """The roots are gone since these instants; what the meters have answered for is released at once."""

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            of = tables.holds.c
            live = [part.hold_id for part in parts if part.state in LIVE]
            changed = transaction.connection.execute(
                update(tables.holds)
                .where(of.tenant == self._tenant, of.hold_id.in_(live), of.ended_at.is_(None))
                .values(ended_at=ended[root])
            )
            if changed.rowcount:
                body = {"cluster": root[0], "root_uid": root[1], "ended_at": format_instant(ended[root])}
                transaction.log(EntryType.HOLD_ENDED, f"{live[0]}/ended", now, body)
            return self._settle(transaction, root, parts, accounts, now)

        if ended:
            self._each(list(ended), work)

    def sweep(self) -> int:
        """Release what may be released by now, and estimate what nobody measured in time; how many holds ended.

        Estimates of time that was measured since are taken back.
        """
        with self._database.read() as connection:
            roots = self._ended(connection)
            estimated = estimated_roots(connection, self._tenant)
        if estimated:
            self._each(estimated, self._reconcile)
        if not roots:
            return 0
        done = self._each(roots, self._settle)
        return sum(part.state not in LIVE for parts in done.values() for part in parts)

    def _each(self, roots: Collection[Root], work: Work) -> dict[Root, list[Held]]:
        """Work under the locks of the open periods too: an estimate for a closed period is posted there."""
        with self._database.read() as connection:
            keys = keys_of(holds.of_roots(connection, self._tenant, roots))
            budgets = self._budgets.ever(connection, {key.budget for key in keys})
            periods = {key: budgets[key.budget].period.period_at(key.start) for key in keys}
            known = {key: period for key, period in periods.items() if period is not None}
            running = dict(open_periods(known, budgets, self._database.now(connection)).values())
        self._accounts.prepare(running)
        return self._transitions.each(roots, work, running)

    @staticmethod
    def _reconcile(
        transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
    ) -> list[Held]:
        reverse_estimates(transaction, root, parts, accounts, now)
        return parts

    def _ended(self, connection: Connection) -> list[Root]:
        of = tables.holds.c
        query = (
            select(of.cluster, of.root_uid)
            .where(of.tenant == self._tenant, of.ended_at.is_not(None), of.state.in_([state.value for state in LIVE]))
            .distinct()
        )
        return [(row.cluster, row.root_uid) for row in connection.execute(query)]

    def _settle(
        self, transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
    ) -> list[Held]:
        connection = transaction.connection
        begin, ended_at = life_of(connection, self._tenant, root)
        if ended_at is None or not any(part.state in LIVE for part in parts):
            return parts
        gaps = uncovered(connection, self._tenant, root, begin, ended_at)
        if gaps and is_metered(connection, self._tenant, root[0]):
            if now < ended_at + GRACE:
                return parts
            estimate(transaction, root, parts, accounts, gaps, now)
        released = step(transaction, root, parts, RELEASE, accounts, now, {"ended_at": format_instant(ended_at)})
        return close_if_priced(transaction, root, released, accounts, now)
