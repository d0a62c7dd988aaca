"""Counters of change: what a process remembers is good as long as they stand still."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import Connection, select, update

from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction
from joulegate_api.store.tables import versions


class Versions(NamedTuple):
    """How often budgets and rates were changed."""

    hierarchy: int
    rates: int


def current(connection: Connection, tenant: str) -> Versions:
    """The counters now; zero where nothing was ever changed."""
    row = connection.execute(
        select(versions.c.hierarchy, versions.c.rates).where(versions.c.tenant == tenant)
    ).one_or_none()
    return Versions(*row) if row else Versions(0, 0)


def glance(database: Database, tenant: str) -> Versions:
    """The counters now, in one journey to the database: every decision asks for them."""
    with database.glance() as connection:
        return current(connection, tenant)


def advance(transaction: Transaction, name: Literal["hierarchy", "rates"]) -> int:
    """Raise one counter and keep others from raising it until the transaction ends."""
    column = versions.c[name]
    raised = (
        update(versions).where(versions.c.tenant == transaction.tenant).values({name: column + 1}).returning(column)
    )
    return int(transaction.connection.execute(raised).scalar_one())


def hold_still(transaction: Transaction) -> Versions:
    """The counters, which nobody can raise until the transaction ends."""
    found = (
        select(versions.c.hierarchy, versions.c.rates).where(versions.c.tenant == transaction.tenant).with_for_update()
    )
    return Versions(*transaction.connection.execute(found).one())
