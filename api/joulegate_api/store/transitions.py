"""How holds go on from state to state, each change exactly once and with its entry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import update

from joulegate.core.errors import NotFoundError, UnavailableError
from joulegate.core.log import EntryType
from joulegate.core.workloads import Demand
from joulegate_api.store import claims, holds, postings, tables
from joulegate_api.store.amounts import NOTHING
from joulegate_api.store.balances import Account, Accounts, Key, StaleError
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.holds import LIVE, Held, HoldState, Root
from joulegate_api.store.postings import Fact
from joulegate_api.store.shrinking import shrink
from joulegate_api.store.unpriced import tell_unpriced

ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a hold: from which states, to which, and how it is told."""

    before: frozenset[HoldState]
    after: HoldState
    entry: EntryType
    column: str | None = None


_NEW: Final = frozenset({HoldState.UNCONFIRMED})
CONFIRM: Final = Change(_NEW, HoldState.CONFIRMED, EntryType.HOLD_CONFIRMED, "confirmed_at")
REPLACE: Final = Change(_NEW, HoldState.REPLACED, EntryType.HOLD_REPLACED)
EXPIRE: Final = Change(_NEW, HoldState.EXPIRED, EntryType.HOLD_EXPIRED)
RELEASE: Final = Change(frozenset(LIVE), HoldState.RELEASED, EntryType.HOLD_RELEASED, "released_at")
CLOSE: Final = Change(frozenset({HoldState.RELEASED}), HoldState.CLOSED, EntryType.HOLD_CLOSED, "closed_at")


def step(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    change: Change,
    accounts: Mapping[Key, Account],
    now: datetime,
    why: Mapping[str, Any],
) -> list[Held]:
    """Move every part that is in one of the states before; the others stay. Returns all parts as they then are."""
    moved = [replace(part, state=change.after) if part.state in change.before else part for part in parts]
    opened = claims.claims_of(transaction, moved)
    tell_unpriced(transaction, root, moved, opened, accounts)
    for found in opened.values():
        claims.settle(found)
    going = {part.hold_id for part in parts if part.state in change.before}
    left = {
        part.hold_id for part in parts
    } - going  # what they keep may change too: it is told with the first that goes
    for part in moved:
        if part.hold_id not in going:
            continue
        own = {key: _first(part.hold_id, found, left) for key, found in opened.items()}
        left = set()
        fact = Fact(change.entry, part.hold_id, change.after.value, now)
        own = {key: found for key, found in own.items() if found}
        told = postings.post(transaction, accounts, fact, {}, own, holds.namespaces_of(parts))
        _write_state(transaction, part, change, now)
        body = {"cluster": root[0], "root_uid": root[1], "part": part.part, "why": dict(why), "charges": told}
        transaction.log(change.entry, part.hold_id, now, body)
    return moved


def _first(hold_id: str, found: Sequence[OpenClaim], others: Collection[str]) -> list[OpenClaim]:
    """The claims of one hold before those of ``others``."""
    own = [claim for claim in found if claim.hold_id == hold_id]
    return own + [claim for claim in found if claim.hold_id in others]


def close_if_priced(
    transaction: Transaction, root: Root, parts: Sequence[Held], accounts: Mapping[Key, Account], now: datetime
) -> list[Held]:
    """Close released parts when nothing is pending for any of them: all their quarter-hours are priced."""
    done = [part for part in parts if part.state is HoldState.RELEASED]
    opened = claims.claims_of(transaction, done)
    if not done or any(claim.pending != NOTHING for own in opened.values() for claim in own):
        return list(parts)
    closed = {part.hold_id: part for part in step(transaction, root, done, CLOSE, accounts, now, {"because": "priced"})}
    return [closed.get(part.hold_id, part) for part in parts]


def _write_state(transaction: Transaction, part: Held, change: Change, now: datetime) -> None:
    values: dict[str, Any] = {"state": part.state.value}
    if change.column is not None:
        values[change.column] = now
    of = tables.holds.c
    transaction.connection.execute(
        update(tables.holds)
        .where(of.tenant == transaction.tenant, of.hold_id == part.hold_id, of.state != part.state.value)
        .values(values)
    )


Work = Callable[[Transaction, Root, list[Held], Mapping[Key, Account], datetime], list[Held]]


