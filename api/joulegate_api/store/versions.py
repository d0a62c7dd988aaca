"""Counters of change: what a process remembers is good as long as they stand still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, select, update

from joulegate_api.store.combining import Combiner
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction
from joulegate_api.store.tables import versions

LARGEST_BATCH: Final = 1_024
"""Callers that share one glance; all of them, as far as any service lets them in at once."""


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


class Glances:
    """The counters for every decision: who asks while one journey is under way shares the next, never that one."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Look at nothing yet."""
        self._database = database
        self._tenant = tenant
        self._combiner: Combiner[None, Versions] = Combiner(self._serve, LARGEST_BATCH)

    def now(self) -> Versions:
        """The counters, read after this call began."""
        return self._combiner.ask(None)

    def _serve(self, asked: Sequence[None]) -> Sequence[Versions]:
        with self._database.glance() as connection:
            return [current(connection, self._tenant)] * len(asked)


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
