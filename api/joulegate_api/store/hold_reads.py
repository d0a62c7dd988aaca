"""Holds as people and the operator see them: one row a part, with what is pending in each budget and period."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select, tuple_

from joulegate.core.budgets import Verdict
from joulegate.core.encoding import decode
from joulegate.core.workloads import Demand
from joulegate_api.store.amounts import Amounts
from joulegate_api.store.balances import Key
from joulegate_api.store.database import Database
from joulegate_api.store.holds import HoldState
from joulegate_api.store.stored_records import cursor_after, read_cursor
from joulegate_api.store.tables import hold_claims, holds

_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """What a part holds in one budget and period; None is not priced."""

    key: Key
    held: Amounts
    drawn: Amounts
    pending: Amounts


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One part of the hold of a root."""

    hold_id: str
    cluster: str
    root_uid: str
    part: int
    state: HoldState
    origin: str
    resource: str
    namespace: str
    name: str
    subject: str
    demand: Demand
    verdict: Verdict
    decided_at: datetime
    confirmed_at: datetime | None
    ended_at: datetime | None
    released_at: datetime | None
    closed_at: datetime | None
    claims: tuple[ClaimRow, ...]


@dataclass(frozen=True, slots=True)
class HoldPage:
    """Parts of holds; ``cursor`` leads to the next page and is None on the last."""

    holds: tuple[HoldRow, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class HoldFilters:
    """Which holds; None does not restrict. ``period_start`` is that of ``budget``."""

    cluster: str | None = None
    namespace: str | None = None
    root_uid: str | None = None
    states: Collection[HoldState] = ()
    budget: str | None = None
    period_start: datetime | None = None


class HoldList:
    """The holds of a tenant, for reading."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Read the holds of one tenant."""
        self._database = database
        self._tenant = tenant

    def list(self, filters: HoldFilters, cursor: str | None = None, limit: int = 100) -> HoldPage:
        """A page of parts, the newest decision first; raises :class:`InvalidInputError` for a foreign cursor."""
        of = holds.c
        query = select(holds).where(of.tenant == self._tenant)
        for column, wanted in (
            (of.cluster, filters.cluster),
            (of.namespace, filters.namespace),
            (of.root_uid, filters.root_uid),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        if filters.states:
            query = query.where(of.state.in_([state.value for state in filters.states]))
        if filters.budget is not None:
            claim = hold_claims.c
            claimed = select(claim.hold_id).where(claim.tenant == self._tenant, claim.budget == filters.budget)
            if filters.period_start is not None:
                claimed = claimed.where(claim.period_start == filters.period_start)
            query = query.where(of.hold_id.in_(claimed))
        if cursor is not None:
            query = query.where(tuple_(of.decided_at, of.hold_id) < tuple_(*read_cursor(cursor)))
        with self._database.read() as connection:
            ordered = query.order_by(of.decided_at.desc(), of.hold_id.desc())
            rows = connection.execute(ordered.limit(limit + 1)).all()
            claims = _claims(connection, self._tenant, [row.hold_id for row in rows[:limit]])
        page = tuple(_row(row, claims.get(row.hold_id, ())) for row in rows[:limit])
        last = page[-1] if len(rows) > limit else None
        return HoldPage(page, None if last is None else cursor_after(last.decided_at, last.hold_id))


def _row(row: Row[Any], claims: Sequence[ClaimRow]) -> HoldRow:
    return HoldRow(
        hold_id=row.hold_id,
        cluster=row.cluster,
        root_uid=row.root_uid,
        part=row.part,
        state=HoldState(row.state),
        origin=row.origin,
        resource=row.resource,
        namespace=row.namespace,
        name=row.name,
        subject=row.subject,
        demand=decode(Demand, row.demand),
        verdict=decode(Verdict, row.verdict),
        decided_at=row.decided_at,
        confirmed_at=row.confirmed_at,
        ended_at=row.ended_at,
        released_at=row.released_at,
        closed_at=row.closed_at,
        claims=tuple(claims),
    )


def _claims(connection: Connection, tenant: str, hold_ids: Sequence[str]) -> dict[str, list[ClaimRow]]:
    found: dict[str, list[ClaimRow]] = {}
    of = hold_claims.c
    for begin in range(0, len(hold_ids), _AT_ONCE):
        query = (
            select(hold_claims)
            .where(of.tenant == tenant, of.hold_id.in_(hold_ids[begin : begin + _AT_ONCE]))
            .order_by(of.budget, of.period_start)
        )
        for row in connection.execute(query):
            claim = ClaimRow(
                Key(row.budget, row.period_start),
                Amounts.read(row, "held"),
                Amounts.read(row, "drawn"),
                Amounts.read(row, "pending"),
            )
            found.setdefault(row.hold_id, []).append(claim)
    return found
