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
from joulegate.core.budgets import Budget, Scope, WhenUndecidable
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
        self._objects: list[Json] = []
        self._denied: dict[str, tuple[Namespace, bool]] = {}

    def reconcile(self, api: Client, _now: datetime) -> None:
        """One pass, by the budgets that are in force; raises what the API and the cluster raise."""
        if not self._namespaces.synced.is_set():
            return
        namespaces = {each.name: each for each in self._namespaces.objects().values()}
        self._look(api.get("/v1/budgets")["budgets"], namespaces)
        for name, namespace in namespaces.items():
            wanted = DENY if name not in self._unlabelled and self._denied[name][1] else None
            if namespace.labels.get(LABEL) != wanted:
                self._write(name, wanted)

    def _look(self, objects: list[Json], namespaces: Mapping[str, Namespace]) -> None:
        """Find anew what may have changed: everything with the budgets, else the namespaces that did."""
        if objects != self._objects:
            self._objects, self._denied = objects, {}
        known = self._denied
        same = {name: found for name, found in known.items() if found[0] == namespaces.get(name)}
        changed = [each for name, each in namespaces.items() if name not in same]
        strict = strict_scopes(_in_force(objects)) if changed else ()
        self._denied = same | {each.name: (each, denies(strict, each)) for each in changed}

    def _write(self, name: str, value: str | None) -> None:
        try:
            asked(self._kube, "PATCH", f"/api/v1/namespaces/{name}", {"metadata": {"labels": {LABEL: value}}})
        except KubeError as error:
            if error.status != _NOT_FOUND:  # deleted since
                raise


def strict_scopes(budgets: Mapping[str, Budget]) -> Sequence[Scope]:
    """The scopes of budgets that refuse what cannot be decided, themselves or by one above them."""
    return [
        budget.scope
        for budget in budgets.values()
        if budget.scope is not None and any(_is_strict(budgets[name]) for name in _lineage(budgets, budget.name))
    ]


def denies(strict: Iterable[Scope], namespace: Namespace) -> bool:
    """Whether any of these scopes may hold work of a namespace.

    Without the service nobody knows of which kind the work is or which budget was
    chosen for it, so every budget that might bind counts.
    """
    labels = {**namespace.labels, _NAME_LABEL: namespace.name}
    works = [Work(namespace.name, kind.value, labels) for kind in Kind]
    named = (scope for scope in strict if scope.namespaces is None or namespace.name in scope.namespaces)
    return any(in_scope(scope, work) for scope in named for work in works)


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
