"""The trial balance: every balance counted again from the entries of the log, and every row that differs named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from joulegate.core.errors import InvalidInputError
from joulegate.core.log import Entry, EntryType, read_entry
from joulegate.core.merkle import leaf_hash
from joulegate.core.periods import format_instant, parse_instant
from joulegate_api.store.amounts import NOTHING, UNITS, Amounts
from joulegate_api.store.balances import Key
from joulegate_api.store.database import Database
from joulegate_api.store.log_tables import log_leaves, log_retentions
from joulegate_api.store.tables import balances, entries, hold_claims

_AT_ONCE: Final = 1_000
_STEMS: Final = ("posted", "pending", "carried", "exceptions")


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what the entries say; ``row`` names it to the row and column."""

    row: str
    kept: str
    expected: str


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """What a check found; nothing differs where ``differences`` is empty."""

    entries: int
    balances: int
    differences: tuple[Difference, ...]


@dataclass(slots=True)
class _Figures:
    posted: Amounts = NOTHING
    pending: Amounts = NOTHING
    carried: Amounts = NOTHING
    exceptions: Amounts = NOTHING


class Check:
    """Compares tables with entries."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Check one tenant."""
        self._database = database
        self._tenant = tenant

    def run(self) -> TrialBalance:
        """Recompute every balance from the entries; what differs is named, nothing is changed."""
        with self._database.read() as connection:
            if not self._database.is_sqlite:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            figures: dict[Key, _Figures] = {}
            found: list[Difference] = []
            count = 0
            for entry in self._entries(connection, found):
                count += 1
                if entry is not None:
                    _add(figures, entry)
            rows = list(connection.execute(select(balances).where(balances.c.tenant == self._tenant)))
            found += self._balances(rows, figures)
            found += self._claims(connection, rows)
        return TrialBalance(count, len(rows), tuple(found))

    def _entries(self, connection: Connection, found: list[Difference]) -> Iterator[Entry | None]:
        """Every entry of every chain; one that is not what its writer wrote, or that is missing, is a difference."""
        of = entries.c
        query = select(entries).where(of.tenant == self._tenant).order_by(of.writer_id, of.writer_epoch, of.writer_seq)
        last: tuple[str, int, int, str | None] = ("", 0, -1, None)
        for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
            name = f"entries {row.writer_id} {row.writer_epoch} {row.writer_seq}"
            digest = leaf_hash(row.data)
            if digest != row.leaf_hash:
                found.append(Difference(f"{name} data", digest.hex(), row.leaf_hash.hex()))
            try:
                entry = read_entry(row.data)
            except InvalidInputError as error:
                found.append(Difference(f"{name} data", str(error), "an entry"))
                entry = None
            if last[:2] != (row.writer_id, row.writer_epoch):
                last = (row.writer_id, row.writer_epoch, -1, None)
            expected = self._after_pruned(connection, last, row.writer_seq)
            if entry is not None and (entry.writer_seq, entry.previous) != expected:
                kept = f"{entry.writer_seq} after {entry.previous}"
                found.append(Difference(f"{name} chain", kept, f"{expected[0]} after {expected[1]}"))
            last = (row.writer_id, row.writer_epoch, row.writer_seq, row.leaf_hash.hex())
            yield entry

    def _after_pruned(
        self, connection: Connection, last: tuple[str, int, int, str | None], seq: int
    ) -> tuple[int, str | None]:
        """The place and the hash that follow in a chain; what a retention covers between is passed over."""
        writer, epoch, at, previous = last
        if seq <= at + 1:
            return at + 1, previous
        of = log_leaves.c
        covered = select(log_retentions.c.before_index).where(
            log_retentions.c.tenant == self._tenant, log_retentions.c.before_index > of.leaf_index
        )
        query = select(of.writer_seq, of.leaf_hash).where(
            of.tenant == self._tenant, of.writer_id == writer, of.writer_epoch == epoch, covered.exists()
        )
        for gone in connection.execute(query.where(of.writer_seq.between(at + 1, seq - 1)).order_by(of.writer_seq)):
            if gone.writer_seq != at + 1:
                break
            at, previous = gone.writer_seq, gone.leaf_hash.hex()
        return at + 1, previous

    @staticmethod
    def _balances(rows: Iterable[Any], figures: Mapping[Key, _Figures]) -> Iterator[Difference]:
        seen = set()
        for row in rows:
            key = Key(row.budget, row.period_start)
            seen.add(key)
            expected = figures.get(key, _Figures())
            name = f"balances {key.budget} {key.start:%Y-%m-%dT%H:%MZ}"
            for stem in _STEMS:
                yield from _compare(f"{name} {stem}", Amounts.read(row, stem), getattr(expected, stem))
        for key in sorted(set(figures) - seen):
            yield Difference(f"balances {key.budget} {key.start:%Y-%m-%dT%H:%MZ}", "missing", "a row")

    def _claims(self, connection: Connection, rows: Iterable[Any]) -> Iterator[Difference]:
        """What is pending in a balance is what its claims say is pending."""
        pending: dict[Key, Amounts] = {}
        query = select(hold_claims).where(hold_claims.c.tenant == self._tenant)
        for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
            key = Key(row.budget, row.period_start)
            pending[key] = pending.get(key, NOTHING).plus(Amounts.read(row, "pending"))
        for row in rows:
            key = Key(row.budget, row.period_start)
            name = f"hold_claims {key.budget} {key.start:%Y-%m-%dT%H:%MZ} pending"
            yield from _compare(name, pending.get(key, NOTHING), Amounts.read(row, "pending"))