class Transitions:
    """Locks what the holds of some roots claim, and does one piece of work with each root."""

    def __init__(self, database: Database, writer: Writer, accounts: Accounts, tenant: str) -> None:
        """Work for one tenant."""
        self._database = database
        self._writer = writer
        self._accounts = accounts
        self._tenant = tenant

    def each(self, roots: Collection[Root], work: Work, also: Collection[Key] = ()) -> dict[Root, list[Held]]:
        """Do ``work`` for each root in one transaction, under the locks of what they claim, and of ``also``."""
        for _ in range(ATTEMPTS):
            with self._database.read() as connection:
                keys = keys_of(holds.of_roots(connection, self._tenant, roots)) | set(also)
            try:
                with self._writer.transaction() as transaction:
                    return self.inside(transaction, roots, keys, work)
            except StaleError:
                continue
        raise UnavailableError("the holds are being changed faster than this can be done; try again")

    def inside(
        self, transaction: Transaction, roots: Collection[Root], keys: Collection[Key], work: Work
    ) -> dict[Root, list[Held]]:
        """The same in the caller's transaction; raises :class:`StaleError` where holds claim more than ``keys``."""
        accounts = self._accounts.lock(transaction, keys)
        found = holds.of_roots(transaction.connection, self._tenant, roots)
        if not keys_of(found) <= set(keys):
            raise StaleError
        now = transaction.now()
        done = {root: work(transaction, root, found[root], accounts, now) for root in sorted(found)}
        self._accounts.write(transaction, accounts.values())
        return done


def keys_of(parts: Mapping[Root, Sequence[Held]]) -> set[Key]:
    """Every budget and period that these holds claim."""
    return {key for own in parts.values() for part in own for key in part.claims}


class HoldBook:
    """The holds of a tenant, for the operator and for people."""

    def __init__(self, database: Database, transitions: Transitions, tenant: str) -> None:
        """Keep the holds of one tenant."""
        self._database = database
        self._transitions = transitions
        self._tenant = tenant

    def get(self, cluster: str, root_uid: str) -> tuple[Held, ...]:
        """Every part of the hold of a root; raises :class:`NotFoundError`."""
        root = (cluster, root_uid)
        with self._database.read() as connection:
            found = holds.of_roots(connection, self._tenant, [root]).get(root)
        if not found:
            raise NotFoundError(f"{root_uid} of cluster {cluster} has no hold")
        return tuple(found)

    def confirm(self, cluster: str, root_uid: str, principal: str) -> tuple[Held, ...]:
        """The object exists: its unconfirmed parts stand. Again changes nothing; raises :class:`NotFoundError`."""
        return self._step(cluster, root_uid, CONFIRM, {"principal": principal})

    def expire(self, cluster: str, root_uid: str, evidence: Mapping[str, str]) -> tuple[Held, ...]:
        """The object does not exist, by ``evidence``: what its unconfirmed parts held is available again."""
        return self._step(cluster, root_uid, EXPIRE, dict(evidence))

    def release(self, cluster: str, root_uid: str, principal: str) -> tuple[Held, ...]:
        """The work has ended and everything was measured: the rest of its hold is available again.

        Carbon and money that were quoted for energy that is not priced yet stay
        pending; the hold closes when they are. Again changes nothing.
        """

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            released = step(transaction, root, parts, RELEASE, accounts, now, {"principal": principal})
            return close_if_priced(transaction, root, released, accounts, now)

        return self._work(cluster, root_uid, work)

    def shrink(self, cluster: str, root_uid: str, demand: Demand, principal: str) -> tuple[Held, ...]:
        """The object asks for less now: what it no longer needs of the time ahead is available again.

        Again, or a demand that is not smaller, changes nothing; raises :class:`NotFoundError`.
        """

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            return shrink(transaction, root, parts, demand, accounts, now, {"principal": principal})

        return self._work(cluster, root_uid, work)

    def _step(self, cluster: str, root_uid: str, change: Change, why: Mapping[str, str]) -> tuple[Held, ...]:
        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            return step(transaction, root, parts, change, accounts, now, why)

        return self._work(cluster, root_uid, work)

    def _work(self, cluster: str, root_uid: str, work: Work) -> tuple[Held, ...]:
        done = self._transitions.each([(cluster, root_uid)], work)
        if not done:
            raise NotFoundError(f"{root_uid} of cluster {cluster} has no hold")
        return tuple(done[(cluster, root_uid)])
