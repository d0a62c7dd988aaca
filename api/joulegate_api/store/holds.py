"""Holds: what was asked, what was held for it, and how the rows of a hold are written and read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy import Connection, select, tuple_

from joulegate.core.binding import Work
from joulegate.core.budgets import Verdict
from joulegate.core.encoding import decode
from joulegate.core.quotes import Quote
from joulegate.core.workloads import Demand
from joulegate_api.store.amounts import NOTHING, UNKNOWN, Amounts
from joulegate_api.store.balances import Key
from joulegate_api.store.bulk import add_rows
from joulegate_api.store.columns import Written
from joulegate_api.store.entries import Transaction
from joulegate_api.store.tables import hold_claims, holds

Root = tuple[str, str]
"""(cluster, root uid)"""


class HoldState(StrEnum):
    """Where a hold stands; each change happens exactly once."""

    UNCONFIRMED = "unconfirmed"
    CONFIRMED = "confirmed"
    REPLACED = "replaced"
    EXPIRED = "expired"
    RELEASED = "released"
    CLOSED = "closed"


LIVE: Final = (HoldState.UNCONFIRMED, HoldState.CONFIRMED)
"""The states in which a hold stands for work that may run."""


DEAD: Final = (HoldState.REPLACED, HoldState.EXPIRED)
"""The states of a hold whose work never came to be."""


class Origin(StrEnum):
    """Why a hold was written."""

    ADMITTED = "admitted"
    GROWTH = "growth"
    ADOPTED = "adopted"
    EXTENDED = "extended"
    RENEWED = "renewed"


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """One request for a hold.

    The hold belongs to (tenant, ``cluster``, ``root_uid``). ``resource``,
    ``namespace`` and ``name`` say which object it is, ``work`` what budgets look
    at, ``subject`` who asked.

    ``origin`` ADOPTED holds for work that runs already, even beyond the limit.
    EXTENDED and RENEWED hold what ``quote`` says on top of what the root holds, once
    for each ``extension`` (an id made by the sender); a renewal that does not fit
    is held all the same (forced), and its verdict says that it did not fit.
    ``unattended``: no operator is there who would adopt, so that budgets do not wait for that.
    """

    cluster: str
    root_uid: str
    resource: str
    namespace: str
    name: str
    work: Work
    demand: Demand
    quote: Quote
    subject: str
    requested_at: datetime
    origin: Origin = Origin.ADMITTED
    extension: str = ""
    unattended: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """One part of a root's hold, as it is kept."""

    hold_id: str
    root: Root
    part: int
    state: HoldState
    demand: Demand
    verdict: Verdict
    claims: Mapping[Key, Amounts]
    namespace: str = ""


class New(NamedTuple):
    """A part that is written for the first time; ``demand`` and ``verdict`` as JSON."""

    request: HoldRequest
    held: Held
    origin: Origin
    decided_at: datetime
    quote: str
    demand: Written
    verdict: Written


def namespaces_of(parts: Iterable[Held]) -> set[str]:
    """Whose work these parts are held for."""
    return {part.namespace for part in parts}


def hold_id_of(tenant: str, root: Root, part: int | str) -> str:
    """The id of a part, by its number or its extension: the same for every repeat of the request that made it."""
    return sha256("\n".join((tenant, *root, str(part))).encode()).hexdigest()[:32]


def name_of(request: HoldRequest) -> tuple[str, ...]:
    """What an object is called: only one object is called so at a time."""
    return request.cluster, request.resource, request.namespace, request.name


def of_roots(connection: Connection, tenant: str, roots: Collection[Root]) -> dict[Root, list[Held]]:
    """Every part of every hold of these roots, in order."""
    of = holds.c
    rows = connection.execute(
        select(of.cluster, of.root_uid, of.hold_id, of.part, of.state, of.demand, of.verdict, of.namespace)
        .where(of.tenant == tenant, tuple_(of.cluster, of.root_uid).in_(list(roots)))
        .order_by(of.cluster, of.root_uid, of.part)
    ).all()
    claims = _claims(connection, tenant, [row.hold_id for row in rows])
    found: dict[Root, list[Held]] = {}
    for row in rows:
        part = Held(
            hold_id=row.hold_id,
            root=(row.cluster, row.root_uid),
            part=row.part,
            state=HoldState(row.state),
            demand=decode(Demand, row.demand),
            verdict=decode(Verdict, row.verdict),
            claims=claims.get(row.hold_id, {}),
            namespace=row.namespace,
        )
        found.setdefault((row.cluster, row.root_uid), []).append(part)
    return found


def _claims(connection: Connection, tenant: str, hold_ids: Collection[str]) -> dict[str, dict[Key, Amounts]]:
    if not hold_ids:
        return {}
    of = hold_claims.c
    rows = connection.execute(select(hold_claims).where(of.tenant == tenant, of.hold_id.in_(list(hold_ids))))
    found: dict[str, dict[Key, Amounts]] = {}
    for row in rows:
        pairs = zip(Amounts.read(row, "held"), Amounts.read(row, "given_back"), strict=True)
        held = Amounts(*(None if was is None else was - (back or 0) for was, back in pairs))
        found.setdefault(row.hold_id, {})[Key(row.budget, row.period_start)] = held
    return found


def held_of(parts: Iterable[Held]) -> dict[Key, Amounts]:
    """What the live parts hold together."""
    together: dict[Key, Amounts] = {}
    for part in parts:
        if part.state in LIVE:
            for key, amounts in part.claims.items():
                together[key] = together.get(key, UNKNOWN).plus(amounts)
    return together


def unconfirmed_pending(connection: Connection, tenant: str, parts: Iterable[Held]) -> list[tuple[Key, Amounts]]:
    """What the unconfirmed ones of these parts keep pending, claim by claim."""
    of = hold_claims.c
    ids = [part.hold_id for part in parts if part.state is HoldState.UNCONFIRMED]
    rows = connection.execute(select(hold_claims).where(of.tenant == tenant, of.hold_id.in_(ids))) if ids else ()
    return [(Key(row.budget, row.period_start), Amounts.read(row, "pending")) for row in rows]


def add(transaction: Transaction, made: Sequence[New]) -> None:
    """Write new holds with their claims."""
    if not made:
        return
    rows = [
        {
            "hold_id": held.hold_id,
            "cluster": request.cluster,
            "root_uid": request.root_uid,
            "part": held.part,
            "state": held.state.value,
            "origin": origin.value,
            "resource": request.resource,
            "namespace": request.namespace,
            "name": request.name,
            "subject": request.subject,
            "demand": demand,
            "quote": quote,
            "verdict": verdict,
            "decided_at": decided_at,
        }
        for request, held, origin, decided_at, quote, demand, verdict in made
    ]
    claims = [
        {
            "hold_id": part.held.hold_id,
            "budget": key.budget,
            "period_start": key.start,
            **amounts.columns("held"),
            **amounts.known().columns("pending"),
        }
        for part in made
        for key, amounts in part.held.claims.items()
    ]
    whose = {"tenant": transaction.tenant}
    add_rows(transaction.connection, holds, rows, whose)
    add_rows(transaction.connection, hold_claims, claims, whose | NOTHING.columns("drawn"))
