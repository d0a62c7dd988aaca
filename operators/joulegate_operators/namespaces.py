"""The label of each namespace that says what its webhook does when Joulegate cannot answer."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kubernetes import client

from joulegate.client import Client
from joulegate.core.binding import Work, in_scope, lineage
from joulegate.core.budgets import Budget, WhenUndecidable
from joulegate.core.errors import InvalidInputError
from joulegate.core.objects import budget_from_object
from joulegate.core.records import Kind
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json, KubeError, asked

LABEL: Final = "joulegate.io/when-undecidable"
DENY: Final = "deny"
_NAME_LABEL: Final = "kubernetes.io/metadata.name"
_SYSTEM: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and its labels."""

    name: str
    labels: Mapping[str, str]

    @property
    def body(self) -> Json:
        """As the API takes it."""
        labels = [{"key": key, "value": self.labels[key]} for key in sorted(self.labels)]
        return {"name": self.name, "labels": labels}


def namespace_of(item: Json) -> Namespace:
    """Read a namespace as the cluster's API sends it."""
    metadata = item["metadata"]
    return Namespace(metadata["name"], metadata.get("labels") or {})


def informer_of(kube: client.ApiClient, changed: threading.Event) -> Informer[Namespace]:
    """Every namespace of the cluster."""
    return Informer("namespaces", client.CoreV1Api(kube).list_namespace, namespace_of, changed)


class Labels:
    """Sets the label from the strictest budget that may bind work of the namespace, and takes it away with it."""

    def __init__(self, kube: client.ApiClient, namespaces: Informer[Namespace], own: str | None) -> None:
        """``own`` is the namespace in which Joulegate itself runs; it is never labelled."""
        self.informers: Sequence[Informer[Any]] = (namespaces,)
        self._namespaces = namespaces
        self._unlabelled = _SYSTEM | {own}
        self._kube = kube

    def reconcile(self, api: Client, _now: datetime) -> None:
        """One pass, by the budgets that are in force; raises what the API and the cluster raise."""
        if not self._namespaces.synced.is_set():
            return
        budgets = _in_force(api.get("/v1/budgets")["budgets"])
        for namespace in self._namespaces.objects().values():
            wanted = DENY if namespace.name not in self._unlabelled and denies(budgets, namespace) else None
            if namespace.labels.get(LABEL) != wanted:
                self._write(namespace.name, wanted)

    def _write(self, name: str, value: str | None) -> None:
        try:
            asked(self._kube, "PATCH", f"/api/v1/namespaces/{name}", {"metadata": {"labels": {LABEL: value}}})
        except KubeError as error:
            if error.status != _NOT_FOUND:  # deleted since
                raise


def denies(budgets: Mapping[str, Budget], namespace: Namespace) -> bool:
    """Whether any budget that may bind work there, or one above it, refuses what cannot be decided.

    Without the service nobody knows of which kind the work is or which budget was
    chosen for it, so every budget that might bind counts.
    """
    labels = {**namespace.labels, _NAME_LABEL: namespace.name}
    works = [Work(namespace.name, kind.value, labels) for kind in Kind]
    bound = [
        budget.name
        for budget in budgets.values()
        if budget.scope is not None and any(in_scope(budget.scope, work) for work in works)
    ]
    above = {name for budget in bound for name in _lineage(budgets, budget)}
    return any(_is_strict(budgets[name]) for name in above)


def _is_strict(budget: Budget) -> bool:
    return budget.when_undecidable is WhenUndecidable.DENY


def _lineage(budgets: Mapping[str, Budget], name: str) -> Iterable[str]:
    try:
        return lineage(budgets, name)
    except InvalidInputError:
        return (name,)  # a tree that is being changed; its own budget still counts


def _in_force(objects: Iterable[Json]) -> dict[str, Budget]:
    budgets = [budget_from_object(each) for each in objects]
    return {budget.name: budget for budget in budgets}
