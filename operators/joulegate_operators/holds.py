"""Asks for holds, and not again and again: a refusal is an entry each time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from joulegate.client import ApiError, Client
from joulegate.core.workloads import Demand
from joulegate.holds import demand_body
from joulegate_operators.kube import Json

_UNITS: Final = {"mj": "energy", "ug": "carbon", "micros": "cost"}
_AGAIN: Final = timedelta(minutes=5)
"""When somebody who was refused asks again although no balance has changed: limits, rates and history may."""

_NOT_FOUND: Final = 404


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
