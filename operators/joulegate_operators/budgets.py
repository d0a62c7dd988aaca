"""Budgets of the cluster to the API, and their balances back into their status; by level, not by event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from kubernetes import client

from joulegate.client import ApiError, Client
from joulegate.core.errors import InvalidInputError
from joulegate.core.objects import API_VERSION, budget_from_object, budget_to_object
from joulegate.core.periods import format_instant
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json, KubeError, patched

_GROUP: Final = "joulegate.io"
_VERSION: Final = "v1alpha1"
_PLURAL: Final = "budgets"
_UNITS: Final = ("energy", "carbon", "cost")
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class BudgetObject:
    """A Budget as it stands in the cluster."""

    name: str
    generation: int
    spec: Json
    status: Json

    @property
    def source(self) -> Json:
        """What the API is told."""
        return {"apiVersion": API_VERSION, "kind": "Budget", "metadata": {"name": self.name}, "spec": self.spec}

    @property
    def parent(self) -> str | None:
        """The budget that this one is a part of."""
        parent = self.spec.get("parent")
        return parent if isinstance(parent, str) else None


def object_of(item: Json) -> BudgetObject:
    """Read a Budget as the cluster's API sends it."""
    metadata = item["metadata"]
    return BudgetObject(
        metadata["name"], metadata.get("generation", 0), item.get("spec") or {}, item.get("status") or {}
    )


class Budgets:
    """Brings the API to what the cluster says, as often as it is asked; a pass that was missed costs nothing."""

    def __init__(self, kube: client.ApiClient, api: Callable[[], Client]) -> None:
        """``api`` makes the client of Joulegate's API, anew for each pass: its token is renewed by the cluster."""
        custom = client.CustomObjectsApi(kube)
        self._api = api
        self._patch = partial(custom.patch_cluster_custom_object_status, group=_GROUP, version=_VERSION, plural=_PLURAL)
        call = partial(custom.list_cluster_custom_object, group=_GROUP, version=_VERSION, plural=_PLURAL)
        self.informer: Informer[BudgetObject] = Informer(_PLURAL, call, object_of)

    def reconcile(self, now: datetime) -> None:
        """One pass: close what is gone, put what differs, write each status that is not so yet.

        Does nothing before a whole list was taken: an empty cluster and one that was
        not asked yet look alike. Raises :class:`UnavailableError`, :class:`ApiError` and
        :class:`KubeError`; what was done until then stands.
        """
        if not self.informer.synced.is_set():
            return
        wanted = {each.name: each for each in self.informer.objects().values()}
        api = self._api()
        known = {each["metadata"]["name"]: each for each in api.get("/v1/budgets")["budgets"]}
        for name in reversed(parents_first({name: each["spec"].get("parent") for name, each in known.items()})):
            if name not in wanted:
                api.delete(f"/v1/budgets/{name}")
        for name in parents_first({name: each.parent for name, each in wanted.items()}):
            status = brought(api, wanted[name], known.get(name), now)
            if _present(status) != wanted[name].status:
                self._write(name, status)

    def _write(self, name: str, status: Json) -> None:
        try:
            patched(self._patch, name=name, body={"status": status})
        except KubeError as error:
            if error.status != _NOT_FOUND:  # deleted since; the next pass closes it
                raise


def brought(api: Client, wanted: BudgetObject, known: Json | None, now: datetime) -> Json:
    """Bring the API to one budget where it is not; returns the status that the object should have."""
    try:
        budget = budget_to_object(budget_from_object(wanted.source))
        if known != budget:
            api.put(f"/v1/budgets/{wanted.name}", budget)
    except InvalidInputError as error:
        return _status(wanted, now, {}, _ready("False", "Invalid", str(error)))
    except ApiError as error:
        if not error.refuses_content:
            raise
        return _status(wanted, now, {}, _ready("False", "Refused", error.detail))
    try:
        balance = api.get(f"/v1/budgets/{wanted.name}/balance")
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        return _status(wanted, now, {}, _ready("True", "OutsidePeriod", "its period is not now"))
    return _status(wanted, now, balance, _ready("True", "Accepted", ""), _exhausted(balance))


def parents_first(parents: Mapping[str, str | None]) -> Sequence[str]:
    """The names so that each comes after its parent; those in a circle come last, for the API to refuse."""
    ordered: dict[str, None] = {}
    while True:
        ready = sorted(
            name
            for name, parent in parents.items()
            if name not in ordered and (parent not in parents or parent in ordered)
        )
        if not ready:
            return [*ordered, *sorted(parents.keys() - ordered.keys())]
        ordered |= dict.fromkeys(ready)


def _ready(status: str, reason: str, message: str) -> Json:
    return {"type": "Ready", "status": status, "reason": reason, "message": message}


def _exhausted(balance: Json) -> Json:
    """Whether nothing is left in a unit that has a limit."""
    spent = [name for name in _UNITS if (left := balance[name]["available"]) is not None and int(left) <= 0]
    if spent:
        return {
            "type": "Exhausted",
            "status": "True",
            "reason": "LimitReached",
            "message": f"nothing is left of {', '.join(spent)}",
        }
    return {"type": "Exhausted", "status": "False", "reason": "Available", "message": ""}


def _status(wanted: BudgetObject, now: datetime, balance: Json, *conditions: Json) -> Json:
    """The whole status; a field that is None is taken away."""
    limited = [balance[name] for name in _UNITS if balance and balance[name]["limit"] is not None]
    return {
        "observedGeneration": wanted.generation,
        "period": balance.get("period"),
        "balances": [_present(each) for each in limited] or None,
        "conditions": [_dated(each, wanted, now) for each in conditions],
    }


def _dated(condition: Json, wanted: BudgetObject, now: datetime) -> Json:
    """The condition with its generation, and the instant since which it is so."""
    before: list[dict[str, Any]] = wanted.status.get("conditions") or []
    same = [each for each in before if each["type"] == condition["type"] and each["status"] == condition["status"]]
    since = same[0]["lastTransitionTime"] if same else format_instant(now.replace(microsecond=0))
    return {**condition, "observedGeneration": wanted.generation, "lastTransitionTime": since}


def _present(source: Json) -> Json:
    return {key: value for key, value in source.items() if value is not None}
