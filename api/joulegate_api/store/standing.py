"""What stands while a batch of requests is decided: the budgets' version, the clock, and the holds beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, null, select, true, union_all

from joulegate_api.store import holds, tables
from joulegate_api.store.balances import Key
from joulegate_api.store.columns import padded
from joulegate_api.store.database import Database
from joulegate_api.store.holds import Held, HoldRequest, HoldState, Root


@dataclass(frozen=True, slots=True)
class Standing:
    """One moment.

    ``parts`` are the holds of the roots that ask and of their namesakes: roots
    with an unconfirmed hold whose name another root asks by now, which has one uid
    at a time.
    """

    hierarchy: int
    now: datetime
    parts: dict[Root, list[Held]]
    namesakes: Mapping[tuple[str, ...], Sequence[Root]]

    def claimed_by_namesakes(self) -> set[Key]:
        """Every budget and period that changes where the namesakes are replaced."""
        gone = {root for roots in self.namesakes.values() for root in roots}
        return {key for root in gone for part in self.parts.get(root, ()) for key in part.claims}


def standing(database: Database, connection: Connection, tenant: str, requests: Sequence[HoldRequest]) -> Standing:
    """Read in one statement what a batch needs; holds are read further only where there are any."""
    names = {holds.name_of(request): request.root_uid for request in requests if request.name}
    asking = {(request.cluster, request.root_uid) for request in requests}
    clusters, resources, namespaces, called = [set(column) for column in zip(*names, strict=True)] or [set()] * 4
    rows = connection.execute(
        _ON_SERVER if database.tells_time else _HERE,
        {
            "tenant": tenant,
            "clusters": padded(clusters | {cluster for cluster, _ in asking}),
            "roots": padded({root for _, root in asking}),
            "resources": padded(resources),
            "namespaces": padded(namespaces),
            "names": padded(called),
        },
    ).all()
    found: set[Root] = set()
    namesakes: dict[tuple[str, ...], list[Root]] = {}
    for row in rows:
        root, name = (row.cluster, row.root_uid), (row.cluster, row.resource, row.namespace, row.name)
        unconfirmed = row.state == HoldState.UNCONFIRMED.value
        if root in asking:
            found.add(root)
        if unconfirmed and names.get(name, row.root_uid) != row.root_uid and root not in namesakes.get(name, ()):
            found.add(root)
            namesakes.setdefault(name, []).append(root)
    parts = holds.of_roots(connection, tenant, found) if found else {}
    return Standing(rows[0].hierarchy, database.at(rows[0].clock), parts, namesakes)


def _statement(clock: ColumnElement[Any]) -> Select[Any]:
    of = tables.holds.c
    some = select(of.cluster, of.root_uid, of.resource, of.namespace, of.name, of.state).where(
        of.tenant == bindparam("tenant"), of.cluster.in_(bindparam("clusters", expanding=True))
    )
    own = some.where(of.root_uid.in_(bindparam("roots", expanding=True)))
    called = some.where(
        of.resource.in_(bindparam("resources", expanding=True)),
        of.namespace.in_(bindparam("namespaces", expanding=True)),
        of.name.in_(bindparam("names", expanding=True)),
        of.state == HoldState.UNCONFIRMED.value,
    )
    found = union_all(own, called).subquery()
    counters = tables.versions
    return (
        select(counters.c.hierarchy, clock.label("clock"), *found.c)
        .select_from(counters.outerjoin(found, true()))
        .where(counters.c.tenant == bindparam("tenant"))
    )


_HERE: Final = _statement(null())
_ON_SERVER: Final = _statement(func.clock_timestamp())
