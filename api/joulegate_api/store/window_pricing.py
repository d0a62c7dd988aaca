"""Pricing windows after the fact: cumulative energy goes to the rates that hold for it now, and is rounded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, tuple_, update

from joulegate.core.encoding import encode
from joulegate.core.errors import UnavailableError
from joulegate.core.footprint import Footprint, Rates
from joulegate.core.log import EntryType
from joulegate.core.periods import Period, format_instant
from joulegate_api.store import charging, devices, holds, postings, versions
from joulegate_api.store.balances import Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.charging import Cell, RateIds, Subject
from joulegate_api.store.database import Database
from joulegate_api.store.draws import drawn
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.holds import Root
from joulegate_api.store.lateness import open_periods
from joulegate_api.store.meter_tables import charges, meters
from joulegate_api.store.postings import NOTHING_PRICED, Charge, Fact
from joulegate_api.store.rates import Book, RateShelf
from joulegate_api.store.slices import NO_RATES
from joulegate_api.store.transitions import close_if_priced

ATTEMPTS: Final = 20

_KINDS: Final = {EntryType.PRICING: EntryType.WINDOWS_PRICED, EntryType.REPRICING: EntryType.WINDOWS_REPRICED}

Where = Any
"""A condition on rows of ``charges``."""


@dataclass(slots=True)
class _Change:
    """Cells of a root that are priced anew: which go, which stand in their place, and what that charges."""

    book: Book
    moved: list[tuple[Row[Any], RateIds]] = field(default_factory=list)
    cells: dict[charging.CellKey, Cell] = field(default_factory=dict)
    charges: dict[Key, Charge] = field(default_factory=dict)
    periods: dict[Key, Period] = field(default_factory=dict)
    late: dict[Key, Key] = field(default_factory=dict)

    @property
    def planned(self) -> list[tuple[Any, ...]]:
        """What it was planned from."""
        return [(row.subject, row.device_uuid, row.quarter, row.rates_key, row.energy_mj) for row, _ in self.moved]


class WindowPricing:
    """Prices the windows of a tenant after they came."""

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

    def price_unpriced(self) -> int:
        """Price energy that had no rate when it came and has one now; how many roots changed."""
        unknown = or_(charges.c.carbon_location_ug.is_(None), charges.c.cost_micros.is_(None))
        return self._each(EntryType.PRICING, unknown, {})

    def reprice(self, since: datetime, until: datetime, why: Mapping[str, str]) -> int:
        """Price every quarter-hour in [``since``, ``until``) by the rates in force now; how many roots changed."""
        return self._each(EntryType.REPRICING, and_(charges.c.quarter >= since, charges.c.quarter < until), why)

    def rehearse(
        self, connection: Connection, since: datetime, until: datetime
    ) -> Iterator[tuple[Mapping[Key, Charge], Mapping[Key, Period]]]:
        """What :meth:`reprice` would charge, root by root; nothing is written."""
        where = and_(charges.c.quarter >= since, charges.c.quarter < until)
        for root in self._roots(connection, where):
            change = self._plan(connection, root, EntryType.REPRICING, where)
            if change.moved:
                yield change.charges, change.periods

    def _each(self, kind: EntryType, where: Where, why: Mapping[str, str]) -> int:
        with self._database.read() as connection:
            roots = self._roots(connection, where)
        return sum(self._price(root, kind, where, why) for root in roots)

    def _roots(self, connection: Connection, where: Where) -> list[Root]:
        of = charges.c
        query = select(of.cluster, of.root_uid).where(of.tenant == self._tenant, where).distinct()
        return sorted((row.cluster, row.root_uid) for row in connection.execute(query))

    def _price(self, root: Root, kind: EntryType, where: Where, why: Mapping[str, str]) -> bool:
        for _ in range(ATTEMPTS):
            with self._database.read() as connection:
                change = self._plan(connection, root, kind, where)
            if not change.moved:
                return False
            self._accounts.prepare(change.periods)
            try:
                with self._writer.transaction() as transaction:
                    return self._keep(transaction, root, kind, where, why, change)
            except StaleError:
                continue
        raise UnavailableError("rates are being changed faster than windows can be priced; try again")

    def _plan(self, connection: Connection, root: Root, kind: EntryType, where: Where) -> _Change:
        change = _Change(self._rates.shelf(connection))
        of = charges.c
        mine = and_(of.tenant == self._tenant, of.cluster == root[0], of.root_uid == root[1])
        order = (of.subject, of.device_uuid, of.quarter, of.rates_key)
        models: dict[str, str | None] = {}
        moves: list[tuple[Row[Any], Cell]] = []
        for row in connection.execute(select(charges).where(mine, where).order_by(*order)):
            if row.device_uuid not in models:
                device = devices.latest(connection, self._tenant, row.device_uuid)
                models[row.device_uuid] = device.model if device else None
            cell = _cell(row, models[row.device_uuid], change.book, only_unknown=kind is EntryType.PRICING)
            if cell.rates_key != row.rates_key:
                moves.append((row, cell))
        gone = {(row.subject, row.device_uuid, row.quarter, row.rates_key) for row, _ in moves}
        there = self._there(connection, root, [cell for _, cell in moves])
        budgets = self._budgets.ever(connection, {name for row, _ in moves for name in row.budgets})
        for row, cell in moves:
            own = change.cells.setdefault(cell.key, cell)
            if own is cell and cell.key in there and cell.key not in gone:
                own.is_new, own.stood = False, (there[cell.key].energy_mj, there[cell.key].gpu_ns)
                own.energy_mj, own.gpu_ns = own.stood
                own.before = own.after = charging.priced(change.book, own.rate_ids, own.energy_mj, own.gpu_ns)
            stood = own.after
            own.energy_mj, own.gpu_ns = own.energy_mj + row.energy_mj, own.gpu_ns + row.gpu_ns
            own.after = charging.priced(change.book, own.rate_ids, own.energy_mj, own.gpu_ns)
            change.moved.append((row, own.rate_ids))
            for name in row.budgets:
                period = budgets[name].period.period_at(row.quarter)
                if period is not None:
                    charge = change.charges.setdefault(Key(name, period.start), Charge(period))
                    charge.add(_footprint(change.book, row), NOTHING_PRICED)
                    charge.add(stood, own.after)
        self._periods(connection, root, change)
        return change

    def _there(self, connection: Connection, root: Root, cells: Sequence[Cell]) -> dict[charging.CellKey, Row[Any]]:
        """The cells that stand already where others are moved to."""
        of = charges.c
        if not cells:
            return {}
        some = tuple_(of.subject, of.device_uuid, of.quarter, of.rates_key).in_([cell.key for cell in cells])
        rows = connection.execute(select(charges).where(of.tenant == self._tenant, of.cluster == root[0], some))
        return {(row.subject, row.device_uuid, row.quarter, row.rates_key): row for row in rows}

    def _periods(self, connection: Connection, root: Root, change: _Change) -> None:
        """Every balance that may change: those of the charges and of the root's holds, and the open ones."""
        periods = {key: charge.period for key, charge in change.charges.items()}
        claimed = {
            key for part in holds.of_roots(connection, self._tenant, [root]).get(root, []) for key in part.claims
        }
        budgets = self._budgets.ever(connection, {key.budget for key in {*periods, *claimed}})
        for key in claimed:
            period = budgets[key.budget].period.period_at(key.start)
            if period is not None:
                periods[key] = period
        running = open_periods(periods, budgets, self._database.now(connection))
        change.periods = periods | dict(running.values())
        change.late = {key: place for key, (place, _) in running.items()}

    def _keep(
        self,
        transaction: Transaction,
        root: Root,
        kind: EntryType,
        where: Where,
        why: Mapping[str, str],
        change: _Change,
    ) -> bool:
        self._stop_meters(transaction, root[0])
        accounts = self._accounts.lock(transaction, change.periods)
        if versions.current(transaction.connection, self._tenant).rates != change.book.version:
            raise StaleError
        again = self._plan(transaction.connection, root, kind, where)
        if again.planned != change.planned or not set(again.periods) <= set(change.periods):
            raise StaleError
        now = transaction.now()
        self._write(transaction, root[0], change)
        posted = {key: charge.amounts(accounts[key]) for key, charge in change.charges.items()}
        found = holds.of_roots(transaction.connection, self._tenant, [root]).get(root, [])
        living = [part for part in found if part.state not in holds.DEAD]
        taken = drawn(transaction, root, living, posted, accounts)
        fact = Fact(_KINDS[kind], uuid4().hex, kind.value, now)
        told = postings.post(
            transaction, accounts, fact, posted, taken, {row.namespace for row, _ in change.moved}, change.late
        )
        body = {
            "cluster": root[0],
            "root_uid": root[1],
            "why": dict(why),
            "charges": told,
            "before": [_told_row(row, to) for row, to in change.moved],
            "after": [_told_cell(cell) for cell in change.cells.values()],
        }
        transaction.log(fact.type, fact.id, now, body)
        close_if_priced(transaction, root, living, accounts, now)
        self._accounts.write(transaction, accounts.values())
        return True

    def _stop_meters(self, transaction: Transaction, cluster: str) -> None:
        """No window is added to these cells meanwhile; meters are locked before balances, as ingest does."""
        of = meters.c
        query = select(of.incarnation).where(of.tenant == self._tenant, of.cluster == cluster).order_by(of.incarnation)
        transaction.connection.execute(query.with_for_update()).all()

    def _write(self, transaction: Transaction, cluster: str, change: _Change) -> None:
        for row, _ in change.moved:
            transaction.connection.execute(
                delete(charges).where(*self._is(cluster, (row.subject, row.device_uuid, row.quarter, row.rates_key)))
            )
        for cell in change.cells.values():
            written = charging.row_of(transaction.tenant, cluster, cell)
            if cell.is_new:
                transaction.connection.execute(insert(charges).values(written))
            else:
                transaction.connection.execute(update(charges).where(*self._is(cluster, cell.key)).values(written))

    def _is(self, cluster: str, key: charging.CellKey) -> Iterable[Where]:
        of = charges.c
        names = (of.subject, of.device_uuid, of.quarter, of.rates_key)
        return (of.tenant == self._tenant, of.cluster == cluster, *(a == b for a, b in zip(names, key, strict=True)))


