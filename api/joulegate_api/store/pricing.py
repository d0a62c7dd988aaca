"""Pricing after the fact: what had no rate gets one; an explicit command prices again by the rates now in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, and_, or_, select, update

from joulegate.core.errors import UnavailableError
from joulegate.core.footprint import Rates
from joulegate.core.log import EntryType
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period
from joulegate_api.store import holds, postings, slices, versions
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Accounts, Key, StaleError, unlocked
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.draws import drawn
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.lateness import open_periods
from joulegate_api.store.postings import Charge, Fact
from joulegate_api.store.rates import Book, RateShelf
from joulegate_api.store.slices import PricedSlice
from joulegate_api.store.tables import record_slices, records
from joulegate_api.store.transitions import close_if_priced
from joulegate_api.store.window_pricing import WindowPricing

ATTEMPTS: Final = 20

Span = tuple[datetime, datetime]
"""From an instant until another."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What pricing a record anew changes, by the rates of one version."""

    book: Book
    site: str | None
    pairs: Sequence[tuple[PricedSlice, PricedSlice]]
    charges: Mapping[Key, Charge]
    periods: Mapping[Key, Period]
    late: Mapping[Key, Key]
    root: holds.Root | None
    namespace: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a re-pricing would change: records, roots of windows, and what is posted to each budget and period."""

    records: int
    roots: int
    posted: Mapping[Key, Amounts]


class Pricing:
    """Prices the records and windows of a tenant after they came."""

    def __init__(
        self, database: Database, writer: Writer, accounts: Accounts, budgets: Budgets, rates: RateShelf, tenant: str
    ) -> None:
        """Price for one tenant."""
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._budgets = budgets
        self._rates = rates
        self._tenant = tenant
        self._windows = WindowPricing(database, writer, accounts, budgets, rates, tenant)

    def price_unpriced(self) -> int:
        """Price what had no rate when it came and has one now. What was priced stays.

        Returns how many records changed, and roots of windows.
        """
        part = record_slices.c
        unknown = or_(part.carbon_location_ug.is_(None), part.cost_micros.is_(None))
        with self._database.read() as connection:
            query = select(part.record_id).where(part.tenant == self._tenant, part.energy_mj.is_not(None), unknown)
            found = sorted(connection.execute(query.distinct()).scalars())
        return (
            sum(self._price(record_id, EntryType.PRICING, {}) for record_id in found) + self._windows.price_unpriced()
        )

    def reprice(self, since: datetime, until: datetime, principal: str, reason: str) -> int:
        """Price the quarter-hours in [``since``, ``until``) of records and windows by the rates in force now.

        What was posted is reversed and replaced in one posting; the entry names both.
        Returns how many records changed, and roots of windows.
        """
        with self._database.read() as connection:
            found = self._records(connection, since, until)
        why = {"principal": principal, "reason": reason}
        changed = sum(self._price(record_id, EntryType.REPRICING, why, (since, until)) for record_id in found)
        return changed + self._windows.reprice(since, until, why)

    def rehearse(self, since: datetime, until: datetime) -> Rehearsal:
        """What :meth:`reprice` would post to each budget and period by the rates now in force; nothing is written."""
        records_changed = roots_changed = 0
        posted: dict[Key, Amounts] = {}
        with self._database.read() as connection:
            for record_id in self._records(connection, since, until):
                change = self._plan(connection, record_id, EntryType.REPRICING, (since, until))
                if change.pairs:
                    records_changed += 1
                    self._weigh(connection, change.charges, change.periods, posted)
            for charges, periods in self._windows.rehearse(connection, since, until):
                roots_changed += 1
                self._weigh(connection, charges, periods, posted)
        return Rehearsal(records_changed, roots_changed, posted)

    def _weigh(
        self,
        connection: Connection,
        charges: Mapping[Key, Charge],
        periods: Mapping[Key, Period],
        posted: dict[Key, Amounts],
    ) -> None:
        budgets = self._budgets.ever(connection, {key.budget for key in charges})
        own = {key: periods[key] for key in charges}
        accounts = unlocked(connection, self._tenant, own, budgets, self._database.now(connection))
        for key, charge in charges.items():
            posted[key] = posted.get(key, NOTHING).plus(charge.amounts(accounts[key]).known())

    def _records(self, connection: Connection, since: datetime, until: datetime) -> list[str]:
        part = record_slices.c
        query = select(part.record_id).where(part.tenant == self._tenant, part.quarter >= since, part.quarter < until)
        return sorted(connection.execute(query.distinct()).scalars())

    def _price(self, record_id: str, kind: EntryType, why: Mapping[str, str], span: Span | None = None) -> bool:
        for _ in range(ATTEMPTS):
            with self._database.read() as connection:
                change = self._plan(connection, record_id, kind, span)
            if not change.pairs:
                return False
            self._accounts.prepare(change.periods)
            try:
                with self._writer.transaction() as transaction:
                    return self._keep(transaction, record_id, kind, why, change, span)
            except StaleError:
                continue
        raise UnavailableError("rates are being changed faster than records can be priced; try again")

    def _plan(self, connection: Connection, record_id: str, kind: EntryType, span: Span | None) -> _Change:
        book = self._rates.shelf(connection)
        of = records.c
        record = connection.execute(select(records).where(of.tenant == self._tenant, of.record_id == record_id)).one()
        budgets = self._budgets.ever(connection, record.budgets)
        part = record_slices.c
        inside = () if span is None else (part.quarter >= span[0], part.quarter < span[1])
        rows = connection.execute(
            select(record_slices)
            .where(part.tenant == self._tenant, part.record_id == record_id, *inside)
            .order_by(part.device_uuid, part.boundary, part.quarter)
        )
        pairs = []
        for row in rows if record.reversed_at is None else ():
            old = slices.from_row(row, book)
            new = _priced(old, record.site, book, only_unknown=kind is EntryType.PRICING)
            if new != old:
                pairs.append((old, new))
        charges: dict[Key, Charge] = {}
        for old, new in pairs:
            for budget in budgets.values() if old.boundary is Boundary.ACCELERATOR else ():
                period = budget.period.period_at(old.quarter)
                if period is not None:
                    charge = charges.setdefault(Key(budget.name, period.start), Charge(period))
                    charge.add(old.footprint, new.footprint)
        periods = {key: charge.period for key, charge in charges.items()}
        root = (record.cluster, record.root_uid) if record.root_uid else None
        for held in holds.of_roots(connection, self._tenant, [root]).get(root, []) if root else ():
            for key in held.claims:
                claimed = self._budgets.ever(connection, [key.budget])[key.budget].period.period_at(key.start)
                if claimed is not None:
                    periods[key] = claimed
        running = open_periods(
            periods, self._budgets.ever(connection, {key.budget for key in periods}), self._database.now(connection)
        )
        late = {key: place for key, (place, _) in running.items()}
        return _Change(
            book, record.site, pairs, charges, periods | dict(running.values()), late, root, record.namespace
        )

    def _keep(
        self,
        transaction: Transaction,
        record_id: str,
        kind: EntryType,
        why: Mapping[str, str],
        change: _Change,
        span: Span | None,
    ) -> bool:
        accounts = self._accounts.lock(transaction, change.periods)
        if versions.current(transaction.connection, self._tenant).rates != change.book.version:
            raise StaleError
        if self._plan(transaction.connection, record_id, kind, span).pairs != change.pairs:
            raise StaleError
        now = transaction.now()
        for _, new in change.pairs:
            self._write(transaction, record_id, new, change.book)
        posted = {key: charge.amounts(accounts[key]) for key, charge in change.charges.items()}
        parts = (
            holds.of_roots(transaction.connection, self._tenant, [change.root]).get(change.root, [])
            if change.root
            else []
        )
        living = [part for part in parts if part.state not in holds.DEAD]
        taken = drawn(transaction, change.root, living, posted, accounts) if change.root else {}
        fact = Fact(
            kind, f"{record_id}/{uuid4().hex}", kind.value, now
        )  # again changes nothing: there are no pairs then
        told = postings.post(transaction, accounts, fact, posted, taken, [change.namespace], change.late)
        body: dict[str, Any] = {"record_id": record_id, "why": dict(why), "charges": told}
        body["slices"] = [
            {"before": slices.told(old, change.book), "after": slices.told(new, change.book)}
            for old, new in change.pairs
        ]
        transaction.log(kind, fact.id, now, body)
        if change.root:
            close_if_priced(transaction, change.root, living, accounts, now)
        self._accounts.write(transaction, accounts.values())
        return True

    def _write(self, transaction: Transaction, record_id: str, part: PricedSlice, book: Book) -> None:
        of = record_slices.c
        row = slices.to_row(self._tenant, record_id, part, book)
        transaction.connection.execute(
            update(record_slices)
            .where(
                and_(
                    of.tenant == self._tenant,
                    of.record_id == record_id,
                    of.device_uuid == part.device_uuid,
                    of.boundary == part.boundary.value,
                    of.quarter == part.quarter,
                )
            )
            .values(row)
        )


def _priced(part: PricedSlice, site: str | None, book: Book, *, only_unknown: bool) -> PricedSlice:
    """The slice by the rates in force now; where ``only_unknown``, by those that it had before where it had one."""
    if site is None:
        return part
    rates = book.book.rates_at(site, part.gpu_model, part.quarter)
    if only_unknown:
        had = part.rates
        rates = Rates(
            had.site or rates.site, had.location or rates.location, had.market or rates.market, had.price or rates.price
        )
    return replace(part, rates=rates, footprint=rates.apply(part.footprint.energy, part.gpu_ns))
