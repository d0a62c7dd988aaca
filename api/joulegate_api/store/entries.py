"""Entries of the log, written in the transaction of their fact and not yet sequenced.

Each transaction borrows one chain, so that transactions do not wait for each
other; a chain goes on only after its transaction was kept. Where nobody can know
whether it was kept, the chain begins a new epoch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection

from joulegate.core.encoding import instant_text
from joulegate.core.errors import ReadOnlyError
from joulegate.core.log import Entry, EntryType, canonical, sealed
from joulegate.core.merkle import leaf_hash
from joulegate_api.store.bulk import add_rows
from joulegate_api.store.database import Database
from joulegate_api.store.log_tables import log_queue
from joulegate_api.store.pseudonyms import veiled
from joulegate_api.store.tables import entries

_ELSEWHERE: Final[Mapping[str, Any]] = {}
"""In the place of a body that is written already."""


@dataclass(slots=True)
class Chain:
    """One writer: its epoch, how many entries it wrote in it, and the hash of the last."""

    writer_id: str
    epoch: int = 1
    seq: int = 0
    previous: bytes | None = None


@dataclass(slots=True)
class Transaction:
    """A transaction that writes: its connection, its tenant, and the entries that will be kept with it."""

    connection: Connection
    database: Database
    tenant: str
    pending: list[tuple[EntryType, str, datetime, str]] = field(default_factory=list)

    def now(self) -> datetime:
        """The database's clock. Ask under the locks: no decision is dated before the one it waited for."""
        return self.database.now(self.connection)

    def only_writes(self) -> None:
        """Send what follows without waiting for each answer; nothing can be read any more."""
        self.database.only_writes(self.connection)

    def log(self, kind: EntryType, fact_id: str, at: datetime, body: dict[str, Any]) -> None:
        """Write an entry when the transaction ends; persons and free text are veiled in it."""
        self.log_text(kind, fact_id, at, canonical(veiled(self.connection, self.tenant, kind, body)).decode())

    def log_text(self, kind: EntryType, fact_id: str, at: datetime, body: str) -> None:
        """As :meth:`log`, of a body that names no person, quotes nobody, and is in canonical form."""
        self.pending.append((kind, fact_id, at, body))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What the block wrote is taken back where it raises, its entries too."""
        kept = len(self.pending)
        try:
            with self.connection.begin_nested():
                yield
        except BaseException:
            del self.pending[kept:]
            raise


class Writer:
    """The chains of this process, and the transactions that write on them."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Name this process; the first entry of a chain is its first sign of life."""
        self._database = database
        self._tenant = tenant
        self._name = uuid4().hex
        self._made = 0
        self._free: list[Chain] = []
        self._lock = threading.Lock()
        self.frozen: str | None = None
        """Why nothing may be written now: the log was found shorter than, or other than, what was published."""

    @contextmanager
    def transaction(self, *, although_frozen: bool = False) -> Iterator[Transaction]:
        """A transaction that keeps its rows and its entries together."""
        if self.frozen is not None and not although_frozen:
            raise ReadOnlyError(f"the ledger is read-only: {self.frozen}")
        chain = self._borrow()
        ahead = Chain(chain.writer_id, chain.epoch, chain.seq, chain.previous)
        try:
            with self._database.write() as connection:
                transaction = Transaction(connection, self._database, self._tenant)
                yield transaction
                _append(transaction, ahead)
            chain.seq, chain.previous = ahead.seq, ahead.previous
        except BaseException:
            if ahead.seq != chain.seq:  # it may have been kept all the same, its answer lost
                chain.epoch, chain.seq, chain.previous = chain.epoch + 1, 0, None
            raise
        finally:
            with self._lock:
                self._free.append(chain)

    def _borrow(self) -> Chain:
        with self._lock:
            if self._free:
                return self._free.pop()
            self._made += 1
            return Chain(f"{self._name}/{self._made}")


def _append(transaction: Transaction, chain: Chain) -> None:
    rows = []
    first_seq = chain.seq
    for kind, fact_id, at, body in transaction.pending:
        data = sealed(
            Entry(
                tenant=transaction.tenant,
                type=kind.value,
                id=fact_id,
                at=instant_text(at)[1:-1],
                body=_ELSEWHERE,
                writer_id=chain.writer_id,
                writer_epoch=chain.epoch,
                writer_seq=chain.seq,
                previous=chain.previous.hex() if chain.previous else None,
            ),
            body,
        )
        digest = leaf_hash(data)
        rows.append(
            {
                "writer_seq": chain.seq,
                "type": kind.value,
                "fact_id": fact_id,
                "recorded_at": at,
                "leaf_hash": digest,
                "data": data,
            }
        )
        chain.seq, chain.previous = chain.seq + 1, digest
    if rows:
        whose = {"tenant": transaction.tenant, "writer_id": chain.writer_id, "writer_epoch": chain.epoch}
        add_rows(transaction.connection, entries, rows, whose)
        stretch = {"first_seq": first_seq, "last_seq": chain.seq - 1, "recorded_at": rows[0]["recorded_at"]}
        add_rows(transaction.connection, log_queue, [{**whose, **stretch, "held": False}])
