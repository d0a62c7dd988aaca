"""Work that Kueue manages: its quota first, then a hold, by Kueue's own means (AdmissionCheck and admission gate).

The root is the job; a Workload only says how far Kueue is with it. A check is answered Ready or
Retry, never left Pending for lack of budget, and never Retry while the Workload is being evicted. What is
evicted gives back what it has not drawn. Nothing here suspends or resumes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from kubernetes import client

from joulegate.client import ApiError, Client
from joulegate.core.errors import JoulegateError
from joulegate.core.periods import format_instant
from joulegate.core.workloads import POD_GATE, given_to_kueue, is_kept_from_kueue
from joulegate.holds import demand_body
from joulegate_operators.conditions import condition, dated
from joulegate_operators.gates import asked_by
from joulegate_operators.holds import live_parts
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json, KubeError, asked, listed
from joulegate_operators.objects import Objects
from joulegate_operators.seen import Workload, trees
from joulegate_operators.settings import Settings
from joulegate_operators.workloads import Workloads

GROUP: Final = "kueue.x-k8s.io"
VERSION: Final = "v1beta2"
CONTROLLER: Final = POD_GATE
"""`spec.controllerName` of the AdmissionChecks that are ours."""

RETRY_S: Final = 60
"""When Kueue tries again with work that did not fit."""

_MARGIN: Final = timedelta(seconds=2)
_GONE: Final = (404, 409)
_NOT_FOUND: Final = 404
_LONGEST: Final = 1_024


@dataclass(frozen=True, slots=True)
class Check:
    """An AdmissionCheck, and its status as it stands."""

    name: str
    controller: str
    generation: int
    status: Json


@dataclass(frozen=True, slots=True)
class Queued:
    """A Workload of Kueue: whose it is, which conditions are true, and its checks as they stand."""

    namespace: str
    name: str
    version: str
    owners: tuple[str, ...]
    true: frozenset[str]
    checks: tuple[Json, ...] = ()
    queue: str | None = None


def check_of(item: Json) -> Check:
    """Read an AdmissionCheck."""
    metadata = item["metadata"]
    return Check(
        metadata["name"], item["spec"]["controllerName"], metadata.get("generation", 0), item.get("status") or {}
    )


def queued_of(item: Json) -> Queued:
    """Read a Workload of Kueue."""
    metadata, status = item["metadata"], item.get("status") or {}
    admission = status.get("admission") or {}
    return Queued(
        namespace=metadata["namespace"],
        name=metadata["name"],
        version=str(metadata["resourceVersion"]),
        owners=tuple(str(each["uid"]) for each in metadata.get("ownerReferences") or ()),
        true=frozenset(each["type"] for each in status.get("conditions") or () if each.get("status") == "True"),
        checks=tuple(dict(each) for each in status.get("admissionChecks") or ()),
        queue=admission.get("clusterQueue"),
    )


class Kueue:
    """Answers our AdmissionChecks, lifts our admission gate, and ends the holds of what was evicted."""

    def __init__(
        self, kube: client.ApiClient, settings: Settings, workloads: Workloads, changed: threading.Event
    ) -> None:
        """Look for Kueue now and then; a cluster without it costs one question each ``relist_s`` seconds."""
        self._kube = kube
        self._cluster = settings.cluster
        self._every = timedelta(seconds=settings.relist_s)
        self._workloads = workloads
        self._changed = changed
        self._objects = Objects(kube)
        self._custom = client.CustomObjectsApi(kube)
        self._looked: datetime | None = None
        self._kinds: tuple[Informer[Check], Informer[Queued]] | None = None
        self._ended: set[tuple[str, str]] = set()
        self._listed: datetime | None = None
        self.unchecked: Mapping[str, frozenset[str]] = {}
        """ClusterQueues that let work go without our check, by the budget that it is held in."""

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """Those of Kueue's kinds, where the cluster has them."""
        return self._kinds or ()

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass; raises :class:`JoulegateError` of the first that failed, after all others were tried."""
        self._discover(now)
        if self._kinds is None or not all(each.synced.is_set() for each in self._kinds) or not self._workloads.is_known:
            return
        names = self._activate(self._kinds[0].objects().values(), now)
        everything = self._workloads.everything()
        known, top = {each.uid: each for each in everything}, trees(everything)
        failed: JoulegateError | None = None
        there: list[tuple[Queued, Workload]] = []
        for each in self._kinds[1].objects().values():
            uid = next((uid for uid in each.owners if uid in known), None)
            if uid is not None:
                there.append((each, known[top[uid]]))
        steps = [partial(self._answer, api, each, root, names, now) for each, root in there]
        steps += [partial(self._open, api, root, now) for root in everything if root.kept_from_kueue]
        for step in (*steps, partial(self._settle, api, there, names, now)):
            try:
                step()
            except JoulegateError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _discover(self, now: datetime) -> None:
        if self._kinds is not None or (self._looked is not None and now - self._looked < self._every):
            return
        self._looked = now
        try:
            served = listed(self._custom.get_api_resources, group=GROUP, version=VERSION)["resources"]
        except KubeError as error:
            if error.status != _NOT_FOUND:
                raise
            return
        if {"admissionchecks", "workloads"} <= {each["name"] for each in served}:
            where: dict[str, Any] = {"group": GROUP, "version": VERSION}
            call = partial(self._custom.list_cluster_custom_object, **where)
            checks = Informer("admissionchecks", partial(call, plural="admissionchecks"), check_of, self._changed)
            queued = Informer("kueue workloads", partial(call, plural="workloads"), queued_of, self._changed)
            self._kinds = checks, queued

    def _activate(self, checks: Any, now: datetime) -> frozenset[str]:  # noqa: ANN401 -- of the informer
        """Say of each check that is ours that somebody answers it; their names."""
        ours = [each for each in checks if each.controller == CONTROLLER]
        for each in ours:
            active = condition("Active", "True", "Active", "Joulegate's operator answers it")
            wanted = dated([active], each.generation, each.status, now)
            if each.status.get("conditions") != wanted:
                self._write(f"/apis/{GROUP}/{VERSION}/admissionchecks/{each.name}", {"status": {"conditions": wanted}})
        return frozenset(each.name for each in ours)

    def _answer(self, api: Client, queued: Queued, root: Workload, names: frozenset[str], now: datetime) -> None:
        """Take the hold once Kueue has reserved quota, and say whether it was granted."""
        asks = [each for each in queued.checks if each["name"] in names and each.get("state") == "Pending"]
        if not asks or "QuotaReserved" not in queued.true or queued.true & {"Evicted", "Finished"}:
            return
        allowed, message = self._decided(api, root, queued)
        at = format_instant(now.replace(microsecond=0))
        told: Json = {"state": "Ready", "message": message[:_LONGEST], "lastTransitionTime": at}
        if not allowed:
            told |= {"state": "Retry", "requeueAfterSeconds": RETRY_S}
        entries = [each | told if each in asks else each for each in queued.checks]
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{queued.namespace}/workloads/{queued.name}"
        # With the version: Kueue writes this status too, and what it wrote since is decided by the next pass.
        change = {"metadata": {"resourceVersion": queued.version}, "status": {"admissionChecks": entries}}
        if self._write(path, change) and not allowed:
            self._objects.tell(root, "WaitsForBudget", message, now, "Warning")

    def _decided(self, api: Client, root: Workload, queued: Queued) -> tuple[bool, str]:
        if root.uid not in queued.owners:
            return True, "it is held with its root"
        if root.demand is None:
            return False, f"nobody can size it: {root.reason}"
        if any(part.ended_at for part in live_parts(api, self._cluster, root_uid=root.uid).get(root.uid, ())):
            return False, "what it drew before is not settled yet"
        verdict = self._ask(api, root, dry_run=False)
        return bool(verdict["allowed"]), str(verdict["message"])

    def _ask(self, api: Client, root: Workload, *, dry_run: bool) -> Json:
        assert root.demand is not None  # noqa: S101 -- looked at by who asks
        demand = demand_body(replace(root.demand, suspended=False))
        body = asked_by(root, self._workloads) | {"cluster": self._cluster, "demand": demand, "dry_run": dry_run}
        verdict: Json = api.post(f"/v1/holds/{root.uid}/request", body)
        return verdict

    def _open(self, api: Client, root: Workload, now: datetime) -> None:
        """Let Kueue look at what was kept from it, once its budgets have something left."""
        if root.demand is None or root.terminating:
            return
        verdict = self._ask(api, root, dry_run=True)
        if not verdict["allowed"] and verdict["reason"] == "BudgetExhausted":
            return
        found = self._objects.read(root)
        if found is not None and is_kept_from_kueue(found):
            self._objects.change(root, given_to_kueue(found), found["metadata"]["resourceVersion"])
            self._objects.tell(root, "LetGo", "its budget is not exhausted any more: Kueue may look at it", now)

    def _settle(
        self, api: Client, there: Sequence[tuple[Queued, Workload]], names: frozenset[str], now: datetime
    ) -> None:
        """End the holds of what Kueue suspended again, and see which queues let work go without our check."""
        going = [(each, root) for each, root in there if "QuotaReserved" in each.true]
        bare = [(each, root) for each, root in going if not any(check["name"] in names for check in each.checks)]
        stopped = [
            (each, root)
            for each, root in there
            if "QuotaReserved" not in each.true and root.demand is not None and root.demand.suspended
        ]
        waiting = {(root.uid, each.version) for each, root in stopped}
        self._ended &= waiting
        if waiting <= self._ended and (self._listed is not None and now - self._listed < self._every):
            return
        self._listed = now
        parts = live_parts(api, self._cluster)
        unchecked: dict[str, set[str]] = {}
        for each, root in bare:
            for name in {name for part in parts.get(root.uid, ()) for name in part.names}:
                unchecked.setdefault(name, set()).add(each.queue or f"of {each.namespace}")
        self.unchecked = {name: frozenset(queues) for name, queues in unchecked.items()}
        busy = self._workloads.busy()
        for each, root in stopped:
            own = [part for part in parts.get(root.uid, ()) if part.ended_at is None]
            if root.uid in busy and own:
                continue
            if own:
                self._release(api, root, now)
            self._ended.add((root.uid, each.version))

    def _release(self, api: Client, root: Workload, now: datetime) -> None:
        body = {"cluster": self._cluster, "ended_at": format_instant(now - _MARGIN)}
        try:
            api.post(f"/v1/holds/{root.uid}/release", body)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
        self._objects.tell(root, "Evicted", "what was held for it and not drawn is given back", now)

    def _write(self, path: str, change: Json) -> bool:
        """Whether a status was taken; what has gone or changed since is left to the next pass."""
        try:
            asked(self._kube, "PATCH", f"{path}/status", change)
        except KubeError as error:
            if error.status in _GONE:
                return False
            raise
        return True