def brought_forward(bodies: Iterable[bytes]) -> list[dict[str, Any]]:
    """What entries did to the balances, a row for each budget and period: it stands for them once they are gone."""
    figures: dict[Key, _Figures] = {}
    for data in bodies:
        _add(figures, read_entry(data))
    return [
        {"budget": key.budget, "period_start": format_instant(key.start)}
        | {stem: getattr(figures[key], stem).written() for stem in _STEMS}
        for key in sorted(figures)
    ]


def _compare(name: str, kept: Amounts, expected: Amounts) -> Iterator[Difference]:
    for unit, mine, theirs in zip(UNITS, kept, expected, strict=True):
        if (mine or 0) != (theirs or 0):
            yield Difference(f"{name}_{unit}", str(mine), str(theirs))


def _add(figures: dict[Key, _Figures], entry: Entry) -> None:
    """Add what an entry changes; every kind of entry tells its changes in the same words."""
    body = entry.body
    if entry.type == EntryType.DECISION and body["held"]:
        for claim in body["claims"]:
            own = figures.setdefault(_key(claim), _Figures())
            own.pending = own.pending.plus(_amounts(claim["asked"]).known())
    for charge in body.get("charges", ()):
        own = figures.setdefault(_key(charge), _Figures())
        own.posted = own.posted.plus(_amounts(charge["posted"]).known())
        own.pending = own.pending.plus(_amounts(charge["pending"]).known())
    for carried in body.get("carried", ()):
        own = figures.setdefault(_key(carried), _Figures())
        own.carried = own.carried.plus(_amounts(carried["amount"]).known())
    for brought in body.get("brought_forward", ()):
        own = figures.setdefault(_key(brought), _Figures())
        for stem in _STEMS:
            setattr(own, stem, getattr(own, stem).plus(_amounts(brought[stem])))
    if entry.type == EntryType.EXCEPTION_APPROVED:
        for granted in body["granted"]:
            own = figures.setdefault(_key(granted), _Figures())
            own.exceptions = own.exceptions.plus(_amounts(body["amount"]).known())
    if entry.type == EntryType.EXCEPTION_EXPIRED:
        own = figures.setdefault(_key(body), _Figures())
        own.exceptions = own.exceptions.plus(_amounts(body["given_up"]).known().negated())


def _key(told: Mapping[str, Any]) -> Key:
    start: datetime = parse_instant(told["period_start"], "period_start")
    return Key(told["budget"], start)


def _amounts(told: Mapping[str, str | None]) -> Amounts:
    return Amounts(*(None if told[unit] is None else int(told[unit] or 0) for unit in UNITS))
