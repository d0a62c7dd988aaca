"""Efficiency records: kept once, priced once, posted to their budgets in the same transaction."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, insert, select, tuple_

from joulegate.core.binding import Work, bind
from joulegate.core.budgets import Budget
from joulegate.core.encoding import decode, encode
from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from joulegate.core.footprint import Footprint
from joulegate.core.log import EntryType
from joulegate.core.periods import format_instant, parse_instant
from joulegate.core.prediction import PastRun
from joulegate.core.records import EfficiencyRecord
from joulegate_api.store import holds, postings, slices, versions
from joulegate_api.store.balances import Accounts, Key, StaleError
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.postings import Charge, Fact
from joulegate_api.store.rates import Book, RateShelf
from joulegate_api.store.slices import PricedSlice, footprint_of
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
class StoredRecord:
    """A record as it was sent, and what it was priced at when it came.

    ``budgets`` names those that it was charged to; ``charged`` is False where a
    node meter charges instead.
    """

    record: EfficiencyRecord
    slices: tuple[PricedSlice, ...]
    accepted_at: datetime
    principal: str
    self_reported: bool
    charged: bool
    budgets: tuple[str, ...]

    @property
    def footprint(self) -> Footprint:
        """The sum of the accelerators' slices; unknown in one slice is unknown in the sum."""
        return footprint_of(self.slices)

    @property
    def unpriced(self) -> tuple[PricedSlice, ...]:
        """Slices whose energy is known and whose carbon or money is not."""
        return tuple(part for part in self.slices if part.unpriced)


@dataclass(frozen=True, slots=True)
class RecordFilters:
    """What records to list; None does not restrict. Records that *began* in [``since``, ``until``)."""

    namespace: str | None = None
    cluster: str | None = None
    run_uid: str | None = None
    pipeline: str | None = None
    kind: str | None = None
    model: str | None = None
    variant: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first; ``cursor`` leads to the next page and is None on the last."""

    records: tuple[StoredRecord, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Charging:
    """What a record will post, by the budgets, rates and holds as they were when it was planned."""

    hierarchy: int
    book: Book
    parts: tuple[PricedSlice, ...]
    holds: Mapping[str, int]
    charges: Mapping[Key, Charge]


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
        debt. ``labels`` are those of the namespace. A repeat changes nothing;
        the same id with another ``content_hash`` raises :class:`ConflictError`.
        """
        for _ in range(PLANNINGS):
            charging = self._plan(record, labels or {})
            self._accounts.prepare({key: charge.period for key, charge in charging.charges.items()})
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
        query = _filtered(select(records), filters or RecordFilters())
        if cursor is not None:
            query = query.where(tuple_(of.started_at, of.record_id) < tuple_(*_read_cursor(cursor)))
        found = self._select(query.order_by(of.started_at.desc(), of.record_id.desc()).limit(count + 1))
        page = found[:count]
        return Page(page, _cursor(page[-1].record) if len(found) > count else None)

    def history(self, namespace: str | None = None, limit: int = LARGEST_PAGE) -> tuple[PastRun, ...]:
        """The newest finished, fully measured runs, for prediction."""
        filters = RecordFilters(namespace=namespace, outcome="succeeded")
        of = records.c
        query = _filtered(select(records), filters).order_by(of.started_at.desc(), of.record_id.desc()).limit(limit)
        past = (_past_run(stored) for stored in self._select(query))
        return tuple(run for run in past if run is not None)

    def _plan(self, record: EfficiencyRecord, labels: Mapping[str, str]) -> _Charging:
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
            charges = postings.charges_of(parts, budgets)
        return _Charging(hierarchy.version, book, parts, {part.hold_id: part.part for part in held}, charges)

    def _held(self, connection: Connection, record: EfficiencyRecord) -> tuple[holds.Held, ...]:
        run = record.run
        roots = {(run.cluster, uid) for uid in (run.uid, run.pod_uid) if uid is not None}
        found = holds.of_roots(connection, self._tenant, roots)
        return tuple(part for parts in found.values() for part in parts if part.state in holds.LIVE)

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
        accounts = self._accounts.lock(transaction, charging.charges)
        held = {part.hold_id: part.part for part in self._held(transaction.connection, record)}
        now_in_force = versions.current(transaction.connection, self._tenant)
        if (now_in_force.hierarchy, now_in_force.rates, held) != (
            charging.hierarchy,
            charging.book.version,
            charging.holds,
        ):
            raise StaleError
        now = transaction.now()
        fact = Fact(EntryType.RECORD, record.record_id, "self_reported" if self_reported else "measured", now)
        body = encode(record)
        row = _row(record, body, content_hash, principal, now, self_reported=self_reported)
        row |= {"tenant": self._tenant, "budgets": sorted({key.budget for key in charging.charges})}
        transaction.connection.execute(insert(records).values(**row))
        rows = [slices.to_row(self._tenant, record.record_id, part, charging.book) for part in charging.parts]
        if rows:
            transaction.connection.execute(insert(record_slices), rows)
        claims = postings.claims_of(transaction, charging.holds)
        told = postings.post(transaction, accounts, fact, charging.charges, claims)
        self._accounts.write(transaction, accounts.values())
        entry = {"record": body, "content_hash": content_hash, "principal": principal, "self_reported": self_reported}
        entry |= {"slices": [_told(part, charging.book) for part in charging.parts], "charges": told}
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
        return tuple(_stored(row, parts.get(row.record_id, ())) for row in rows)

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


