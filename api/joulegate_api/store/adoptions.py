"""What a cluster's operator says of itself: that it is there, and since when everything that runs has been told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, insert, select, update

from joulegate.core.errors import InvalidInputError
from joulegate_api.store import versions
from joulegate_api.store.adopting import adopted, scope_hash
from joulegate_api.store.adoption_tables import adoptions, operators
from joulegate_api.store.budgets import Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Transaction, Writer
from joulegate_api.store.tables import budget_revisions

SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly it is kept when an operator was there last."""


class Adoptions:
    """The operators of a tenant's clusters, and the scopes that they have adopted."""

    def __init__(self, database: Database, writer: Writer, budgets: Budgets, tenant: str) -> None:
        """Take the word of the operators of one tenant."""
        self._database = database
        self._writer = writer
        self._budgets = budgets
        self._tenant = tenant

    def put(self, cluster: str, told_since: datetime | None) -> frozenset[str]:
        """Keep that the operator is there; returns the budgets that do not enforce in its cluster yet.

        Every list of every kind that it told of began after ``told_since``, None where some
        were not told yet: a budget whose present form is older than that has been adopted.
        Raises :class:`InvalidInputError` for an instant that lies in the future.
        """
        if self._is_new(cluster, told_since):
            with self._writer.transaction() as transaction:
                versions.hold_still(transaction)  # one operator after the other, and none beside a change of budgets
                if told_since is not None and transaction.now() < told_since:
                    raise InvalidInputError("lies in the future", "told_since")
                first = self._see(transaction, cluster)
                changed = self._adopt(transaction, cluster, told_since)
                if first or changed:
                    versions.advance(transaction, "hierarchy")
        return self._budgets.hierarchy().unadopted.get(cluster, frozenset())

    def last_seen(self, cluster: str) -> datetime | None:
        """When the operator of a cluster was there last, to the minute; None where it never was."""
        of = operators.c
        query = select(of.seen_at).where(of.tenant == self._tenant, of.cluster == cluster)
        with self._database.read() as connection:
            found: datetime | None = connection.execute(query).scalar_one_or_none()
        return found

    def _is_new(self, cluster: str, told_since: datetime | None) -> bool:
        """Whether there is anything to keep."""
        seen = self.last_seen(cluster)
        with self._database.read() as connection:
            now = self._database.now(connection)
        if seen is None or now - seen >= SEEN_EVERY or (told_since is not None and told_since > now):
            return True
        return told_since is not None and bool(self._budgets.hierarchy().unadopted.get(cluster))

    def _see(self, transaction: Transaction, cluster: str) -> bool:
        """Keep that it is there; whether this is the first that was heard of it."""
        of = operators.c
        values = {"seen_at": transaction.now()}
        mine = (of.tenant == self._tenant) & (of.cluster == cluster)
        if transaction.connection.execute(update(operators).where(mine).values(values)).rowcount:
            return False
        transaction.connection.execute(insert(operators).values(tenant=self._tenant, cluster=cluster, **values))
        return True

    def _adopt(self, transaction: Transaction, cluster: str, told_since: datetime | None) -> bool:
        """Keep the scopes that are adopted by now; whether there are more than before."""
        budgets = self._budgets.hierarchy(transaction.connection).budgets
        before = adopted(transaction.connection, self._tenant, cluster)
        of = adoptions.c
        mine = (of.tenant == self._tenant) & (of.cluster == cluster)
        wanted = {name: scope_hash(each) for name, each in budgets.items() if before.get(name) != scope_hash(each)}
        if told_since is None or not wanted:
            return False
        form = budget_revisions.c
        query = select(form.name).where(form.tenant == self._tenant).group_by(form.name)
        older = transaction.connection.execute(query.having(func.max(form.recorded_at) < told_since)).scalars().all()
        rows = [
            {"tenant": self._tenant, "cluster": cluster, "budget": name, "scope_hash": wanted[name]}
            for name in older
            if name in wanted
        ]
        for row in rows:
            transaction.connection.execute(delete(adoptions).where(mine, of.budget == row["budget"]))
            transaction.connection.execute(insert(adoptions).values(**row, adopted_at=transaction.now()))
        return bool(rows)
