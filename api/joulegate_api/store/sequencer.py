"""The sequencer: gives entries their places in the log, in a transaction after that of their fact.

One process at a time holds the epoch of the log's head; every step locks the head
and reads its epoch, size and edge from there, so a holder that was stopped and goes
on later finds the epoch of another and stands down. A process takes over
where the holder leaves entries waiting. Indices are contiguous: a step is kept
as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from joulegate.core.errors import InvalidInputError
from joulegate.core.log import read_entry
from joulegate.core.merkle import HASH_BYTES, Frontier, leaf_hash
from joulegate_api.store.database import Database
from joulegate_api.store.log_tables import log_checkpoints, log_heads, log_leaves, log_nodes, log_queue
from joulegate_api.store.tables import entries

PATIENCE: Final = timedelta(seconds=5)
"""How long entries may wait for the holder of the epoch before another process takes over."""

LARGEST_STEP: Final = 5_000
STRIDE: Final = 4
"""Nodes of every fourth level are kept: a proof reads at most 15 hashes for one of its own."""

_CHUNK: Final = 300


class Place(NamedTuple):
    """An entry's place in its writer's chain."""

    writer_id: str
    writer_epoch: int
    writer_seq: int


@dataclass(frozen=True, slots=True)
class Head:
    """The log now: the epoch in force, how many leaves it has, and its root."""

    epoch: int
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint as it was kept; ``note`` is the signed text."""

    number: int
    size: int
    root: bytes
    note: str
    signed_at: datetime


