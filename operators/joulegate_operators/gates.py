"""Lets work go that waits at Joulegate's gate, oldest first, each once its hold was granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from kubernetes import client

from joulegate.client import Client
from joulegate.core.errors import JoulegateError
from joulegate.core.workloads import is_gated, lifted
from joulegate_operators.holds import Asking
from joulegate_operators.informer import Informer
from joulegate_operators.objects import DECISION, HOLD, Objects
from joulegate_operators.seen import Workload
from joulegate_operators.settings import Settings
from joulegate_operators.workloads import Workloads


class Gates:
    """Asks for a hold for each root that waits, and lifts its gate when the hold is there.

    A gate that stands although its root holds already (this process ended between the two) is
    lifted too: the same request gets the same answer.
    """

    informers: Sequence[Informer[Any]] = ()

    def __init__(self, kube: client.ApiClient, settings: Settings, workloads: Workloads) -> None:
        """Let those go that ``workloads`` has seen."""
        self._objects = Objects(kube)
        self._workloads = workloads
        self._asking = Asking(settings.cluster)

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass; raises :class:`JoulegateError` of the first that failed, after all others were tried."""
        if not self._workloads.is_known:
            return
        waiting = [each for each in self._workloads.roots() if each.gated and not each.terminating]
        self._asking.begin(api, now, {each.uid for each in waiting})
        failed: JoulegateError | None = None
        for each in sorted(waiting, key=lambda one: (one.created_at, one.namespace, one.name)):
            try:
                self._try(each, now)
            except JoulegateError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _try(self, waiting: Workload, now: datetime) -> None:
        if waiting.demand is None:
            return
        body = {
            "resource": waiting.resource.name,
            "namespace": waiting.namespace,
            "name": waiting.name,
            "namespace_labels": self._workloads.labels_of(waiting.namespace),
        }
        verdict = self._asking.ask(waiting.uid, replace(waiting.demand, suspended=False), body)
        if verdict is None:
            return
        if not verdict["allowed"]:
            self._objects.annotate(waiting, decision=f"{verdict['outcome']} {verdict['reason']}")
            self._objects.tell(waiting, "WaitsForBudget", _waits(verdict), now, "Warning")
            return
        found = self._objects.read(waiting)
        if found is None or not is_gated(found):
            return
        change = lifted(found)
        metadata = change.setdefault("metadata", {})
        metadata.setdefault("annotations", {}).update({DECISION: f"allow {verdict['reason']}", HOLD: verdict["hold"]})
        if self._objects.change(waiting, change, found["metadata"]["resourceVersion"]):
            self._objects.tell(waiting, "LetGo", verdict["message"], now)


def _waits(verdict: dict[str, Any]) -> str:
    """Why it waits, without the figures that change from moment to moment: the same event is made once."""
    where = f"budget {verdict['budget']}" if verdict["budget"] else "its budgets"
    return f"it waits until {where} has room for it [{verdict['reason']}]; nothing is held for it yet"
