"""Grants: approved exceptions on one budget and period, what is used of them, and their end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, tuple_, update

from joulegate.core.log import EntryType
from joulegate.core.periods import format_instant
from joulegate_api.store.amounts import NOTHING, UNITS, Amounts
from joulegate_api.store.entries import Transaction
from joulegate_api.store.tables import exceptions, grants


class Key(NamedTuple):
    """One budget in one period, in the order in which rows are locked."""

    budget: str
    start: datetime


@dataclass(slots=True)
class Grant:
    """What an exception gives to one namespace on one budget and period."""

    exception_id: str
    key: Key
    namespace: str
    granted: Amounts
    used: Amounts
    expires_at: datetime
    expired_at: datetime | None
    changed: bool = False

    @property
    def unused(self) -> Amounts:
        """What is left of it."""
        return self.granted.plus(self.used.negated())

    def is_due(self, now: datetime) -> bool:
        """Whether it has run out and nobody has taken notice yet."""
        return self.expired_at is None and self.expires_at <= now


def grants_of(connection: Connection, tenant: str, keys: Collection[Key]) -> list[Grant]:
    """The grants on these budgets and periods, in the order of their end."""
    of = grants.c
    rows = connection.execute(
        select(grants)
        .where(of.tenant == tenant, tuple_(of.budget, of.period_start).in_(list(keys)))
        .order_by(of.expires_at, of.exception_id)
    )
    return [
        Grant(
            exception_id=row.exception_id,
            key=Key(row.budget, row.period_start),
            namespace=row.namespace,
            granted=Amounts.read(row, "granted"),
            used=Amounts.read(row, "used"),
            expires_at=row.expires_at,
            expired_at=row.expired_at,
        )
        for row in rows
    ]


def given_as_of(connection: Connection, tenant: str, key: Key, as_of: datetime) -> Amounts:
    """What exceptions gave one budget and period at an instant: all until they ran out, then what was used."""
    of = exceptions.c
    amounts = [of[f"amount_{unit.value}"] for unit in UNITS]
    query = (
        select(grants, *amounts)
        .join(exceptions, (of.tenant == grants.c.tenant) & (of.exception_id == grants.c.exception_id))
        .where(
            grants.c.tenant == tenant,
            grants.c.budget == key.budget,
            grants.c.period_start == key.start,
            of.approved_at <= as_of,
        )
    )
    given = NOTHING
    for row in connection.execute(query):
        given = given.plus(Amounts.read(row, "amount" if as_of < row.expires_at else "used"))
    return given


def use(own: Sequence[Grant], beyond: Amounts, namespaces: Collection[str | None]) -> None:
    """Let grants carry what is ``beyond`` the limit: more from those of ``namespaces``, less from the last first."""
    for unit, needed in enumerate(beyond):
        missing = (needed or 0) - sum(grant.used[unit] or 0 for grant in own)
        for grant in own if missing > 0 else reversed(own):
            used, granted = grant.used[unit] or 0, grant.granted[unit] or 0
            if missing > 0 and (grant.namespace not in namespaces or grant.expired_at is not None):
                continue
            change = min(missing, granted - used) if missing > 0 else max(missing, -used)
            if grant.expired_at is None and change:
                grant.used = Amounts(*(used + change if place == unit else old for place, old in enumerate(grant.used)))
                grant.changed = True
                missing -= change


def expire(transaction: Transaction, grant: Grant, now: datetime) -> Amounts:
    """End a grant: the used part stays. Returns what it gives up."""
    given_up = grant.unused
    grant.granted, grant.expired_at, grant.changed = grant.used, now, True
    body = {
        "exception_id": grant.exception_id,
        "budget": grant.key.budget,
        "period_start": format_instant(grant.key.start),
        "kept": grant.used.written(),
        "given_up": given_up.written(),
    }
    fact_id = f"{grant.exception_id}/{grant.key.budget}/{format_instant(grant.key.start)}"
    transaction.log(EntryType.EXCEPTION_EXPIRED, fact_id, now, body)
    return given_up


def write_grants(transaction: Transaction, own: Iterable[Grant]) -> None:
    """Write what changed."""
    changed = [grant for grant in own if grant.changed]
    rows = [
        {
            "b_exception": grant.exception_id,
            "b_budget": grant.key.budget,
            "b_start": grant.key.start,
            **grant.granted.columns("granted"),
            **grant.used.columns("used"),
            "expired_at": grant.expired_at,
        }
        for grant in changed
    ]
    if rows:
        of = grants.c
        statement = update(grants).where(
            of.tenant == transaction.tenant,
            of.exception_id == bindparam("b_exception"),
            of.budget == bindparam("b_budget"),
            of.period_start == bindparam("b_start"),
        )
        transaction.connection.execute(statement, rows)
    for grant in changed:
        grant.changed = False