class Sequencer:
    """Gives places to the entries of one tenant."""

    def __init__(self, database: Database, tenant: str, patience: timedelta = PATIENCE) -> None:
        """Name this process; hold nothing yet."""
        self._database = database
        self._tenant = tenant
        self._patience = patience
        self._name = uuid4().hex
        self._epoch: int | None = None

    def step(self, *, at_once: bool = False) -> int:
        """Give places to what waits, up to a bound; returns how many.

        Zero where nothing waits, or another process holds the epoch and is not
        late; ``at_once`` takes the epoch over without waiting for that.
        """
        with self._database.read() as connection:
            oldest = self._oldest(connection)
        if oldest is None:
            return 0
        with self._database.write() as connection:
            head = self._lock(connection)
            late = self._database.now(connection) - oldest > self._patience
            if not self._holds(connection, head, take_over=at_once or late):
                return 0
            return self._sequence(connection, head)

    def take(self) -> None:
        """Take the epoch over at once: this process leads from now on, until another does so."""
        with self._database.write() as connection:
            self._holds(connection, self._lock(connection), take_over=True)

    def stand_down(self) -> None:
        """Leave the epoch to whoever comes next, where this process holds it: it ends, and none has to wait for it."""
        with self._database.write() as connection:
            if self._lock(connection).holder == self._name:
                mine = log_heads.c.tenant == self._tenant
                connection.execute(update(log_heads).where(mine).values(holder=""))

    def leads(self) -> bool:
        """Whether this process holds the epoch, or nobody does: one replica alone speaks for the whole ledger."""
        of = log_heads.c
        with self._database.read() as connection:
            holder = connection.execute(select(of.holder).where(of.tenant == self._tenant)).scalar_one_or_none()
        return holder in (None, "", self._name)

    def catch_up(self) -> int:
        """Give places to everything that was kept before this call; returns how many."""
        done = 0
        while (more := self.step(at_once=True)) > 0:
            done += more
        return done

    def sign(self, sign: Callable[[int, bytes], str], *, again: bool = False) -> Signed | None:
        """Sign the log as it is and keep the note; None where nothing was added since the last (unless ``again``).

        ``sign`` gets size and root. The head is locked meanwhile: no two
        checkpoints of one size differ.
        """
        with self._database.write() as connection:
            head = self._lock(connection)
            last = newest(connection, self._tenant)
            if last is not None and last.size == head.size and not again:
                return None
            self._holds(connection, head, take_over=True)
            tree = _tree(head)
            row = Signed(
                number=last.number + 1 if last else 0,
                size=tree.size,
                root=tree.root(),
                note=sign(tree.size, tree.root()),
                signed_at=self._database.now(connection),
            )
            kept = {name: getattr(row, name) for name in Signed.__slots__}
            connection.execute(insert(log_checkpoints).values(tenant=self._tenant, epoch=self._epoch, **kept))
            return row

    def _oldest(self, connection: Connection) -> datetime | None:
        of = log_queue.c
        found: datetime | None = connection.execute(
            select(of.recorded_at)
            .where(of.tenant == self._tenant, of.held.is_(False))
            .order_by(of.recorded_at)
            .limit(1)
        ).scalar_one_or_none()
        return found

    def _lock(self, connection: Connection) -> Row[Any]:
        found = select(log_heads).where(log_heads.c.tenant == self._tenant).with_for_update()
        head = connection.execute(found).one_or_none()
        if head is not None:
            return head
        first = {"tenant": self._tenant, "epoch": 0, "holder": "", "size": 0, "peaks": b""}
        try:
            with connection.begin_nested():
                connection.execute(insert(log_heads).values(first))
        except IntegrityError:
            pass  # another process made it
        return connection.execute(found).one()

    def _holds(self, connection: Connection, head: Row[Any], *, take_over: bool) -> bool:
        """Whether this process may write under the epoch that is in force; it may take one where nobody holds any."""
        if self._epoch == head.epoch and head.holder == self._name:
            return True
        self._epoch = None
        if not take_over and head.holder:
            return False
        self._epoch = head.epoch + 1
        connection.execute(
            update(log_heads).where(log_heads.c.tenant == self._tenant).values(epoch=self._epoch, holder=self._name)
        )
        return True

    def _sequence(self, connection: Connection, head: Row[Any]) -> int:
        stretches = self._waiting(connection)
        before = self._before(connection, stretches)
        tree = _tree(head)
        leaves: list[dict[str, Any]] = []
        nodes: list[dict[str, Any]] = []
        done: list[Row[Any]] = []
        broken: set[tuple[str, int]] = set()
        for stretch in stretches:
            chain = (stretch.writer_id, stretch.writer_epoch)
            hashes = None if chain in broken else self._checked(connection, stretch, before.get(chain))
            if hashes is None:
                broken.add(chain)
                continue
            for seq, digest in enumerate(hashes, stretch.first_seq):
                leaves.append(
                    {
                        "tenant": self._tenant,
                        "leaf_index": tree.size,
                        "leaf_hash": digest,
                        **Place(*chain, seq)._asdict(),
                    }
                )
                nodes += [
                    {"tenant": self._tenant, "level": level, "position": position, "hash": root}
                    for level, position, root in tree.append(digest)
                    if level % STRIDE == 0
                ]
            before[chain] = (stretch.last_seq, hashes[-1])
            done.append(stretch)
        self._write(connection, tree, leaves, nodes)
        self._leave(connection, done, broken)
        return len(leaves)

    def _waiting(self, connection: Connection) -> list[Row[Any]]:
        """The oldest stretches of the queue up to the bound, those of one chain in its order."""
        of = log_queue.c
        query = select(log_queue).where(of.tenant == self._tenant, of.held.is_(False))
        found, count = [], 0
        for row in connection.execute(query.order_by(of.recorded_at, of.first_seq).limit(LARGEST_STEP)):
            found.append(row)
            count += row.last_seq - row.first_seq + 1
            if count >= LARGEST_STEP:
                break
        return sorted(found, key=lambda row: (row.writer_id, row.writer_epoch, row.first_seq))

    def _before(
        self, connection: Connection, stretches: Iterable[Row[Any]]
    ) -> dict[tuple[str, int], tuple[int, bytes]]:
        """The last entry of each chain that has a place: its number in the chain, and its hash."""
        firsts: dict[tuple[str, int], int] = {}
        for row in stretches:
            firsts.setdefault((row.writer_id, row.writer_epoch), row.first_seq)
        wanted = [(*chain, seq - 1) for chain, seq in firsts.items() if seq > 0]
        of = log_leaves.c
        found: dict[tuple[str, int], tuple[int, bytes]] = {}
        for begin in range(0, len(wanted), _CHUNK):
            places = tuple_(of.writer_id, of.writer_epoch, of.writer_seq).in_(wanted[begin : begin + _CHUNK])
            for row in connection.execute(select(log_leaves).where(of.tenant == self._tenant, places)):
                found[row.writer_id, row.writer_epoch] = (row.writer_seq, row.leaf_hash)
        return found

    def _checked(self, connection: Connection, stretch: Row[Any], last: tuple[int, bytes] | None) -> list[bytes] | None:
        """The hashes of a stretch whose entries are whole and follow ``last`` and each other; None where not so."""
        of = entries.c
        mine = and_(
            of.tenant == self._tenant,
            of.writer_id == stretch.writer_id,
            of.writer_epoch == stretch.writer_epoch,
            of.writer_seq.between(stretch.first_seq, stretch.last_seq),
        )
        rows = connection.execute(select(of.writer_seq, of.leaf_hash, of.data).where(mine).order_by(of.writer_seq))
        following, previous = (0, None) if last is None else (last[0] + 1, last[1])
        hashes: list[bytes] = []
        for row in rows:
            place = Place(stretch.writer_id, stretch.writer_epoch, following)
            if not _holds_together(row, self._tenant, place, previous):
                return None
            hashes.append(row.leaf_hash)
            following, previous = following + 1, row.leaf_hash
        return hashes if following == stretch.last_seq + 1 and hashes else None

    def _write(
        self,
        connection: Connection,
        tree: Frontier,
        leaves: Sequence[Mapping[str, Any]],
        nodes: Sequence[Mapping[str, Any]],
    ) -> None:
        if not leaves:
            return
        connection.execute(insert(log_leaves), list(leaves))
        if nodes:
            connection.execute(insert(log_nodes), list(nodes))
        connection.execute(
            update(log_heads)
            .where(log_heads.c.tenant == self._tenant)
            .values(size=tree.size, peaks=b"".join(tree.peaks))
        )

    def _leave(self, connection: Connection, done: Sequence[Row[Any]], broken: Iterable[tuple[str, int]]) -> None:
        """Take what has its place out of the queue; a chain that does not hold stays, marked, and is told of."""
        of = log_queue.c
        key = tuple_(of.writer_id, of.writer_epoch, of.first_seq)
        keys = [(row.writer_id, row.writer_epoch, row.first_seq) for row in done]
        for begin in range(0, len(keys), _CHUNK):
            connection.execute(
                delete(log_queue).where(of.tenant == self._tenant, key.in_(keys[begin : begin + _CHUNK]))
            )
        for writer_id, writer_epoch in broken:
            chain = and_(of.tenant == self._tenant, of.writer_id == writer_id, of.writer_epoch == writer_epoch)
            connection.execute(update(log_queue).where(chain).values(held=True))