def _cell(row: Row[Any], model: str | None, book: Book, *, only_unknown: bool) -> Cell:
    """An empty cell at the rates in force now; where ``only_unknown``, at those that it had where it had one."""
    gpu_model = row.gpu_model or model
    rates = book.book.rates_at(row.site, gpu_model, row.quarter) if row.site else NO_RATES
    if only_unknown:
        had = book.rates(*_ids(row))
        rates = Rates(
            had.site or rates.site, had.location or rates.location, had.market or rates.market, had.price or rates.price
        )
    key, ids = charging.rates_key(book, rates)
    subject = Subject(row.subject, row.root_uid, row.namespace, tuple(row.budgets))
    return Cell(subject, row.device_uuid, gpu_model, row.quarter, key, ids, row.site)


def _ids(row: Row[Any]) -> RateIds:
    return row.site_rate, row.location_rate, row.market_rate, row.price_rate


def _footprint(book: Book, row: Row[Any]) -> Footprint:
    return charging.priced(book, _ids(row), row.energy_mj, row.gpu_ns)


def _told_row(row: Row[Any], to: RateIds) -> dict[str, Any]:
    amounts = {name: getattr(row, name) for name in ("energy_mj", "gpu_ns", "carbon_location_ug", "cost_micros")}
    return {
        "subject": row.subject,
        "device_uuid": row.device_uuid,
        "quarter": format_instant(row.quarter),
        "rates": list(_ids(row)),
        "to": list(to),
        "budgets": list(row.budgets),
        **{name: None if amount is None else str(amount) for name, amount in amounts.items()},
        "currency": row.currency,
    }


def _told_cell(cell: Cell) -> dict[str, Any]:
    return {
        "subject": cell.subject.uid,
        "device_uuid": cell.device_uuid,
        "quarter": format_instant(cell.quarter),
        "rates": list(cell.rate_ids),
        "energy_mj": str(cell.energy_mj),
        "gpu_ns": str(cell.gpu_ns),
        "stood": None if cell.stood is None else {"energy_mj": str(cell.stood[0]), "gpu_ns": str(cell.stood[1])},
        "footprint": encode(cell.after),
    }
