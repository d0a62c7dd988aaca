"""What stands while a batch of requests is decided: the budgets' version, the clock, and the holds beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Select,
    String,
    any_,
    bindparam,
    func,
    literal_column,
    null,
    select,
    true,
    union_all,
)

from joulegate_api.store import holds, tables
from joulegate_api.store.balances import Key
from joulegate_api.store.bulk import Question, ask, is_listed
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
    (rows,) = ask(connection, [asking(database, connection, tenant, requests)])
    return told(database, connection, tenant, requests, rows)


def asking(database: Database, connection: Connection, tenant: str, requests: Sequence[HoldRequest]) -> Question:
    """What to ask for :func:`told`, together with other questions."""
    names = {holds.name_of(request) for request in requests if request.name}
    asked = {(request.cluster, request.root_uid) for request in requests}
    clusters, resources, namespaces, called = [set(column) for column in zip(*names, strict=True)] or [set()] * 4
    lists = {
        "clusters": clusters | {cluster for cluster, _ in asked},
        "roots": {root for _, root in asked},
        "resources": resources,
        "namespaces": namespaces,
        "names": called,
    }
    if not is_listed(connection.dialect):
        return Question(_HERE, {"tenant": tenant, **{name: padded(values) for name, values in lists.items()}})
    values = {"tenant": tenant, **{name: list(found) for name, found in lists.items()}}
    return Question(_TOLD_BY_SERVER if database.tells_time else _TOLD_HERE, values)


def told(
    database: Database, connection: Connection, tenant: str, requests: Sequence[HoldRequest], rows: Sequence[Any]
) -> Standing:
    """What stands, from the answer to :func:`asking`."""
    names = {holds.name_of(request): request.root_uid for request in requests if request.name}
    asked = {(request.cluster, request.root_uid) for request in requests}
    found: set[Root] = set()
    namesakes: dict[tuple[str, ...], list[Root]] = {}
    for row in rows:
        root, name = (row.cluster, row.root_uid), (row.cluster, row.resource, row.namespace, row.name)
        unconfirmed = row.state == HoldState.UNCONFIRMED.value
        if root in asked:
            found.add(root)
        if unconfirmed and names.get(name, row.root_uid) != row.root_uid and root not in namesakes.get(name, ()):
            found.add(root)
            namesakes.setdefault(name, []).append(root)
    parts = holds.of_roots(connection, tenant, found) if found else {}
    return Standing(rows[0].hierarchy, database.at(rows[0].clock), parts, namesakes)


def _statement(clock: ColumnElement[Any], among: Callable[[Column[str], str], ColumnElement[bool]]) -> Select[Any]:
    of = tables.holds.c
    some = select(of.cluster, of.root_uid, of.resource, of.namespace, of.name, of.state).where(
        of.tenant == bindparam("tenant"), among(of.cluster, "clusters")
    )
    own = some.where(among(of.root_uid, "roots"))
    called = some.where(
        among(of.resource, "resources"),
        among(of.namespace, "namespaces"),
        among(of.name, "names"),
        of.state == literal_column(f"'{HoldState.UNCONFIRMED.value}'"),
    )
    found = union_all(own, called).subquery()
    counters = tables.versions
    return (
        select(counters.c.hierarchy, clock.label("clock"), *found.c)
        .select_from(counters.outerjoin(found, true()))
        .where(counters.c.tenant == bindparam("tenant"))
    )


def _in_list(column: Column[str], name: str) -> ColumnElement[bool]:
    return column.in_(bindparam(name, expanding=True))


def _in_array(column: Column[str], name: str) -> ColumnElement[bool]:
    return column == any_(bindparam(name, type_=ARRAY(String)))


_HERE: Final = _statement(null(), _in_list)
_TOLD_HERE: Final = _statement(null(), _in_array)
_TOLD_BY_SERVER: Final = _statement(func.clock_timestamp(), _in_array)
