"""The log as it is read: its head, its entries by index, and proofs for any size that it ever had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from joulegate.core.errors import ConflictError, InvalidInputError, NotFoundError
from joulegate.core.log import Entry, EntryType, read_entry
from joulegate.core.merkle import EMPTY_ROOT, NodeReader, consistency_proof, inclusion_proof, node_hash, subtree
from joulegate.core.periods import Period
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Writer
from joulegate_api.store.log_tables import log_checkpoints, log_leaves, log_nodes, log_retentions
from joulegate_api.store.meter_tables import windows
from joulegate_api.store.pseudonyms import forget
from joulegate_api.store.sequencer import STRIDE, Backlog, Head, Signed, backlog_of, head_of, newest
from joulegate_api.store.tables import entries
from joulegate_api.store.trial_balance import brought_forward

LARGEST_PAGE: Final = 1_000
_STRETCH: Final = 2_000
_CHUNK: Final = 500
_LASTING: Final = [
    kind.value for kind in (EntryType.KEY_EVENT, EntryType.RECOVERY, EntryType.RETENTION, EntryType.REPORT)
]
"""What is never pruned: without it the rest could not be verified."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of the log; ``data`` is its entry's canonical bytes, None where they were pruned."""

    index: int
    leaf_hash: bytes
    data: bytes | None