def newest(connection: Connection, tenant: str) -> Signed | None:
    """The checkpoint that was signed last."""
    of = log_checkpoints.c
    query = select(*(of[name] for name in Signed.__slots__)).where(of.tenant == tenant)
    row = connection.execute(query.order_by(of.number.desc()).limit(1)).one_or_none()
    return None if row is None else Signed(*row)


def head_of(connection: Connection, tenant: str) -> Head:
    """The log now; empty where nothing was ever sequenced."""
    row = connection.execute(select(log_heads).where(log_heads.c.tenant == tenant)).one_or_none()
    return Head(0, 0, Frontier().root()) if row is None else Head(row.epoch, row.size, _tree(row).root())


@dataclass(frozen=True, slots=True)
class Backlog:
    """What has no place yet: how many entries, the oldest of them, and how many are held because a chain is broken."""

    entries: int
    oldest: datetime | None
    held: int


def backlog_of(connection: Connection, tenant: str) -> Backlog:
    """What waits for its place."""
    of = log_queue.c
    count = func.coalesce(func.sum(of.last_seq - of.first_seq + 1), 0)
    rows = connection.execute(
        select(of.held, count, func.min(of.recorded_at)).where(of.tenant == tenant).group_by(of.held)
    ).all()
    return Backlog(
        entries=sum(int(row[1]) for row in rows),
        oldest=min((row[2] for row in rows), default=None),
        held=sum(int(row[1]) for row in rows if row[0]),
    )


def _tree(head: Row[Any]) -> Frontier:
    peaks = [head.peaks[begin : begin + HASH_BYTES] for begin in range(0, len(head.peaks), HASH_BYTES)]
    return Frontier(head.size, peaks)


def _holds_together(row: Row[int, bytes, bytes], tenant: str, place: Place, previous: bytes | None) -> bool:
    """Whether an entry is what its writer wrote, there where it stands."""
    if row.writer_seq != place.writer_seq or leaf_hash(row.data) != row.leaf_hash:
        return False
    try:
        entry = read_entry(row.data)
    except InvalidInputError:
        return False
    told = (entry.tenant, entry.writer_id, entry.writer_epoch, entry.writer_seq, entry.previous)
    return told == (tenant, *place, previous.hex() if previous else None)
