"""Running work: its hold renewed and extended in time, and warned, suspended or left when that is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from kubernetes import client

from joulegate.client import Client
from joulegate.core.budgets import Budget, OnExhausted
from joulegate.core.errors import JoulegateError
from joulegate.core.horizons import is_due, reaches
from joulegate.core.objects import budget_from_object
from joulegate.core.periods import format_instant
from joulegate.core.workloads import Demand, suspended
from joulegate.holds import HoldKind
from joulegate_operators.gates import asked_by
from joulegate_operators.holds import Asking, Part, live_parts
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json
from joulegate_operators.objects import SUSPENDED_AT, Objects
from joulegate_operators.seen import Workload
from joulegate_operators.settings import Settings
from joulegate_operators.workloads import Workloads

_DRAWN_PERCENT: Final = 80
_SUSPENDABLE: Final = "joulegate.io/suspendable"


class Running:
    """Looks at every live hold at least every ``relist_s`` seconds, renewals before everything else."""

    informers: Sequence[Informer[Any]] = ()

    def __init__(self, kube: client.ApiClient, settings: Settings, workloads: Workloads) -> None:
        """Watch over those that ``workloads`` has seen."""
        self._objects = Objects(kube)
        self._workloads = workloads
        self._cluster = settings.cluster
        self._every = timedelta(seconds=settings.relist_s)
        self._asking = Asking(settings.cluster)
        self._looked: datetime | None = None

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass; raises :class:`JoulegateError` of the first that failed, after all others were tried."""
        if not self._workloads.is_known or (self._looked is not None and now - self._looked < self._every):
            return
        self._looked = now
        roots = {each.uid: each for each in self._workloads.roots() if each.ended_at is None and not each.terminating}
        budgets = {each.name: each for each in map(budget_from_object, api.get("/v1/budgets")["budgets"])}
        found = [(roots[uid], parts) for uid, parts in live_parts(api, self._cluster).items() if uid in roots]
        self._asking.begin(api, now, roots)
        failed: JoulegateError | None = None
        for step in (self._renew, self._extend, self._annotate):
            for workload, parts in found:
                try:
                    step(_Root(workload, parts, budgets), now)
                except JoulegateError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    def _renew(self, root: _Root, now: datetime) -> None:
        """Hold on for open-ended work before what it holds has run out, even where that does not fit."""
        span = root.covered()
        if root.workload.gated or span is None or not is_due(*span, now):
            return
        starts_at = max(span[1], now)
        body = {"origin": HoldKind.RENEWED.value, "extension": f"{root.workload.uid}:renewed:{len(root.parts)}"}
        self._ask(root, {**body, "starts_at": format_instant(starts_at)}, now)

    def _extend(self, root: _Root, now: datetime) -> None:
        """Ask for as much again once most of the hold is drawn."""
        if root.workload.gated or not root.is_drawn():
            return
        body = {"origin": HoldKind.EXTENDED.value, "extension": f"{root.workload.uid}:extended:{len(root.parts)}"}
        self._ask(root, body, now)

    def _ask(self, root: _Root, body: Json, now: datetime) -> None:
        whole = asked_by(root.workload, self._workloads) | body
        verdict = self._asking.ask(root.workload.uid, root.demand, whole)
        if verdict is None or verdict["allowed"]:
            return
        held = verdict["hold"] is not None
        said = "it goes on beyond what fits" if held else f"its hold is not {body['origin']}"
        message = f"{said}: {verdict['message'].partition(';')[0]} [{verdict['reason']}]"
        self._objects.tell(root.workload, "BudgetExhausted", message, now, "Warning")
        budget = root.budgets.get(verdict["budget"] or "")
        if budget is not None and may_suspend(root.workload, budget.on_exhausted):
            self._suspend(root.workload, now)

    def _suspend(self, workload: Workload, now: datetime) -> None:
        change = suspended(workload.resource.api_version, workload.resource.kind)
        change["metadata"]["annotations"][SUSPENDED_AT] = format_instant(now)
        if self._objects.change(workload, change):
            message = "it is suspended until its budget has room; the operator resumes it"
            self._objects.tell(workload, "Suspended", message, now, "Warning")

    def _annotate(self, root: _Root, _now: datetime) -> None:
        first = root.parts[0]
        if not root.workload.gated:
            self._objects.annotate(root.workload, decision=first.decision, hold=first.hold_id)


@dataclass(frozen=True, slots=True)
class _Root:
    """A root that lives, with the live parts of its hold in their order."""

    workload: Workload
    parts: Sequence[Part]
    budgets: Mapping[str, Budget]

    @property
    def demand(self) -> Demand:
        """What it asks for, as it was held last."""
        return replace(self.parts[-1].demand, suspended=False)

    def covered(self) -> tuple[datetime, datetime] | None:
        """From when until when what it holds goes; None of work that ends by itself."""
        span: tuple[datetime, datetime] | None = None
        for part in self.parts:
            begins = part.decided_at
            if part.origin == HoldKind.RENEWED.value and span is not None:
                begins = max(begins, span[1])
            names = [self.budgets[name] for name in part.names if name in self.budgets]
            ends = reaches(part.demand, names, begins)
            if part.origin != HoldKind.EXTENDED.value and ends is not None and (span is None or ends > span[1]):
                span = begins, ends
        return span

    def is_drawn(self) -> bool:
        """Whether most of its energy is drawn, in any budget."""
        held: dict[str, int] = {}
        drawn: dict[str, int] = {}
        for part in self.parts:
            for name, amounts in part.energy():
                held[name] = held.get(name, 0) + amounts[0]
                drawn[name] = drawn.get(name, 0) + amounts[1]
        return any(drawn[name] * 100 >= held[name] * _DRAWN_PERCENT for name in held if held[name])


def may_suspend(workload: Workload, policy: OnExhausted) -> bool:
    """Whether work is suspended when a budget with this policy is exhausted: only what its author marked for it.

    What Kueue manages is Kueue's to suspend: two who write the same switch would fight.
    """
    if workload.queued:
        return False
    if workload.marks.get(_SUSPENDABLE) != "true" or policy is OnExhausted.CONTINUE:
        return False
    serves = workload.demand is not None and workload.demand.open_ended
    if serves and policy is not OnExhausted.SUSPEND_ALL:
        return False
    return bool(suspended(workload.resource.api_version, workload.resource.kind))
