"""Which budgets do not enforce yet in a cluster: what ran in their scope before them is still being adopted."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from sqlalchemy import Connection, delete, select

from joulegate.core.budgets import Budget
from joulegate_api.store.adoption_tables import adoptions, operators


def scope_hash(budget: Budget) -> str:
    """What decides which work a budget binds, as a hash: another scope has to be adopted anew."""
    bound = (budget.scope, budget.parent, budget.selectable, budget.default)
    return sha256(repr(bound).encode()).hexdigest()[:32]


def adopted(connection: Connection, tenant: str, cluster: str) -> dict[str, str]:
    """The hash of the scope that was adopted, by budget."""
    of = adoptions.c
    query = select(of.budget, of.scope_hash).where(of.tenant == tenant, of.cluster == cluster)
    return {row.budget: row.scope_hash for row in connection.execute(query)}


def forget(connection: Connection, tenant: str, name: str) -> None:
    """A budget was closed: one of the same name has to be adopted anew."""
    connection.execute(delete(adoptions).where(adoptions.c.tenant == tenant, adoptions.c.budget == name))


def unadopted(connection: Connection, tenant: str, budgets: Mapping[str, Budget]) -> dict[str, frozenset[str]]:
    """The budgets whose scope was not adopted yet, by cluster; clusters that no operator told of are not in it."""
    clusters = connection.execute(select(operators.c.cluster).where(operators.c.tenant == tenant)).scalars().all()
    found: dict[str, frozenset[str]] = {}
    for cluster in clusters:
        done = adopted(connection, tenant, cluster)
        found[cluster] = frozenset(name for name, each in budgets.items() if done.get(name) != scope_hash(each))
    return {cluster: names for cluster, names in found.items() if names}
