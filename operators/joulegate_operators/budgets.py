"""Budgets of the cluster to the API, and their balances back into their status; by level, not by event."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from kubernetes import client

from joulegate.client import ApiError, Client
from joulegate.core.errors import InvalidInputError
from joulegate.core.objects import API_VERSION, budget_from_object, budget_to_object
from joulegate_operators.conditions import condition, dated, present, ready
from joulegate_operators.kinds import Custom, Kind
from joulegate_operators.kube import Json
from joulegate_operators.kueue import CONTROLLER, Kueue

_UNITS: Final = ("energy", "carbon", "cost")


class Budgets:
    """Brings the API to what the cluster says, as often as it is asked; a pass that was missed costs nothing."""

    def __init__(self, kube: client.ApiClient, changed: threading.Event, kueue: Kueue) -> None:
        """Know the cluster's Budgets from now on; ``kueue`` says which queues let their work go unchecked."""
        self._kueue = kueue
        self._kind = Kind(kube, "Budget", "budgets", changed)
        self.informers = (self._kind.informer,)
        self._forecasts = Forecasts()

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass: close what is gone, put what differs, write each status that is not so yet.

        Raises :class:`UnavailableError`, :class:`ApiError` and :class:`KubeError`;
        what was done until then stands.
        """
        objects = self._kind.all()
        if objects is None:
            return
        wanted = {each.name: each for each in objects.values()}
        known = {each["metadata"]["name"]: each for each in api.get("/v1/budgets")["budgets"]}
        for name in reversed(parents_first({name: parent_of(each["spec"]) for name, each in known.items()})):
            if name not in wanted:
                api.delete(f"/v1/budgets/{name}")
        order = parents_first({name: parent_of(each.spec) for name, each in wanted.items()})
        refused = {name: condition for name in order if (condition := brought(api, wanted[name], known.get(name)))}
        balances = {each["budget"]: each for each in api.get("/v1/balances")["balances"]}
        for name in order:
            status = status_of(wanted[name], refused.get(name), balances.get(name), now)
            unchecked = self._kueue.unchecked.get(name)
            if unchecked:
                status["conditions"] += dated(
                    [_unchecked(unchecked)], wanted[name].generation, wanted[name].status, now
                )
            status["forecastExhaustion"] = self._forecasts.of(api, name, status)
            self._kind.write(wanted[name], status)


class Forecasts:
    """When each budget is used up at the rate of late; asked for anew when something was posted."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[str, tuple[Json, str | None]] = {}

    def of(self, api: Client, name: str, status: Json) -> str | None:
        """The first instant at which a limit is reached, RFC 3339; None where the period ends before."""
        posted = {each["unit"]: each["posted"] for each in status["balances"] or ()} | {"in": status["period"]}
        if not status["balances"] or all(amount == "0" for unit, amount in posted.items() if unit != "in"):
            return None
        known = self._known.get(name)
        if known is None or known[0] != posted:
            statement = api.get(f"/v1/budgets/{name}/statement")
            instants = [statement[unit]["rate"]["exhausted_at"] for unit in _UNITS]
            known = posted, min((at for at in instants if at is not None), default=None)
            self._known[name] = known
        return known[1]


def parent_of(spec: Json) -> str | None:
    """The budget that this one is a part of."""
    parent = spec.get("parent")
    return parent if isinstance(parent, str) else None


def source_of(budget: Custom) -> Json:
    """What the API is told."""
    return {"apiVersion": API_VERSION, "kind": "Budget", "metadata": {"name": budget.name}, "spec": budget.spec}


def brought(api: Client, wanted: Custom, known: Json | None) -> Json | None:
    """Bring the API to one budget where it is not; the condition of one that it does not take."""
    try:
        budget = budget_to_object(budget_from_object(source_of(wanted)))
        if known != budget:
            api.put(f"/v1/budgets/{wanted.name}", budget)
    except InvalidInputError as error:
        return ready("False", "Invalid", str(error))
    except ApiError as error:
        if not error.refuses_content:
            raise
        return ready("False", "Refused", error.detail)
    return None


def status_of(wanted: Custom, refused: Json | None, balance: Json | None, now: datetime) -> Json:
    """The status that an object should have; ``balance`` None has no period now."""
    if refused is not None:
        return _status(wanted, now, {}, refused)
    if balance is None:
        return _status(wanted, now, {}, ready("True", "OutsidePeriod", "its period is not now"))
    return _status(wanted, now, balance, ready("True", "Accepted", ""), _exhausted(balance), _enforced(balance))


def parents_first(parents: Mapping[str, str | None]) -> Sequence[str]:
    """The names so that each comes after its parent; those in a circle come last, for the API to refuse."""
    ordered: dict[str, None] = {}
    while True:
        follow = sorted(
            name
            for name, parent in parents.items()
            if name not in ordered and (parent not in parents or parent in ordered)
        )
        if not follow:
            return [*ordered, *sorted(parents.keys() - ordered.keys())]
        ordered |= dict.fromkeys(follow)


def _exhausted(balance: Json) -> Json:
    """Whether nothing is left in a unit that has a limit."""
    spent = [name for name in _UNITS if (left := balance[name]["available"]) is not None and int(left) <= 0]
    if spent:
        return condition("Exhausted", "True", "LimitReached", f"nothing is left of {', '.join(spent)}")
    return condition("Exhausted", "False", "Available")


def _enforced(balance: Json) -> Json:
    """Whether it refuses what does not fit; not before what ran in its scope is held for."""
    if balance.get("adopting"):
        message = "it refuses nothing until what runs in its scope has been adopted"
        return condition("Enforced", "False", "BeingAdopted", message)
    return condition("Enforced", "True", "Adopted")


def _unchecked(queues: Collection[str]) -> Json:
    """Work of the budget goes by its queue's word alone: it is held for, whether it fits or not."""
    message = f"ClusterQueue {', '.join(sorted(queues))} has no AdmissionCheck of {CONTROLLER}: its work goes unasked"
    return condition("QueueUnchecked", "True", "NoAdmissionCheck", message)


def _status(wanted: Custom, now: datetime, balance: Json, *conditions: Json) -> Json:
    """The whole status; a field that is None is taken away."""
    limited = [balance[name] for name in _UNITS if balance and balance[name]["limit"] is not None]
    return {
        "observedGeneration": wanted.generation,
        "period": balance.get("period"),
        "balances": [present(each) for each in limited] or None,
        "conditions": dated(conditions, wanted.generation, wanted.status, now),
    }
