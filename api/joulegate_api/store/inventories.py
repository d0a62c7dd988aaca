"""Lists of live objects from the operator: evidence for confirmation, expiry and the end of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from joulegate.core.errors import InvalidInputError
from joulegate_api.store import holds, tables
from joulegate_api.store.attributions import attribute, misattributed
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.holds import LIVE, Held, HoldState, Root
from joulegate_api.store.meter_tables import inventories, objects
from joulegate_api.store.releases import Releases
from joulegate_api.store.transitions import CONFIRM, EXPIRE, Transitions, step


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod of an object; ``ended_at`` None while it runs."""

    uid: str
    node: str | None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ObjectSeen:
    """A live object of the listed kind, with its pods."""

    uid: str
    owner_uid: str | None
    namespace: str
    name: str
    pods: tuple[PodSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """A list of one kind that was begun at ``begun_at``; only a complete one proves that something is not there."""

    cluster: str
    kind: str
    begun_at: datetime
    complete: bool
    objects: tuple[ObjectSeen, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a list proved: uids of roots. ``unadmitted`` live there without a hold."""

    confirmed: tuple[str, ...]
    expired: tuple[str, ...]
    ended: tuple[str, ...]
    unadmitted: tuple[str, ...]


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

        A hold of the kind is confirmed where its root is listed. Where the list is complete,
        was begun after the hold was made and is without the root, an unconfirmed hold has
        expired and a confirmed one has ended.
        """
        if self._database_now() < inventory.begun_at:
            raise InvalidInputError("lies in the future", "begun_at")
        with self._writer.transaction() as transaction:
            self._remember(transaction, inventory)
        self._attribute(inventory.cluster)
        with self._database.read() as connection:
            standing = self._standing(connection, inventory)
            known = self._known(connection, inventory)
        listed = {seen.uid for seen in inventory.objects}
        there = {root for root in standing if root[1] in listed}
        gone = set(standing) - there if inventory.complete else set()
        confirmed = self._step(there, CONFIRM.after, inventory)
        expired = self._step(gone, EXPIRE.after, inventory)
        ended = {root: standing[root] or inventory.begun_at for root in gone - set(expired)}
        self._releases.end(ended)
        unadmitted = sorted(seen.uid for seen in inventory.objects if seen.owner_uid is None and seen.uid not in known)
        return Evidence(_uids(confirmed), _uids(expired), _uids(list(ended)), tuple(unadmitted))

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

    def _remember(self, transaction: Transaction, inventory: Inventory) -> None:
        now = transaction.now()
        of = inventories.c
        mine = (of.tenant == self._tenant) & (of.cluster == inventory.cluster) & (of.kind == inventory.kind)
        last = transaction.connection.execute(select(of.begun_at).where(mine)).scalar_one_or_none()
        values: dict[str, Any] = {"begun_at": inventory.begun_at, "received_at": now, "complete": inventory.complete}
        if last is None:
            key = {"tenant": self._tenant, "cluster": inventory.cluster, "kind": inventory.kind}
            transaction.connection.execute(insert(inventories).values(key | values))
        elif last <= inventory.begun_at:
            transaction.connection.execute(update(inventories).where(mine).values(values))
        for seen in inventory.objects:
            root = self._root(transaction.connection, inventory.cluster, seen)
            self._keep(transaction, inventory, (seen.uid, seen.owner_uid, root, None, None), seen, now)
            for pod in seen.pods:
                self._keep(transaction, inventory, (pod.uid, seen.uid, root, pod.node, pod.ended_at), seen, now)

    def _keep(
        self,
        transaction: Transaction,
        inventory: Inventory,
        what: tuple[str, str | None, str, str | None, datetime | None],
        seen: ObjectSeen,
        now: datetime,
    ) -> None:
        uid, owner_uid, root_uid, node, ended_at = what
        of = objects.c
        mine = (of.tenant == self._tenant) & (of.cluster == inventory.cluster) & (of.uid == uid)
        values: dict[str, Any] = {"owner_uid": owner_uid, "root_uid": root_uid, "seen_at": now}
        if node is not None:
            values["node"] = node
        if ended_at is not None:
            values["ended_at"] = ended_at
        if not transaction.connection.execute(update(objects).where(mine).values(values)).rowcount:
            key = {"tenant": self._tenant, "cluster": inventory.cluster, "uid": uid}
            key |= {"namespace": seen.namespace, "name": seen.name}
            transaction.connection.execute(insert(objects).values(key | values))

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
        why = {"inventory": inventory.kind, "begun_at": inventory.begun_at.isoformat()}
        moved: list[Root] = []

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            done = step(transaction, root, parts, change, accounts, now, why)
            if _changed(parts, done):
                moved.append(root)
            return done

        if roots:
            self._transitions.each(sorted(roots), work)
        return moved


def _changed(before: Sequence[Held], after: Sequence[Held]) -> bool:
    return [part.state for part in before] != [part.state for part in after]


def _uids(roots: Sequence[Root]) -> tuple[str, ...]:
    return tuple(sorted(uid for _, uid in roots))
