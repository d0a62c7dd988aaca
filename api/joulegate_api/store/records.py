"""Efficiency records: kept once, priced once, posted to their budgets in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, insert, select, tuple_

from joulegate.core.binding import Work, bind
from joulegate.core.budgets import Budget
from joulegate.core.encoding import encode
from joulegate.core.errors import ConflictError, NotFoundError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.periods import Period
from joulegate.core.prediction import PastRun
from joulegate.core.records import EfficiencyRecord
from joulegate_api.store import holds, postings, slices, stored_records, versions
from joulegate_api.store.balances import Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.devices import is_metered
from joulegate_api.store.draws import drawn
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.lateness import open_periods
from joulegate_api.store.postings import Charge, Fact
from joulegate_api.store.rates import Book, RateShelf
from joulegate_api.store.slices import PricedSlice
from joulegate_api.store.stored_records import Page, RecordFilters, StoredRecord
from joulegate_api.store.tables import record_slices, records

PLANNINGS: Final = 20
LARGEST_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """A record is durable; ``repeat`` where it was before."""

    record_id: str
    repeat: bool
    slices: tuple[PricedSlice, ...]


@dataclass(frozen=True, slots=True)
class _Charging:
    """What a record will post, by the budgets, rates and holds as they were when it was planned."""

    hierarchy: int
    book: Book
    parts: tuple[PricedSlice, ...]
    held: tuple[holds.Held, ...]
    charges: Mapping[Key, Charge]
    charged: bool
    periods: Mapping[Key, Period]
    late: Mapping[Key, Key]


class Records:
    """The records of a tenant."""

    def __init__(
        self, database: Database, writer: Writer, accounts: Accounts, budgets: Budgets, rates: RateShelf, tenant: str
    ) -> None:
        """Keep records of one tenant."""
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._budgets = budgets
        self._rates = rates
        self._tenant = tenant

    def accept(
        self,
        record: EfficiencyRecord,
        content_hash: str,
        principal: str,
        *,
        self_reported: bool = True,
        labels: Mapping[str, str] | None = None,
    ) -> Accepted:
        """Keep a record, price it and post it to the budgets that bind it.

        Energy is priced by device and UTC quarter-hour with the rates in force
        there. Where the run has a hold its charges are drawn from it, and go to the
        budgets of the hold; else they are posted directly, and what exceeds a limit is
        debt. Where a node meter reports for the cluster, a self-reported record charges
        nothing. ``labels`` are those of the namespace. A repeat changes nothing;
        the same id with another ``content_hash`` raises :class:`ConflictError`.
        """
        for _ in range(PLANNINGS):
            charging = self._plan(record, labels or {}, self_reported=self_reported)
            self._accounts.prepare(charging.periods)
            try:
                with self._writer.transaction() as transaction:
                    known = self._known(transaction.connection, record.record_id)
                    if known is not None:
                        return _repeat(
                            record.record_id, known, content_hash, self._slices(transaction.connection, known)
                        )
                    self._keep(transaction, record, content_hash, principal, charging, self_reported=self_reported)
                    return Accepted(record.record_id, repeat=False, slices=charging.parts)
            except StaleError:
                continue
        raise UnavailableError("budgets and rates are being changed faster than a record can be posted; try again")

    def get(self, record_id: str) -> StoredRecord:
        """The record of this id; raises :class:`NotFoundError`."""
        found = self._select(select(records).where(records.c.record_id == record_id))
        if not found:
            raise NotFoundError(f"there is no record {record_id}")
        return found[0]

    def run(self, uid: str) -> tuple[StoredRecord, ...]:
        """Every record of a run, in the order of their begin; raises :class:`NotFoundError` where there is none."""
        query = select(records).where(records.c.run_uid == uid).order_by(records.c.started_at, records.c.record_id)
        found = self._select(query)
        if not found:
            raise NotFoundError(f"there is no run {uid}")
        return found

    def list(self, filters: RecordFilters | None = None, cursor: str | None = None, limit: int = 100) -> Page:
        """A page of records, newest first. Raises :class:`InvalidInputError` for a cursor that is none of ours."""
        of = records.c
        count = max(1, min(limit, LARGEST_PAGE))
        query = stored_records.filtered(select(records), filters or RecordFilters())
        if cursor is not None:
            query = query.where(tuple_(of.started_at, of.record_id) < tuple_(*stored_records.read_cursor(cursor)))
        found = self._select(query.order_by(of.started_at.desc(), of.record_id.desc()).limit(count + 1))
        page = found[:count]
        last = page[-1].record if len(found) > count else None
        return Page(page, None if last is None else stored_records.cursor_after(last.started_at, last.record_id))

    def history(self, namespace: str | None = None, limit: int = LARGEST_PAGE) -> tuple[PastRun, ...]:
        """The newest finished, fully measured runs, for prediction."""
        filters = RecordFilters(namespace=namespace, outcome="succeeded")
        of = records.c
        query = (
            stored_records.filtered(select(records), filters)
            .order_by(of.started_at.desc(), of.record_id.desc())
            .limit(limit)
        )
        past = (stored_records.past_run(stored) for stored in self._select(query))
        return tuple(run for run in past if run is not None)

    def _plan(self, record: EfficiencyRecord, labels: Mapping[str, str], *, self_reported: bool) -> _Charging:
        with self._database.read() as connection:
            hierarchy = self._budgets.hierarchy(connection)
            book = self._rates.shelf(connection)
            parts = slices.slices_of(record, book.book)
            held = self._held(connection, record)
            frozen = {key.budget for part in held for key in part.claims}
            budgets: Mapping[str, Budget]
            if frozen:
                budgets = self._budgets.ever(connection, frozen)
            else:
                work = Work(record.run.namespace, record.kind.value, labels)
                budgets = {name: hierarchy.budgets[name] for name in bind(hierarchy.budgets, work).names}
            charged = not (self_reported and is_metered(connection, self._tenant, record.run.cluster))
            charges = postings.charges_of(parts, budgets) if charged else {}
            periods = {key: charge.period for key, charge in charges.items()}
            running = open_periods(periods, budgets, self._database.now(connection))
        late = {key: place for key, (place, _) in running.items()}
        periods |= dict(running.values())
        return _Charging(hierarchy.version, book, parts, held, charges, charged, periods, late)

    def _held(self, connection: Connection, record: EfficiencyRecord) -> tuple[holds.Held, ...]:
        run = record.run
        roots = {(run.cluster, uid) for uid in (run.uid, run.pod_uid) if uid is not None}
        found = holds.of_roots(connection, self._tenant, roots)
        living = (tuple(part for part in found[root] if part.state not in holds.DEAD) for root in sorted(found))
        return next((parts for parts in living if parts), ())

    def _keep(
        self,
        transaction: Transaction,
        record: EfficiencyRecord,
        content_hash: str,
        principal: str,
        charging: _Charging,
        *,
        self_reported: bool,
    ) -> None:
        accounts = self._accounts.lock(transaction, {*charging.charges, *charging.late.values()})
        held = self._held(transaction.connection, record)
        now_in_force = versions.current(transaction.connection, self._tenant)
        if (now_in_force.hierarchy, now_in_force.rates, held) != (
            charging.hierarchy,
            charging.book.version,
            charging.held,
        ):
            raise StaleError
        now = transaction.now()
        fact = Fact(EntryType.RECORD, record.record_id, "self_reported" if self_reported else "measured", now)
        body = encode(record)
        row = stored_records.row_of(record, body, content_hash, principal, now, self_reported=self_reported)
        row |= {"tenant": self._tenant, "budgets": sorted({key.budget for key in charging.charges})}
        row["charged"] = charging.charged
        row["root_uid"] = held[0].root[1] if held else None
        transaction.connection.execute(insert(records).values(**row))
        rows = [slices.to_row(self._tenant, record.record_id, part, charging.book) for part in charging.parts]
        if rows:
            transaction.connection.execute(insert(record_slices), rows)
        posted = {key: charge.amounts(accounts[key]) for key, charge in charging.charges.items()}
        taken = drawn(transaction, held[0].root, held, posted, accounts) if held else {}
        told = postings.post(transaction, accounts, fact, posted, taken, [record.run.namespace], charging.late)
        self._accounts.write(transaction, accounts.values())
        entry = {"record": body, "content_hash": content_hash, "principal": principal, "self_reported": self_reported}
        entry |= {"charged": charging.charged, "budgets": row["budgets"]}
        entry |= {"slices": [slices.told(part, charging.book) for part in charging.parts], "charges": told}
        transaction.log(EntryType.RECORD, record.record_id, now, entry)

    def _known(self, connection: Connection, record_id: str) -> Row[Any] | None:
        query = select(records).where(records.c.tenant == self._tenant, records.c.record_id == record_id)
        return connection.execute(query).one_or_none()

    def _slices(self, connection: Connection, row: Row[Any]) -> tuple[PricedSlice, ...]:
        return self._slices_of(connection, [row.record_id]).get(row.record_id, ())

    def _select(self, query: Select[Any]) -> tuple[StoredRecord, ...]:
        with self._database.read() as connection:
            rows = connection.execute(query.where(records.c.tenant == self._tenant)).all()
            parts = self._slices_of(connection, [row.record_id for row in rows])
        return tuple(stored_records.stored_from(row, parts.get(row.record_id, ())) for row in rows)

    def _slices_of(self, connection: Connection, record_ids: Sequence[str]) -> dict[str, tuple[PricedSlice, ...]]:
        book = self._rates.shelf(connection)
        of = record_slices.c
        query = select(record_slices).where(of.tenant == self._tenant, of.record_id.in_(record_ids))
        found: dict[str, list[PricedSlice]] = {}
        for row in connection.execute(query.order_by(of.record_id, of.device_uuid, of.boundary, of.quarter)):
            found.setdefault(row.record_id, []).append(slices.from_row(row, book))
        return {record_id: tuple(parts) for record_id, parts in found.items()}


def _repeat(record_id: str, known: Row[Any], content_hash: str, parts: tuple[PricedSlice, ...]) -> Accepted:
    if known.content_hash != content_hash:
        raise ConflictError(f"record {record_id} is known with other content")
    return Accepted(record_id, repeat=True, slices=parts)
