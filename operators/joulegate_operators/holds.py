"""Holds as the operator sees them, and how it asks for them: a refusal is an entry, so not again and again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final
from urllib.parse import urlencode

from joulegate.client import ApiError, Client
from joulegate.core.periods import parse_instant
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Group
from joulegate.holds import demand_body
from joulegate_operators.kube import Json

_UNITS: Final = {"mj": "energy", "ug": "carbon", "micros": "cost"}
_AGAIN: Final = timedelta(minutes=5)
"""When somebody who was refused asks again although no balance has changed: limits, rates and history may."""

_NOT_FOUND: Final = 404
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What was asked and refused, by which budget, and what was available in it then."""

    asked: Json
    budget: str | None
    unit: str | None
    available: str | None
    at: datetime


class Asking:
    """Requests of one purpose. Who was refused asks again when the balance of the budget that refused has changed."""

    def __init__(self, cluster: str) -> None:
        """Ask for roots of one cluster."""
        self._cluster = cluster
        self._refused: dict[str, _Refusal] = {}
        self._balances: dict[str, Json | None] = {}
        self._api: Client
        self._now: datetime

    def begin(self, api: Client, now: datetime, roots: Collection[str]) -> None:
        """Begin a pass: balances are read anew, and who is not among the roots any more is forgotten."""
        self._api, self._now = api, now
        self._balances = {}
        self._refused = {uid: refusal for uid, refusal in self._refused.items() if uid in roots}

    def ask(self, uid: str, demand: Demand, body: Mapping[str, Any]) -> Json | None:
        """The verdict on a request for a root; None where it would be refused as before.

        Raises :class:`UnavailableError` and :class:`ApiError`.
        """
        whole = {**body, "cluster": self._cluster, "demand": demand_body(demand)}
        refusal = self._refused.get(uid)
        if refusal is not None and refusal.asked == whole and not self._may_differ(refusal):
            return None
        verdict: Json = self._api.post(f"/v1/holds/{uid}/request", whole)
        if verdict["allowed"]:
            self._refused.pop(uid, None)
            self._balances = {}
        else:
            unit, budget = verdict["unit"], verdict["budget"]
            available = self._available(budget, unit)
            self._refused[uid] = _Refusal(whole, budget, unit, available, self._now)
        return verdict

    def _may_differ(self, refusal: _Refusal) -> bool:
        if self._now - refusal.at >= _AGAIN or refusal.budget is None:
            return self._now - refusal.at >= _AGAIN
        return self._available(refusal.budget, refusal.unit) != refusal.available

    def _available(self, budget: str | None, unit: str | None) -> str | None:
        """What is available now in a budget; None where its period is not now, or nothing was weighed."""
        if budget is None or unit is None:
            return None
        if budget not in self._balances:
            try:
                self._balances[budget] = self._api.get(f"/v1/budgets/{budget}/balance")
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
                self._balances[budget] = None
        balance = self._balances[budget]
        return None if balance is None else balance[_UNITS[unit]]["available"]


@dataclass(frozen=True, slots=True)
class Part:
    """One live part of a root's hold, as the API lists it."""

    hold_id: str
    root_uid: str
    number: int
    origin: str
    demand: Demand
    decision: str
    decided_at: datetime
    ended_at: datetime | None
    claims: Sequence[Json]

    @property
    def names(self) -> frozenset[str]:
        """The budgets that it is held in."""
        return frozenset(claim["budget"] for claim in self.claims)

    def energy(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """What is held and drawn in mJ, by budget and period."""
        for claim in self.claims:
            held, drawn = (int(claim[name].get("mj") or 0) for name in ("held", "drawn"))
            yield claim["budget"], (held, drawn)


def live_parts(api: Client, cluster: str, **filters: str) -> dict[str, list[Part]]:
    """The live parts of every hold of a cluster by root, in their order.

    Raises :class:`UnavailableError` and :class:`ApiError`.
    """
    found: dict[str, list[Part]] = {}
    for state in ("confirmed", "unconfirmed"):
        query = {"cluster": cluster, "state": state, "limit": str(_PAGE), **filters}
        cursor: str | None = None
        while True:
            page = api.get(f"/v1/holds?{urlencode(query | ({'cursor': cursor} if cursor else {}))}")
            for row in page["holds"]:
                found.setdefault(row["root_uid"], []).append(_part(row))
            cursor = page["cursor"]
            if cursor is None:
                break
    return {uid: sorted(parts, key=lambda part: part.number) for uid, parts in found.items()}


def _part(row: Json) -> Part:
    verdict = row["verdict"]
    return Part(
        hold_id=row["hold_id"],
        root_uid=row["root_uid"],
        number=row["part"],
        origin=row["origin"],
        demand=_demand(row["demand"]),
        decision=f"{verdict['outcome']} {verdict['reason']}",
        decided_at=parse_instant(row["decided_at"], "decided_at"),
        ended_at=None if row["ended_at"] is None else parse_instant(row["ended_at"], "ended_at"),
        claims=row["claims"],
    )


def _demand(body: Json) -> Demand:
    """A demand as the API writes it: whole numbers are decimal strings there."""
    groups = [
        Group(each["gpu_model"], Fraction(each["accelerators"]), int(each["replicas"])) for each in body["groups"]
    ]
    times = {name: None if body[name] is None else int(body[name]) for name in ("declared_ns", "deadline_ns")}
    return Demand(
        kind=Kind(body["kind"]),
        groups=tuple(groups),
        added_kind=None if body["added_kind"] is None else Kind(body["added_kind"]),
        model=body["model"],
        budget=body["budget"],
        suspended=body["suspended"],
        open_ended=body["open_ended"],
        **times,
    )