class LogBook:
    """Reads the log of one tenant."""

    def __init__(self, database: Database, writer: Writer, tenant: str) -> None:
        """Read for one tenant."""
        self._database = database
        self._writer = writer
        self._tenant = tenant

    def head(self) -> Head:
        """The log now."""
        with self._database.read() as connection:
            return head_of(connection, self._tenant)

    def backlog(self) -> tuple[Backlog, datetime]:
        """What waits for its place, and the database's clock."""
        with self._database.read() as connection:
            return backlog_of(connection, self._tenant), self._database.now(connection)

    def newest(self) -> Signed | None:
        """The checkpoint that was signed last; None where none was."""
        with self._database.read() as connection:
            return newest(connection, self._tenant)

    def checkpoints(self, size: int) -> tuple[Signed, ...]:
        """Every checkpoint that was signed of this size."""
        of = log_checkpoints.c
        query = select(*(of[name] for name in Signed.__slots__)).where(of.tenant == self._tenant, of.size == size)
        with self._database.read() as connection:
            return tuple(Signed(*row) for row in connection.execute(query.order_by(of.number)))

    def root_at(self, size: int) -> bytes:
        """The root that the log had when it had ``size`` leaves; :class:`InvalidInputError` where it has fewer."""
        with self._database.read() as connection:
            self._require(connection, size)
            return subtree(0, size, self._reader(connection)) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> tuple[bytes, list[bytes]]:
        """The hash of a leaf, and the proof that it is in the tree of ``size`` leaves."""
        with self._database.read() as connection:
            self._require(connection, size)
            node = self._reader(connection)
            proof = inclusion_proof(index, size, node)
            return node(0, index), proof

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that the tree of ``first`` leaves begins that of ``second``."""
        with self._database.read() as connection:
            self._require(connection, second)
            return consistency_proof(first, second, self._reader(connection))

    def index_of(self, leaf_hash: bytes) -> int:
        """Where a leaf of this hash is; raises :class:`NotFoundError`."""
        of = log_leaves.c
        query = select(of.leaf_index).where(of.tenant == self._tenant, of.leaf_hash == leaf_hash)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(of.leaf_index).limit(1)).scalar_one_or_none()
        if found is None:
            raise NotFoundError("the log has no leaf of this hash")
        return int(found)

    def leaves(self, begin: int, end: int) -> Iterator[Leaf]:
        """The leaves [begin, end) with their entries, in order, read as they are asked for."""
        of, body = log_leaves.c, entries.c
        joined = log_leaves.outerjoin(entries, _same_place())
        whole = select(of.leaf_index, of.leaf_hash, body.data).select_from(joined)
        with self._database.read() as connection:
            for start in range(begin, end, _STRETCH):
                span = of.leaf_index.between(start, min(end, start + _STRETCH) - 1)
                for row in connection.execute(whole.where(of.tenant == self._tenant, span).order_by(of.leaf_index)):
                    yield Leaf(*row)

    def has(self, kind: EntryType, fact_id: str) -> bool:
        """Whether the log has an entry of this kind and id, with a place or without."""
        of = entries.c
        query = select(of.writer_seq).where(of.tenant == self._tenant, of.type == kind.value, of.fact_id == fact_id)
        with self._database.read() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def bodies(self, kind: EntryType) -> list[dict[str, Any]]:
        """The bodies of every entry of a rare kind, the oldest first."""
        of = entries.c
        query = select(of.data).where(of.tenant == self._tenant, of.type == kind.value)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(of.recorded_at, of.writer_seq)).scalars()
            return [dict(read_entry(data).body) for data in found]

    def told(self, kinds: Sequence[EntryType], since: datetime | None = None) -> Iterator[Entry]:
        """Every entry of these kinds, from ``since`` on, the oldest first."""
        of = entries.c
        query = select(of.data).where(of.tenant == self._tenant, of.type.in_([kind.value for kind in kinds]))
        if since is not None:
            query = query.where(of.recorded_at >= since)
        query = query.order_by(of.recorded_at, of.writer_id, of.writer_epoch, of.writer_seq)
        some = query.execution_options(yield_per=_STRETCH)
        with self._database.read() as connection, connection.execute(some).scalars() as found:
            for data in found:
                yield read_entry(data)

    def windows(self, period: Period, accepted_by: datetime | None) -> Iterator[tuple[dict[str, Any], datetime]]:
        """The windows that touch a period as entries name them, each with the instant of its entry."""
        of = windows.c
        query = select(of.body, of.accepted_at).where(
            of.tenant == self._tenant, of.end > period.start, of.start < period.end
        )
        if accepted_by is not None:
            query = query.where(of.accepted_at <= accepted_by)
        some = query.execution_options(yield_per=_STRETCH)
        with self._database.read() as connection, connection.execute(some) as found:
            for row in found:
                yield row.body, row.accepted_at

    def find(self, kind: EntryType, fact_id: str) -> tuple[int, dict[str, Any], str] | None:
        """Place, body and instant of the first entry of this kind and id that has a place; None where none has."""
        of, body = log_leaves.c, entries.c
        here = select(of.leaf_index, body.data).select_from(log_leaves.join(entries, _same_place()))
        mine = and_(of.tenant == self._tenant, body.type == kind.value, body.fact_id == fact_id)
        with self._database.read() as connection:
            row = connection.execute(here.where(mine).order_by(of.leaf_index).limit(1)).one_or_none()
        if row is None:
            return None
        entry = read_entry(row.data)
        return int(row.leaf_index), dict(entry.body), entry.at

    def first_checkpoint(self, above: int) -> Signed | None:
        """The checkpoint that was signed first of those that cover leaf ``above``."""
        of = log_checkpoints.c
        query = select(*(of[name] for name in Signed.__slots__)).where(of.tenant == self._tenant, of.size > above)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(of.number).limit(1)).one_or_none()
        return None if row is None else Signed(*row)

    def index_before(self, before: datetime) -> int:
        """The index of the first leaf that was recorded at ``before`` or later."""
        of, body = log_leaves.c, entries.c
        later = select(func.min(of.leaf_index)).select_from(log_leaves.join(entries, _same_place()))
        with self._database.read() as connection:
            found = connection.execute(later.where(of.tenant == self._tenant, body.recorded_at >= before)).scalar()
            return head_of(connection, self._tenant).size if found is None else int(found)

    def prune(self, before_index: int, why: Mapping[str, Any]) -> int:
        """Delete the bodies of leaves below an index, but of those that verifying needs; how many.

        In the same transaction the log tells of it (``why``), and of what the deleted entries did to the balances.
        """
        of, body = log_leaves.c, entries.c
        old = select(of.leaf_index).where(_same_place(), of.leaf_index < before_index).exists()
        going = and_(body.tenant == self._tenant, body.type.not_in(_LASTING), old)
        with self._writer.transaction() as transaction:
            connection, now = transaction.connection, transaction.now()
            bodies = connection.execute(select(body.data).where(going).execution_options(yield_per=_STRETCH)).scalars()
            told = {**why, "before_index": str(before_index), "brought_forward": brought_forward(bodies)}
            transaction.log(EntryType.RETENTION, str(before_index), now, told)
            kept = {"tenant": self._tenant, "before_index": before_index}
            known = select(log_retentions).filter_by(**kept)
            if connection.execute(known).first() is None:
                connection.execute(insert(log_retentions).values(recorded_at=now, **kept))
            return int(connection.execute(delete(entries).where(going)).rowcount)

    def batch(self, incarnation: str, seqs: Sequence[int]) -> list[Any]:
        """The bodies of a batch of windows, in the order of ``seqs``."""
        of = windows.c
        found: dict[int, Any] = {}
        with self._database.read() as connection:
            for begin in range(0, len(seqs), _CHUNK):
                some = of.window_seq.in_(seqs[begin : begin + _CHUNK])
                mine = and_(of.tenant == self._tenant, of.incarnation == incarnation, some)
                found |= {row.window_seq: row.body for row in connection.execute(select(windows).where(mine))}
        if len(found) != len(seqs):
            raise ConflictError(f"windows of {incarnation} are missing that an entry names")
        return [found[seq] for seq in seqs]

    def note(self, kind: EntryType, fact_id: str, body: Mapping[str, Any], *, although_frozen: bool = False) -> None:
        """Write an entry about the log itself."""
        with self._writer.transaction(although_frozen=although_frozen) as transaction:
            transaction.log(kind, fact_id, transaction.now(), dict(body))

    def forget(self, name: str) -> int:
        """Erase what the log means by a person (a name or pseudonym) or a commitment; how many rows went."""
        with self._database.write() as connection:
            return forget(connection, self._tenant, name)

    def freeze(self, why: str | None) -> None:
        """Refuse every change from now on, and say why; None allows them again."""
        self._writer.frozen = why

    @property
    def frozen(self) -> str | None:
        """Why nothing may change; None where all is well."""
        return self._writer.frozen

    def _require(self, connection: Connection, size: int) -> None:
        known = head_of(connection, self._tenant).size
        if size > known:
            raise InvalidInputError(f"is more than the log has: {known}", "tree_size")

    def _reader(self, connection: Connection) -> NodeReader:
        def node(level: int, position: int) -> bytes:
            kept = level - level % STRIDE
            count = 1 << (level - kept)
            hashes = self._kept(connection, kept, position * count, count)
            while len(hashes) > 1:
                hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
            return hashes[0]

        return node

    def _kept(self, connection: Connection, level: int, position: int, count: int) -> list[bytes]:
        of = log_leaves.c if level == 0 else log_nodes.c
        place = of.leaf_index if level == 0 else of.position
        query = select(of.leaf_hash if level == 0 else of.hash).where(
            of.tenant == self._tenant, place.between(position, position + count - 1)
        )
        if level:
            query = query.where(of.level == level)
        found = list(connection.execute(query.order_by(place)).scalars())
        if len(found) != count:
            raise NotFoundError(f"the log lacks nodes {position} to {position + count - 1} of level {level}")
        return found


def _same_place() -> ColumnElement[bool]:
    """A leaf and its entry."""
    of, body = log_leaves.c, entries.c
    return and_(
        body.tenant == of.tenant,
        body.writer_id == of.writer_id,
        body.writer_epoch == of.writer_epoch,
        body.writer_seq == of.writer_seq,
    )
