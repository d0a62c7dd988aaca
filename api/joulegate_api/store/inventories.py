"""Lists of live objects from the operator: evidence for confirmation, expiry and the end of work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, case, delete, func, insert, select, update

from joulegate.core.encoding import encode
from joulegate.core.errors import InvalidInputError
from joulegate.core.log import EntryType
from joulegate.core.periods import format_instant
from joulegate.core.workloads import Demand
from joulegate_api.store import holds, tables
from joulegate_api.store.attributions import attribute, misattributed
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.holds import LIVE, Held, HoldState, Root
from joulegate_api.store.meter_tables import inventories, objects
from joulegate_api.store.releases import Releases
from joulegate_api.store.shrinking import shrink
from joulegate_api.store.transitions import CONFIRM, EXPIRE, Transitions, step

KEPT_WITHIN: Final = timedelta(seconds=30)
"""How long after its decision an object may still be kept: a webhook that is asked beside or after ours has 30 s."""


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod of an object; ``ended_at`` None while it runs.

    ``demand`` is its own; None is not known, and then an even share of its object's
    replicas. A ``terminating`` pod does not count beside the one that replaces it.
    """

    uid: str
    node: str | None
    ended_at: datetime | None = None
    demand: Demand | None = None
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class ObjectSeen:
    """A live object of the listed kind, with its pods.

    ``demand`` None is not known. ``surge`` is how many pods more than its replicas its
    update strategy may run for a while.
    """

    uid: str
    owner_uid: str | None
    namespace: str
    name: str
    pods: tuple[PodSeen, ...] = ()
    demand: Demand | None = None
    surge: int = 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """A list of one kind that was begun at ``begun_at``; only a complete one proves that something is not there.

    Of a list in ``parts`` the last one proves it, beside those that came before it.
    """

    cluster: str
    kind: str
    begun_at: datetime
    complete: bool
    objects: tuple[ObjectSeen, ...]
    part: int = 0
    parts: int = 1

    @property
    def is_last(self) -> bool:
        """Whether no further part follows."""
        return self.part == self.parts - 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a list proved: uids of roots. ``unadmitted`` live there without a hold.

    ``before`` is when the last list of the kind was begun, None where this is the first.
    """

    confirmed: tuple[str, ...]
    expired: tuple[str, ...]
    ended: tuple[str, ...]
    unadmitted: tuple[str, ...]
    shrunk: tuple[str, ...] = ()
    before: datetime | None = None


class Inventories:
    """The lists of a tenant."""

    def __init__(
        self, database: Database, writer: Writer, transitions: Transitions, releases: Releases, tenant: str
    ) -> None:
        """Take the lists of one tenant."""
        self._database = database
        self._writer = writer
        self._transitions = transitions
        self._releases = releases
        self._tenant = tenant

    def put(self, inventory: Inventory) -> Evidence:
        """Keep what was listed, and draw the conclusions; the same or an older list again concludes nothing new.

        A hold of the kind is confirmed where its root is listed, and shrinks to its demand where
        that is smaller and the list was begun after every decision about the root. Where the list is complete,
        was begun after the hold was made and is without the root, a confirmed hold has ended, and an
        unconfirmed one has expired where the list was begun :data:`KEPT_WITHIN` after it.
        """
        if self._database_now() < inventory.begun_at:
            raise InvalidInputError("lies in the future", "begun_at")
        with self._writer.transaction() as transaction:
            before = self._last(transaction.connection, inventory)
            self._remember(transaction, inventory, before)
        self._attribute(inventory.cluster)
        with self._database.read() as connection:
            standing = self._standing(connection, inventory)
            known = self._known(connection, inventory)
            young = self._young(connection, inventory)
            told = self._told(connection, inventory)
        shrunk = self._shrink(inventory)
        listed = {seen.uid for seen in inventory.objects}
        there = {root for root in standing if root[1] in listed}
        proves = inventory.complete and inventory.is_last
        gone = {root for root in set(standing) - there - young if root[1] not in told} if proves else set()
        confirmed = self._step(there, CONFIRM.after, inventory)
        expired = self._step(gone, EXPIRE.after, inventory)
        ended = {root: standing[root] or inventory.begun_at for root in gone - set(expired)}
        self._releases.end(ended)
        unadmitted = sorted(seen.uid for seen in inventory.objects if seen.owner_uid is None and seen.uid not in known)
        return Evidence(_uids(confirmed), _uids(expired), _uids(list(ended)), tuple(unadmitted), _uids(shrunk), before)

    def tell_unadmitted(self, inventory: Inventory, uids: Collection[str], reasons: Mapping[str, str]) -> None:
        """Keep for good that work ran which nobody admitted: an entry each, with the pods that were seen.

        ``reasons`` has those that could not even be held for afterwards.
        """
        wanted = [seen for seen in inventory.objects if seen.uid in uids]
        with self._writer.transaction() as transaction:
            now = transaction.now()
            for seen in wanted:
                body = {
                    "cluster": inventory.cluster,
                    "resource": inventory.kind,
                    "root_uid": seen.uid,
                    "namespace": seen.namespace,
                    "name": seen.name,
                    "begun_at": format_instant(inventory.begun_at),
                    "demand": _written(seen.demand),
                    "held": seen.uid not in reasons,
                    "reason": reasons.get(seen.uid),
                    "pods": [{"uid": pod.uid, "node": pod.node} for pod in seen.pods],
                }
                transaction.log(EntryType.UNADMITTED_USAGE, f"{inventory.cluster}/{seen.uid}", now, body)

    def last_report(self, cluster: str) -> datetime | None:
        """When an operator told anything of a cluster last; None where it never did."""
        of = inventories.c
        query = select(func.max(of.received_at)).where(of.tenant == self._tenant, of.cluster == cluster)
        with self._database.read() as connection:
            found: datetime | None = connection.execute(query).scalar_one()
        return found

    def _database_now(self) -> datetime:
        with self._database.read() as connection:
            return self._database.now(connection)

    def _attribute(self, cluster: str) -> None:
        """Draw energy that came before its pod was known from the hold of the pod's root."""
        with self._database.read() as connection:
            pods = misattributed(connection, self._tenant, cluster)

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            attribute(transaction, root, parts, accounts, now, pods[root])
            return parts

        if pods:
            self._transitions.each(list(pods), work)

    def _last(self, connection: Connection, inventory: Inventory) -> datetime | None:
        found: datetime | None = connection.execute(
            select(inventories.c.begun_at).where(self._mine(inventory))
        ).scalar_one_or_none()
        return found

    def _mine(self, inventory: Inventory) -> ColumnElement[bool]:
        of = inventories.c
        return (of.tenant == self._tenant) & (of.cluster == inventory.cluster) & (of.kind == inventory.kind)

    def _remember(self, transaction: Transaction, inventory: Inventory, last: datetime | None) -> None:
        now = transaction.now()
        mine = self._mine(inventory)
        values: dict[str, Any] = {"begun_at": inventory.begun_at, "received_at": now, "complete": inventory.complete}
        if last is None and inventory.is_last:
            key = {"tenant": self._tenant, "cluster": inventory.cluster, "kind": inventory.kind}
            transaction.connection.execute(insert(inventories).values(key | values))
        elif last is not None and last <= inventory.begun_at and inventory.is_last:
            transaction.connection.execute(update(inventories).where(mine).values(values))
        for seen in inventory.objects:
            root = self._root(transaction.connection, inventory.cluster, seen)
            kept = {"owner_uid": seen.owner_uid, "root_uid": root, "surge": seen.surge, "demand": _written(seen.demand)}
            self._keep(transaction, inventory.cluster, seen.uid, kept | {"seen_at": now}, seen)
            for pod in seen.pods:
                kept = {"owner_uid": seen.uid, "root_uid": root, "is_pod": True, "terminating": pod.terminating}
                told = {"node": pod.node, "ended_at": pod.ended_at, "demand": _written(pod.demand or _each_of(seen))}
                kept |= {name: value for name, value in told.items() if value is not None}
                self._keep(transaction, inventory.cluster, pod.uid, kept | {"seen_at": now}, seen)
        if inventory.complete:
            self._forget(transaction, inventory)

    def _keep(self, transaction: Transaction, cluster: str, uid: str, values: dict[str, Any], seen: ObjectSeen) -> None:
        of = objects.c
        mine = (of.tenant == self._tenant) & (of.cluster == cluster) & (of.uid == uid)
        if not transaction.connection.execute(update(objects).where(mine).values(values)).rowcount:
            key = {"tenant": self._tenant, "cluster": cluster, "uid": uid, "is_pod": False, "terminating": False}
            key |= {"namespace": seen.namespace, "name": seen.name, "surge": 0}
            transaction.connection.execute(insert(objects).values(key | values))

    def _forget(self, transaction: Transaction, inventory: Inventory) -> None:
        """Pods admitted before the list was begun, never seen on a node and not listed, did not come to be."""
        of = objects.c
        owners = {seen.uid for seen in inventory.objects}
        pods = {pod.uid for seen in inventory.objects for pod in seen.pods}
        query = select(of.uid, of.owner_uid, of.root_uid).where(
            of.tenant == self._tenant,
            of.cluster == inventory.cluster,
            of.is_pod.is_(True),
            of.node.is_(None),
            of.ended_at.is_(None),
            of.seen_at < inventory.begun_at,
        )
        rows = transaction.connection.execute(query).all()
        never = [row.uid for row in rows if owners & {row.owner_uid, row.root_uid} and row.uid not in pods]
        for uid in never:
            mine = (of.tenant == self._tenant) & (of.cluster == inventory.cluster) & (of.uid == uid)
            transaction.connection.execute(delete(objects).where(mine))

    def _shrink(self, inventory: Inventory) -> list[Root]:
        """Shrink holds of listed roots to a smaller demand; an older list says nothing about a newer decision."""
        asked = {
            (inventory.cluster, seen.uid): seen.demand
            for seen in inventory.objects
            if seen.demand is not None and not seen.demand.suspended
        }
        of = tables.holds.c
        with self._database.read() as connection:
            query = (
                select(of.root_uid)
                .where(of.tenant == self._tenant, of.cluster == inventory.cluster, of.resource == inventory.kind)
                .where(of.state.in_([state.value for state in LIVE]))
                .group_by(of.root_uid)
                .having(func.max(of.decided_at) < inventory.begun_at)
            )
            older = [(inventory.cluster, uid) for uid in connection.execute(query).scalars()]
            parts = holds.of_roots(connection, self._tenant, [root for root in older if root in asked])
        larger = [
            root
            for root, own in parts.items()
            if any(part.state in LIVE and not part.demand.within(asked[root]) for part in own)
        ]
        moved: list[Root] = []

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            done = shrink(transaction, root, parts, asked[root], accounts, now, _why(inventory))
            if done != parts:
                moved.append(root)
            return done

        if larger:
            self._transitions.each(larger, work)
        return moved

    def _root(self, connection: Connection, cluster: str, seen: ObjectSeen) -> str:
        if seen.owner_uid is None:
            return seen.uid
        of = objects.c
        query = select(of.root_uid).where(of.tenant == self._tenant, of.cluster == cluster, of.uid == seen.owner_uid)
        return connection.execute(query).scalar_one_or_none() or seen.owner_uid

    def _standing(self, connection: Connection, inventory: Inventory) -> dict[Root, datetime | None]:
        """Roots of the kind with a live hold that was made before the list was begun, and when their last pod ended."""
        of = tables.holds.c
        query = select(of.cluster, of.root_uid).where(
            of.tenant == self._tenant,
            of.cluster == inventory.cluster,
            of.resource == inventory.kind,
            of.state.in_([state.value for state in LIVE]),
            of.decided_at < inventory.begun_at,
        )
        roots: dict[Root, datetime | None] = {(row.cluster, row.root_uid): None for row in connection.execute(query)}
        ends = select(objects.c.root_uid, objects.c.ended_at).where(
            objects.c.tenant == self._tenant,
            objects.c.cluster == inventory.cluster,
            objects.c.root_uid.in_([uid for _, uid in roots]),
            objects.c.ended_at.is_not(None),
        )
        for row in connection.execute(ends):
            root = (inventory.cluster, row.root_uid)
            before = roots[root]
            roots[root] = row.ended_at if before is None else max(before, row.ended_at)
        return roots

    def _young(self, connection: Connection, inventory: Inventory) -> set[Root]:
        """Roots that nobody has seen yet and whose objects may have been kept after the list was begun."""
        of = tables.holds.c
        query = (
            select(of.root_uid)
            .where(of.tenant == self._tenant, of.cluster == inventory.cluster, of.resource == inventory.kind)
            .where(of.state.in_([state.value for state in LIVE]))
            .group_by(of.root_uid)
            .having(func.max(of.decided_at) > inventory.begun_at - KEPT_WITHIN)
            .having(func.sum(case((of.state == HoldState.CONFIRMED.value, 1), else_=0)) == 0)
        )
        return {(inventory.cluster, uid) for uid in connection.execute(query).scalars()}

    def _told(self, connection: Connection, inventory: Inventory) -> set[str]:
        """The uids that earlier parts of the list told of, at least."""
        if inventory.parts == 1:
            return set()
        of = objects.c
        mine = (of.tenant == self._tenant) & (of.cluster == inventory.cluster)
        return set(connection.execute(select(of.uid).where(mine, of.seen_at >= inventory.begun_at)).scalars())

    def _known(self, connection: Connection, inventory: Inventory) -> set[str]:
        of = tables.holds.c
        query = select(of.root_uid).where(
            of.tenant == self._tenant,
            of.cluster == inventory.cluster,
            of.root_uid.in_([seen.uid for seen in inventory.objects]),
            of.state.not_in([state.value for state in holds.DEAD]),
        )
        return set(connection.execute(query).scalars())

    def _step(self, roots: set[Root], after: HoldState, inventory: Inventory) -> list[Root]:
        change = CONFIRM if after is CONFIRM.after else EXPIRE
        why = _why(inventory)
        moved: list[Root] = []

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            done = step(transaction, root, parts, change, accounts, now, why)
            lives_on = change is EXPIRE and any(part.state in LIVE for part in done)  # by another part: it has ended
            if _changed(parts, done) and not lives_on:
                moved.append(root)
            return done

        if roots:
            self._transitions.each(sorted(roots), work)
        return moved


def _why(inventory: Inventory) -> dict[str, str]:
    return {"inventory": inventory.kind, "begun_at": inventory.begun_at.isoformat()}


def _written(demand: Demand | None) -> Any:  # noqa: ANN401 - plain JSON
    return None if demand is None else encode(demand)


def _each_of(seen: ObjectSeen) -> Demand | None:
    """The demand of one replica, where all are alike; of a pod that is its own object, its demand."""
    if seen.demand is None or len(seen.demand.groups) != 1:
        return None
    return replace(seen.demand, groups=(replace(seen.demand.groups[0], replicas=1),))


def _changed(before: Sequence[Held], after: Sequence[Held]) -> bool:
    return [part.state for part in before] != [part.state for part in after]


def _uids(roots: Sequence[Root]) -> tuple[str, ...]:
    return tuple(sorted(uid for _, uid in roots))
