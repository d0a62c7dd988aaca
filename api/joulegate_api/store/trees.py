"""Live objects below an admitted root: whose child an object is, and whether it fits what its root may run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from joulegate.core.encoding import decode, encode
from joulegate.core.entitlement import growth
from joulegate.core.workloads import Demand
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.holds import LIVE, Root
from joulegate_api.store.meter_tables import objects
from joulegate_api.store.tables import holds


@dataclass(frozen=True, slots=True)
class Child:
    """An object that a controller makes below ``owner_uid``; ``demand`` is its own, of one pod where it is a pod."""

    cluster: str
    uid: str
    owner_uid: str
    namespace: str
    name: str
    demand: Demand
    is_pod: bool


@dataclass(frozen=True, slots=True)
class LivePod:
    """A pod that counts in its tree; whoever knows that it has gone says so by :meth:`Trees.gone`."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A child below an admitted root.

    ``growth`` is None where it passes; else the demand of the whole tree with it, to be
    decided under ``root_uid``. ``counted`` are the other pods that it was weighed beside.
    """

    root_uid: str
    growth: Demand | None
    counted: tuple[LivePod, ...]


class Trees:
    """The trees of live objects of a tenant."""

    def __init__(self, database: Database, writer: Writer, tenant: str) -> None:
        """Know the trees of one tenant."""
        self._database = database
        self._writer = writer
        self._tenant = tenant

    def root_of(self, cluster: str, uid: str) -> str | None:
        """The root that an object belongs to, itself where it holds; None where nothing is known of it."""
        with self._database.read() as connection:
            return self._root(connection, cluster, uid)

    def admit(self, child: Child, *, dry_run: bool = False) -> Standing | None:
        """Weigh a child by what its tree runs; None where its owner belongs to no root with a live hold.

        A child that passes counts from now on (``dry_run`` writes nothing). Growth is for the
        caller to decide; once it is held, the child passes. Children of one root are weighed
        one after the other. A repeat of the same uid changes nothing.
        """
        if dry_run:
            with self._database.read() as connection:
                return self._weigh(connection, child, lock=False)
        with self._writer.transaction() as transaction:
            standing = self._weigh(transaction.connection, child, lock=True)
            if standing is not None and standing.growth is None:
                self._note(transaction, child, standing.root_uid)
            return standing

    def note(self, cluster: str, uid: str, owner_uid: str, namespace: str, name: str) -> str | None:
        """Keep that an object belongs to its owner's tree (it asks for nothing itself); returns the root."""
        with self._writer.transaction() as transaction:
            root = self._root(transaction.connection, cluster, owner_uid)
            if root is not None:
                values = {"namespace": namespace, "name": name, "demand": None, "is_pod": False}
                self._write(transaction, cluster, uid, {"owner_uid": owner_uid, "root_uid": root, **values})
            return root

    def keep_choice(self, cluster: str, uid: str, namespace: str, name: str, demand: Demand) -> None:
        """Keep what an object that holds nothing itself (a generator) was let choose for what it makes."""
        values = {"namespace": namespace, "name": name, "demand": encode(demand), "is_pod": False}
        with self._writer.transaction() as transaction:
            self._write(transaction, cluster, uid, {"owner_uid": None, "root_uid": uid, **values})

    def choice_of(self, cluster: str, uid: str) -> str | None:
        """The budget that an object was let choose; None where nothing is known of it."""
        of = objects.c
        mine = and_(of.tenant == self._tenant, of.cluster == cluster, of.uid == uid)
        with self._database.read() as connection:
            found = connection.execute(select(of.demand).where(mine)).scalar_one_or_none()
        return None if found is None else decode(Demand, found).budget

    def gone(self, cluster: str, uids: Collection[str], *, terminating: bool = False) -> None:
        """These pods have ended, or are ``terminating``: what replaces them counts in their place."""
        of = objects.c
        with self._writer.transaction() as transaction:
            now = transaction.now()
            mine = and_(of.tenant == self._tenant, of.cluster == cluster, of.uid.in_(list(uids)), of.ended_at.is_(None))
            values: dict[str, Any] = {"terminating": True} if terminating else {"ended_at": now}
            transaction.connection.execute(update(objects).where(mine).values(values))

    def _root(self, connection: Connection, cluster: str, uid: str) -> str | None:
        of = objects.c
        query = select(of.root_uid).where(of.tenant == self._tenant, of.cluster == cluster, of.uid == uid)
        found = connection.execute(query).scalar_one_or_none()
        if found is not None:
            return str(found)
        return uid if self._held(connection, (cluster, uid), lock=False) else None

    def _held(self, connection: Connection, root: Root, *, lock: bool) -> list[Demand]:
        of = holds.c
        query = (
            select(of.demand)
            .where(
                of.tenant == self._tenant,
                of.cluster == root[0],
                of.root_uid == root[1],
                of.state.in_([state.value for state in LIVE]),
            )
            .order_by(of.part)
        )
        rows = connection.execute(query.with_for_update() if lock else query)
        return [decode(Demand, row.demand) for row in rows]

    def _weigh(self, connection: Connection, child: Child, *, lock: bool) -> Standing | None:
        root_uid = self._root(connection, child.cluster, child.owner_uid)
        held = self._held(connection, (child.cluster, root_uid), lock=lock) if root_uid is not None else []
        if root_uid is None or not held:
            return None
        pods = self._live(connection, child, root_uid) if child.is_pod else []
        live = [decode(Demand, pod.demand) for pod in pods]
        surge = self._surge(connection, child.cluster, root_uid) if child.is_pod else 0
        counted = tuple(LivePod(pod.uid, pod.namespace, pod.name) for pod in pods)
        return Standing(root_uid, growth(held, live, child.demand, surge), counted)

    def _live(self, connection: Connection, child: Child, root_uid: str) -> Sequence[Row[Any]]:
        """The other pods of the tree that run or will, with what is known of their demand."""
        of = objects.c
        query = select(of.uid, of.namespace, of.name, of.demand).where(
            of.tenant == self._tenant,
            of.cluster == child.cluster,
            of.root_uid == root_uid,
            of.uid != child.uid,
            of.is_pod.is_(True),
            of.terminating.is_(False),
            of.ended_at.is_(None),
            of.demand.is_not(None),
        )
        return list(connection.execute(query.order_by(of.uid)))

    def _surge(self, connection: Connection, cluster: str, root_uid: str) -> int:
        of = objects.c
        query = select(of.surge).where(of.tenant == self._tenant, of.cluster == cluster, of.uid == root_uid)
        return int(connection.execute(query).scalar_one_or_none() or 0)

    def _note(self, transaction: Transaction, child: Child, root_uid: str) -> None:
        values = {
            "owner_uid": child.owner_uid,
            "root_uid": root_uid,
            "namespace": child.namespace,
            "name": child.name,
            "demand": encode(child.demand),
            "is_pod": child.is_pod,
        }
        self._write(transaction, child.cluster, child.uid, values)

    def _write(self, transaction: Transaction, cluster: str, uid: str, values: dict[str, Any]) -> None:
        of = objects.c
        mine = and_(of.tenant == self._tenant, of.cluster == cluster, of.uid == uid)
        kept = values | {"seen_at": transaction.now()}
        if not transaction.connection.execute(update(objects).where(mine).values(kept)).rowcount:
            key = {"tenant": self._tenant, "cluster": cluster, "uid": uid, "terminating": False, "surge": 0}
            transaction.connection.execute(insert(objects).values(key | kept))
