"""Corrections: a record that should not have been charged is reversed as a whole, with a reason code."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, and_, select, update

from joulegate.core.errors import NotFoundError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import Period
from joulegate_api.store import holds, postings, slices, tables
from joulegate_api.store.amounts import UNKNOWN, Amounts
from joulegate_api.store.balances import Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.draws import drawn
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.lateness import open_periods
from joulegate_api.store.postings import Charge, Fact, charges_of
from joulegate_api.store.rates import RateShelf
from joulegate_api.store.tables import records
from joulegate_api.store.transitions import close_if_priced

ATTEMPTS: Final = 20


class ReasonCode(StrEnum):
    """Why a fact is reversed."""

    DUPLICATE = "duplicate"
    MISMEASURED = "mismeasured"
    WRONG_BUDGET = "wrong_budget"
    REPLACED = "replaced"


class Corrections:
    """Reverses what was posted for a tenant."""

    def __init__(
        self, database: Database, writer: Writer, accounts: Accounts, budgets: Budgets, rates: RateShelf, tenant: str
    ) -> None:
        """Correct for one tenant."""
        self._rates = rates
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._budgets = budgets
        self._tenant = tenant

    def reverse(self, record_id: str, reason: ReasonCode, principal: str) -> bool:
        """Take back everything that a record posted; True where that is new, False where it was reversed before.

        What replaces it is another record with an id of its own. A reversal of what is in a
        closed period is posted to the open one. Raises :class:`NotFoundError`.
        """
        for _ in range(ATTEMPTS):
            with self._database.read() as connection:
                posted = self._posted(connection, record_id)
                periods, late = self._periods(connection, {*posted, *self._drawn(connection, record_id)})
            self._accounts.prepare(periods)
            try:
                with self._writer.transaction() as transaction:
                    return self._reverse(transaction, record_id, reason, principal, periods, late)
            except StaleError:
                continue
        raise UnavailableError("the record is being changed faster than it can be reversed; try again")

    def _posted(self, connection: Connection, record_id: str) -> dict[Key, Amounts]:
        """What takes a record out of the balances, where it landed: its own posting, its pricing and re-pricing."""
        of = tables.postings.c
        known = select(records.c.record_id).where(records.c.tenant == self._tenant, records.c.record_id == record_id)
        if connection.execute(known).first() is None:
            raise NotFoundError(f"there is no record {record_id}")
        query = select(tables.postings).where(
            of.tenant == self._tenant,
            (of.fact_id == record_id) | of.fact_id.startswith(f"{record_id}/", autoescape=True),
            of.fact_type.in_([kind.value for kind in _KINDS]),
        )
        found: dict[Key, Amounts] = {}
        for row in connection.execute(query):
            place = Key(row.budget, row.period_start)
            found[place] = found.get(place, UNKNOWN).plus(Amounts.read(row, "posted").negated())
        return found

    def _drawn(self, connection: Connection, record_id: str) -> dict[Key, Charge]:
        """What a record drew, by the periods of its energy, wherever it was posted."""
        of = tables.record_slices.c
        names = select(records.c.budgets).where(records.c.tenant == self._tenant, records.c.record_id == record_id)
        budgets = self._budgets.ever(connection, connection.execute(names).scalar_one())
        book = self._rates.shelf(connection)
        query = select(tables.record_slices).where(of.tenant == self._tenant, of.record_id == record_id)
        return charges_of([slices.from_row(row, book) for row in connection.execute(query)], budgets)

    def _periods(self, connection: Connection, keys: set[Key]) -> tuple[dict[Key, Period], dict[Key, Key]]:
        budgets = self._budgets.ever(connection, {key.budget for key in keys})
        periods = {}
        for key in keys:
            period = budgets[key.budget].period.period_at(key.start)
            if period is not None:
                periods[key] = period
        running = open_periods(periods, budgets, self._database.now(connection))
        return periods | dict(running.values()), {key: place for key, (place, _) in running.items()}

    def _reverse(
        self,
        transaction: Transaction,
        record_id: str,
        reason: ReasonCode,
        principal: str,
        periods: dict[Key, Period],
        late: dict[Key, Key],
    ) -> bool:
        accounts = self._accounts.lock(transaction, periods)
        mine = and_(records.c.tenant == self._tenant, records.c.record_id == record_id)
        record = transaction.connection.execute(select(records).where(mine).with_for_update()).one()
        if record.reversed_at is not None:
            return False
        posted = self._posted(transaction.connection, record_id)
        charged = self._drawn(transaction.connection, record_id)
        if not {*posted, *charged} <= set(periods):
            raise StaleError
        now = transaction.now()
        transaction.connection.execute(update(records).where(mine).values(reversed_at=now))
        root = (record.cluster, record.root_uid or "")
        found = holds.of_roots(transaction.connection, self._tenant, [root]).get(root, [])
        parts = [part for part in found if part.state not in holds.DEAD]
        given = {key: charge.amounts(accounts[key]).negated() for key, charge in charged.items()}
        taken = drawn(transaction, root, parts, given, accounts)
        fact = Fact(EntryType.CORRECTION, record_id, reason.value, now)
        told = postings.post(transaction, accounts, fact, posted, taken, [record.namespace], late)
        close_if_priced(transaction, root, parts, accounts, now)
        self._accounts.write(transaction, accounts.values())
        body = {"record_id": record_id, "reason": reason.value, "principal": principal, "charges": told}
        transaction.log(EntryType.CORRECTION, record_id, now, body)
        return True


_KINDS: Final = (EntryType.RECORD, EntryType.PRICING, EntryType.REPRICING, EntryType.CORRECTION)
