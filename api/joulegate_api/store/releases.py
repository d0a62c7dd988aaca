"""When a hold may end: its work is gone and every meter that hosted it has answered for the time until then.

What no meter answers for within the grace time is posted as an estimate, from the
frozen quote, and reversed when its measurement comes. Killing a meter makes nothing free.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, func, insert, select, update

from joulegate.core.log import EntryType
from joulegate.core.periods import format_instant, quarter_of
from joulegate_api.store import claims, postings, tables
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.database import Database
from joulegate_api.store.devices import is_metered
from joulegate_api.store.draws import drawn
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import LIVE, Held, Root
from joulegate_api.store.meter_tables import devices, estimates, meters, objects, windows
from joulegate_api.store.postings import Fact
from joulegate_api.store.quotes import read_quote
from joulegate_api.store.transitions import RELEASE, Transitions, close_if_priced, step

GRACE: Final = timedelta(hours=72)
"""How long uncovered time stays pending before it is estimated."""


class Releases:
    """Ends the holds of a tenant by evidence."""

    def __init__(self, database: Database, transitions: Transitions, tenant: str) -> None:
        """Work for one tenant."""
        self._database = database
        self._transitions = transitions
        self._tenant = tenant

    def end(self, ended: Mapping[Root, datetime]) -> None:
        """The roots are gone since these instants; what the meters have answered for is released at once."""

        def work(
            transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
        ) -> list[Held]:
            of = tables.holds.c
            live = [part.hold_id for part in parts if part.state in LIVE]
            changed = transaction.connection.execute(
                update(tables.holds)
                .where(of.tenant == self._tenant, of.hold_id.in_(live), of.ended_at.is_(None))
                .values(ended_at=ended[root])
            )
            if changed.rowcount:
                body = {"cluster": root[0], "root_uid": root[1], "ended_at": format_instant(ended[root])}
                transaction.log(EntryType.HOLD_ENDED, f"{live[0]}/ended", now, body)
            return self._settle(transaction, root, parts, accounts, now)

        if ended:
            self._transitions.each(list(ended), work)

    def sweep(self) -> int:
        """Release what may be released by now, and estimate what nobody measured in time; how many holds ended."""
        with self._database.read() as connection:
            roots = self._ended(connection)
        if not roots:
            return 0
        done = self._transitions.each(roots, self._settle)
        return sum(part.state not in LIVE for parts in done.values() for part in parts)

    def _ended(self, connection: Connection) -> list[Root]:
        of = tables.holds.c
        query = (
            select(of.cluster, of.root_uid)
            .where(of.tenant == self._tenant, of.ended_at.is_not(None), of.state.in_([state.value for state in LIVE]))
            .distinct()
        )
        return [(row.cluster, row.root_uid) for row in connection.execute(query)]

    def _settle(
        self, transaction: Transaction, root: Root, parts: list[Held], accounts: Mapping[Key, Account], now: datetime
    ) -> list[Held]:
        of = tables.holds.c
        query = select(func.max(of.ended_at)).where(
            of.tenant == self._tenant, of.cluster == root[0], of.root_uid == root[1]
        )
        ended_at = transaction.connection.execute(query).scalar_one_or_none()
        if ended_at is None or not any(part.state in LIVE for part in parts):
            return parts
        covered = covered_until(transaction.connection, self._tenant, root)
        waits = is_metered(transaction.connection, self._tenant, root[0]) and _has_pods(transaction, root)
        if waits and (covered is None or covered < ended_at):
            if now < ended_at + GRACE:
                return parts
            self._estimate(transaction, root, parts, accounts, (covered, ended_at), now)
        released = step(transaction, root, parts, RELEASE, accounts, now, {"ended_at": format_instant(ended_at)})
        return close_if_priced(transaction, root, released, accounts, now)

    def _estimate(
        self,
        transaction: Transaction,
        root: Root,
        parts: list[Held],
        accounts: Mapping[Key, Account],
        uncovered: tuple[datetime | None, datetime],
        now: datetime,
    ) -> None:
        opened = claims.claims_of(transaction, [part for part in parts if part.state in LIVE])
        posted = _quoted(transaction, parts, opened, accounts, uncovered)
        for key, amounts in posted.items():
            claims.draw(opened[key], amounts)
            for claim in opened[key]:
                claim.settle()
        if posted:
            fact = Fact(EntryType.ESTIMATE, parts[0].hold_id, "estimated", now)
            told = postings.post(transaction, accounts, fact, posted, {key: opened[key] for key in posted})
            rows = [
                {
                    "tenant": self._tenant,
                    "hold_id": parts[0].hold_id,
                    "budget": key.budget,
                    "period_start": key.start,
                    **amounts.columns("posted"),
                    "posted_at": now,
                }
                for key, amounts in posted.items()
            ]
            transaction.connection.execute(insert(estimates), rows)
            begin, end = uncovered
            body: dict[str, Any] = {"cluster": root[0], "root_uid": root[1], "charges": told}
            body |= {"from": None if begin is None else format_instant(begin), "to": format_instant(end)}
            transaction.log(EntryType.ESTIMATE, parts[0].hold_id, now, body)


def reverse_estimates(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    accounts: Mapping[Key, Account],
    now: datetime,
) -> None:
    """Take back what was estimated for a root whose measurement has come."""
    of = estimates.c
    mine = and_(of.tenant == transaction.tenant, of.hold_id.in_([part.hold_id for part in parts]))
    rows = transaction.connection.execute(select(estimates).where(mine, of.reversed_at.is_(None))).all()
    if not rows:
        return
    posted = {Key(row.budget, row.period_start): Amounts.read(row, "posted").negated() for row in rows}
    opened = drawn(transaction, root, parts, posted, accounts)
    fact = Fact(EntryType.ESTIMATE_REVERSED, rows[0].hold_id, "measured_late", now)
    told = postings.post(transaction, accounts, fact, posted, opened)
    transaction.connection.execute(update(estimates).where(mine, of.reversed_at.is_(None)).values(reversed_at=now))
    body = {"cluster": root[0], "root_uid": root[1], "charges": told}
    transaction.log(EntryType.ESTIMATE_REVERSED, fact.id, now, body)


def covered_until(connection: Connection, tenant: str, root: Root) -> datetime | None:
    """Until when every meter that hosted a pod of the root has acknowledged windows of each of its devices."""
    of = objects.c
    nodes = connection.execute(
        select(of.node).where(of.tenant == tenant, of.cluster == root[0], of.root_uid == root[1], of.node.is_not(None))
    ).scalars()
    ends = [_watermark(connection, tenant, root[0], node) for node in set(nodes)]
    known = [end for end in ends if end is not None]
    return min(known) if known and len(known) == len(ends) else None


def _watermark(connection: Connection, tenant: str, cluster: str, node: str | None) -> datetime | None:
    """The earliest instant up to which a device of the node is acknowledged; retired ones are not waited for."""
    query = (
        select(windows.c.device_uuid, func.max(windows.c.end).label("until"))
        .join(meters, and_(meters.c.tenant == windows.c.tenant, meters.c.incarnation == windows.c.incarnation))
        .where(
            windows.c.tenant == tenant,
            meters.c.cluster == cluster,
            meters.c.node == node,
            windows.c.window_seq <= meters.c.accepted_seq,
        )
        .group_by(windows.c.device_uuid)
    )
    until = {row.device_uuid: row.until for row in connection.execute(query)}
    gone = select(devices.c.uuid).where(
        devices.c.tenant == tenant, devices.c.uuid.in_(list(until)), devices.c.retired_at.is_not(None)
    )
    retired = set(connection.execute(gone).scalars())
    waited_for = [end for uuid, end in until.items() if uuid not in retired] or list(until.values())
    return min(waited_for, default=None)


def _has_pods(transaction: Transaction, root: Root) -> bool:
    of = objects.c
    query = select(of.uid).where(
        of.tenant == transaction.tenant, of.cluster == root[0], of.root_uid == root[1], of.node.is_not(None)
    )
    return transaction.connection.execute(query.limit(1)).first() is not None


def _quoted(
    transaction: Transaction,
    parts: Sequence[Held],
    opened: Mapping[Key, Collection[OpenClaim]],
    accounts: Mapping[Key, Account],
    uncovered: tuple[datetime | None, datetime],
) -> dict[Key, Amounts]:
    """What was quoted for the uncovered quarter-hours, at most what the claims still hold."""
    begin, end = uncovered
    of = tables.holds.c
    query = select(of.quote).where(of.tenant == transaction.tenant, of.hold_id.in_([part.hold_id for part in parts]))
    quarters = [
        (
            quarter_of(amount.start),
            Amounts(amount.energy_mj, amount.carbon_ug, amount.cost.micros if amount.cost else None),
        )
        for written in transaction.connection.execute(query).scalars()
        for amount in read_quote(written).quarters
    ]
    found: dict[Key, Amounts] = {}
    for key, own in opened.items():
        asked = NOTHING
        for quarter, amounts in quarters:
            if (
                key.start <= quarter < accounts[key].end
                and (begin is None or quarter >= quarter_of(begin))
                and quarter < end
            ):
                asked = asked.plus(amounts)
        rest = NOTHING
        for claim in own:
            rest = rest.plus(claim.rest)
        least = Amounts(*(min(a or 0, b or 0) for a, b in zip(asked, rest, strict=True)))
        if least != NOTHING:
            found[key] = least
    return found
