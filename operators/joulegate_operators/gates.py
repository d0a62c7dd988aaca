"""Lets work go that waits at Joulegate's gate, oldest first, each once its hold was granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from kubernetes import client

from joulegate.client import Client
from joulegate.core.errors import JoulegateError
from joulegate.core.periods import format_instant, parse_instant
from joulegate.core.workloads import EXHAUSTED, GATE, is_gated, lifted
from joulegate_operators.holds import Asking, live_parts
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json
from joulegate_operators.objects import DECISION, HOLD, SUSPENDED_AT, Objects
from joulegate_operators.seen import Workload
from joulegate_operators.settings import Settings
from joulegate_operators.workloads import Workloads

_MARGIN: Final = timedelta(seconds=2)
"""How far this clock may be ahead of the API's."""


class Gates:
    """Asks for a hold for each root that waits, and lifts its gate when the hold is there.

    A gate that stands although its root holds already (this process ended between the two) is
    lifted too: the same request gets the same answer. What was suspended because its budget was
    exhausted gives back what it has not drawn and then waits like the others.
    """

    informers: Sequence[Informer[Any]] = ()

    def __init__(self, kube: client.ApiClient, settings: Settings, workloads: Workloads) -> None:
        """Let those go that ``workloads`` has seen."""
        self._objects = Objects(kube)
        self._workloads = workloads
        self._cluster = settings.cluster
        self._asking = Asking(settings.cluster)

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass; raises :class:`JoulegateError` of the first that failed, after all others were tried."""
        if not self._workloads.is_known:
            return
        waiting = [each for each in self._workloads.roots() if each.gated and not each.terminating]
        self._asking.begin(api, now, {each.uid for each in waiting})
        failed: JoulegateError | None = None
        busy = self._workloads.busy() if waiting else frozenset()
        for each in sorted(waiting, key=lambda one: (one.created_at, one.namespace, one.name)):
            try:
                self._try(api, each, now, busy=each.uid in busy)
            except JoulegateError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _try(self, api: Client, waiting: Workload, now: datetime, *, busy: bool) -> None:
        if waiting.demand is None or (
            waiting.marks.get(GATE) == EXHAUSTED and not self._ended(api, waiting, now, busy=busy)
        ):
            return
        verdict = self._asking.ask(
            waiting.uid, replace(waiting.demand, suspended=False), asked_by(waiting, self._workloads)
        )
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
        marks = {DECISION: f"allow {verdict['reason']}", HOLD: verdict["hold"], SUSPENDED_AT: None}
        metadata.setdefault("annotations", {}).update(marks)
        if self._objects.change(waiting, change, found["metadata"]["resourceVersion"]):
            self._objects.tell(waiting, "LetGo", verdict["message"], now)

    def _ended(self, api: Client, suspended: Workload, now: datetime, *, busy: bool) -> bool:
        """Whether what was suspended may ask again: its last hold is released, or the next one was granted already."""
        parts = live_parts(api, self._cluster, root_uid=suspended.uid).get(suspended.uid, [])
        since = parse_instant(suspended.marks.get(SUSPENDED_AT), SUSPENDED_AT)
        old = [part for part in parts if part.decided_at <= since]
        if old and not busy and all(part.ended_at is None for part in old):
            body = {"cluster": self._cluster, "ended_at": format_instant(max(since, now - _MARGIN))}
            api.post(f"/v1/holds/{suspended.uid}/release", body)
        return not old


def asked_by(workload: Workload, workloads: Workloads) -> Json:
    """What a request for a hold says of its root, besides its demand."""
    return {
        "resource": workload.resource.name,
        "namespace": workload.namespace,
        "name": workload.name,
        "namespace_labels": workloads.labels_of(workload.namespace),
    }


def _waits(verdict: dict[str, Any]) -> str:
    """Why it waits, without the figures that change from moment to moment: the same event is made once."""
    where = f"budget {verdict['budget']}" if verdict["budget"] else "its budgets"
    return f"it waits until {where} has room for it [{verdict['reason']}]; nothing is held for it yet"
