"""Dated rates and instruments. Rows are added, never changed; a correction is a row of a newer version."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, insert, select

from joulegate.core.encoding import decode, encode
from joulegate.core.errors import ConflictError
from joulegate.core.footprint import GridIntensity, Price, RateBook, Rates, Site
from joulegate.core.instruments import Instrument
from joulegate.core.log import EntryType, canonical
from joulegate.core.periods import format_instant
from joulegate_api.store import versions
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Writer
from joulegate_api.store.tables import rates

Rate = GridIntensity | Price | Site | Instrument
_KINDS: Final[dict[str, tuple[type[Rate], EntryType]]] = {
    "intensity": (GridIntensity, EntryType.INTENSITY_SET),
    "price": (Price, EntryType.PRICE_SET),
    "site": (Site, EntryType.SITE_SET),
    "instrument": (Instrument, EntryType.INSTRUMENT_SET),
}
_CHUNK: Final = 500  # rows whose identities are looked up at once; SQLite bounds the variables of a statement


@dataclass(frozen=True, slots=True)
class PutRates:
    """What became of a set: how many rows were new, how many were there already."""

    set_id: str
    added: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Book:
    """Every rate of one version, and the id of each row."""

    version: int
    book: RateBook
    ids: Mapping[Rate, str]
    rows: Mapping[str, Rate]

    def id_of(self, rate: Rate | None) -> str | None:
        """The id of a row; None for none."""
        return None if rate is None else self.ids[rate]

    def rates(self, site: str | None, location: str | None, market: str | None, price: str | None) -> Rates:
        """The rows of these ids."""
        found = [None if rate_id is None else self.rows[rate_id] for rate_id in (site, location, market, price)]
        return Rates(*found)  # type: ignore[arg-type]  # an id leads to a row of its own kind


class RateShelf:
    """The dated rates of a tenant."""

    def __init__(self, database: Database, writer: Writer, tenant: str) -> None:
        """Remember nothing yet."""
        self._database = database
        self._writer = writer
        self._tenant = tenant
        self._glances = versions.Glances(database, tenant)
        self._known: Book | None = None
        self._lock = threading.Lock()

    def put_intensities(self, rows: Sequence[GridIntensity], principal: str) -> PutRates:
        """Add intensities as one set; rows that are there already change nothing.

        Raises :class:`ConflictError` where a row of the same zone, basis, begin,
        data set and version says something else: a correction needs a new version.
        """
        return self._put("intensity", rows, principal)

    def put_prices(self, rows: Sequence[Price], principal: str) -> PutRates:
        """Add prices as one set, by the rules of :meth:`put_intensities`."""
        return self._put("price", rows, principal)

    def put_sites(self, rows: Sequence[Site], principal: str) -> PutRates:
        """Add sites as one set, by the rules of :meth:`put_intensities`."""
        return self._put("site", rows, principal)

    def put_instruments(self, rows: Sequence[Instrument], principal: str) -> PutRates:
        """Add certificates and contracts as one set, by the rules of :meth:`put_intensities`."""
        return self._put("instrument", rows, principal)

    def instruments(self) -> tuple[Instrument, ...]:
        """Every certificate and contract, as known now."""
        return tuple(row for row in self.shelf().rows.values() if isinstance(row, Instrument))

    def book(self) -> RateBook:
        """Every rate, as known now."""
        return self.shelf().book

    def shelf(self, connection: Connection | None = None) -> Book:
        """Every rate with the ids of the rows; read again only where something was added."""
        if connection is None:
            with self._lock:
                known = self._known
            if known is not None and known.version == self._glances.now().rates:
                return known
            with self._database.read() as reading:
                return self.shelf(reading)
        version = versions.current(connection, self._tenant).rates
        with self._lock:
            known = self._known
        if known is None or known.version != version:
            known = _read(connection, self._tenant, version)
            with self._lock:
                self._known = known
        return known

    def _put(self, kind: str, rows: Sequence[Rate], principal: str) -> PutRates:
        written = {_rate_id(kind, row): row for row in rows}
        set_id = sha256("".join(sorted(written)).encode()).hexdigest()
        identities = {_identity(row): rate_id for rate_id, row in written.items()}
        if len(identities) != len(written):
            raise ConflictError(f"two rows of the set have the same identity and differ: {_twins(written)}")
        with self._writer.transaction() as transaction:
            versions.hold_still(transaction)
            there = _known_ids(transaction.connection, self._tenant, kind, list(identities))
            for identity, rate_id in there.items():
                if identities[identity] != rate_id:
                    raise ConflictError(f"{identity} is known with other values; a correction needs a new version")
            new = {rate_id: row for rate_id, row in written.items() if rate_id not in there.values()}
            if new:
                now = transaction.now()
                versions.advance(transaction, "rates")
                added = [
                    {
                        "tenant": self._tenant,
                        "rate_id": rate_id,
                        "kind": kind,
                        "identity": _identity(row),
                        "set_id": set_id,
                        "recorded_at": now,
                        "body": encode(row),
                    }
                    for rate_id, row in new.items()
                ]
                transaction.connection.execute(insert(rates), added)
                body = {"principal": principal, "rows": [{"rate_id": row["rate_id"], **row["body"]} for row in added]}
                transaction.log(_KINDS[kind][1], set_id, now, body)
        return PutRates(set_id, len(new), len(written) - len(new))


def _read(connection: Connection, tenant: str, version: int) -> Book:
    found: dict[str, Rate] = {}
    columns = select(rates.c.rate_id, rates.c.kind, rates.c.body).where(rates.c.tenant == tenant)
    for rate_id, kind, body in connection.execute(columns.order_by(rates.c.kind, rates.c.identity)):
        found[rate_id] = decode(_KINDS[kind][0], body)
    book = RateBook(
        intensities=tuple(row for row in found.values() if isinstance(row, GridIntensity)),
        prices=tuple(row for row in found.values() if isinstance(row, Price)),
        sites=tuple(row for row in found.values() if isinstance(row, Site)),
    )
    return Book(version, book, {row: rate_id for rate_id, row in found.items()}, found)


def _known_ids(connection: Connection, tenant: str, kind: str, identities: Sequence[str]) -> dict[str, str]:
    of = rates.c
    found: dict[str, str] = {}
    for begin in range(0, len(identities), _CHUNK):
        some = of.identity.in_(identities[begin : begin + _CHUNK])
        rows = connection.execute(select(of.identity, of.rate_id).where(of.tenant == tenant, of.kind == kind, some))
        found.update({row.identity: row.rate_id for row in rows})
    return found


def _rate_id(kind: str, row: Rate) -> str:
    return sha256(canonical([kind, encode(row)])).hexdigest()


def _identity(row: Rate) -> str:
    parts: tuple[str | None, ...]
    if isinstance(row, GridIntensity):
        parts = (row.zone, row.basis, row.boundary, row.signal)
    elif isinstance(row, Price):
        parts = (row.rule, row.currency, row.gpu_model, row.zone)
        if row.ownership is not None:
            parts += (row.ownership,)
        if row.from_hour is not None:
            parts += (f"{row.from_hour}-{row.to_hour}", row.timezone)
    elif isinstance(row, Instrument):
        parts = (row.kind, row.name, row.zone)
    else:
        parts = (row.name,)
    return " ".join(
        [part or "*" for part in parts] + [format_instant(row.valid_from), row.reference.dataset, row.reference.version]
    )


def _twins(written: Mapping[str, Rate]) -> str:
    seen: set[str] = set()
    for row in written.values():
        if (identity := _identity(row)) in seen:
            return identity
        seen.add(identity)
    return ""