def _row(
    record: EfficiencyRecord, body: object, content_hash: str, principal: str, now: datetime, *, self_reported: bool
) -> dict[str, Any]:
    return {
        "record_id": record.record_id,
        "content_hash": content_hash,
        "run_uid": record.run.uid,
        "cluster": record.run.cluster,
        "namespace": record.run.namespace,
        "site": record.run.site,
        "pipeline": record.run.pipeline,
        "kind": record.kind.value,
        "model": record.model,
        "variant": record.variant,
        "outcome": record.outcome.value,
        "source": record.source.value,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "accepted_at": now,
        "principal": principal,
        "self_reported": self_reported,
        "charged": True,
        "body": body,
    }


def _told(part: PricedSlice, book: Book) -> dict[str, Any]:
    """A slice as its entry tells it: amounts, time, and the rows that priced it."""
    return {
        "device_uuid": part.device_uuid,
        "gpu_model": part.gpu_model,
        "boundary": part.boundary.value,
        "quarter": format_instant(part.quarter),
        "gpu_ns": str(part.gpu_ns),
        "missing_ns": str(part.missing_ns),
        "footprint": encode(part.footprint),
        "rates": dict(slices.references_of(part, book)),
    }


def _stored(row: Row[Any], parts: tuple[PricedSlice, ...]) -> StoredRecord:
    return StoredRecord(
        record=decode(EfficiencyRecord, row.body),
        slices=parts,
        accepted_at=row.accepted_at,
        principal=row.principal,
        self_reported=row.self_reported,
        charged=row.charged,
        budgets=tuple(row.budgets),
    )


def _filtered(query: Select[Any], filters: RecordFilters) -> Select[Any]:
    of = records.c
    for name in ("namespace", "cluster", "run_uid", "pipeline", "kind", "model", "variant", "outcome"):
        wanted = getattr(filters, name)
        if wanted is not None:
            query = query.where(of[name] == wanted)
    if filters.since is not None:
        query = query.where(of.started_at >= filters.since)
    if filters.until is not None:
        query = query.where(of.started_at < filters.until)
    return query


def _past_run(stored: StoredRecord) -> PastRun | None:
    record = stored.record
    energy, models = record.energy(), {device.model for device in record.devices}
    duration_ns = max((_device_ns(stored, device.uuid) for device in record.devices), default=0)
    if energy is None or len(models) != 1 or duration_ns <= 0:
        return None
    return PastRun(
        namespace=record.run.namespace,
        model=record.model,
        kind=record.kind.value,
        gpu_model=models.pop(),
        accelerators=Fraction(len(record.devices)),
        duration_ns=duration_ns,
        energy_mj=energy.mj,
    )


def _device_ns(stored: StoredRecord, uuid: str) -> int:
    return sum(part.gpu_ns for part in stored.slices if part.device_uuid == uuid)


def _cursor(record: EfficiencyRecord) -> str:
    return base64.urlsafe_b64encode(f"{format_instant(record.started_at)} {record.record_id}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        at, _, record_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return parse_instant(at, "cursor"), record_id
    except (ValueError, binascii.Error, InvalidInputError) as error:
        raise InvalidInputError("is not a cursor that a page of records gave", "cursor") from error
