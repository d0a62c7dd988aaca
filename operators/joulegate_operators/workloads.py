"""The cluster's workloads to the API: what lives, with its pods, as evidence for holds.

A watch says when to look; only a list of its own proves what is not there, so each
report is made from a list that was begun after the moment that it states.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from kubernetes import client

from joulegate.client import ApiError, Client
from joulegate.core.periods import format_instant
from joulegate.holds import demand_body
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json, KubeError, listed
from joulegate_operators.namespaces import Namespace
from joulegate_operators.objects import Objects
from joulegate_operators.seen import PODS, RESOURCES, Resource, Workload, governed, trees, workload_of
from joulegate_operators.settings import Settings
from joulegate_operators.surroundings import ClusterSurroundings

_SHARE: Final = 10
"""Listing a kind takes at most one part in so many of the time."""

_MARGIN: Final = timedelta(seconds=2)
"""How far this clock may be ahead of the database's. A list that says it began earlier proves less, never more."""

_PART: Final = 2_000
"""Objects and pods that are told at once; a longer list goes in parts."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_NOT_FOUND: Final = 404
_GONE_KEPT: Final = timedelta(hours=1)


@dataclass(slots=True)
class _Watched:
    """One kind: its informer, and when it was listed and reported last."""

    resource: Resource
    informer: Informer[Workload]
    revision: int = -1
    reported: datetime = _NEVER
    took: timedelta = timedelta()

    def is_due(self, now: datetime, at_least: timedelta) -> bool:
        """Whether it changed since, or was not listed for ``at_least``; but not more often than it can be."""
        rests = now - self.reported
        if rests < self.took * _SHARE:
            return False
        return self.revision != self.informer.revision or rests >= at_least


@dataclass(slots=True)
class _Ended:
    """Pods that are gone, with the instant at which that was seen."""

    before: dict[str, Workload] = field(default_factory=dict)
    gone: dict[str, Workload] = field(default_factory=dict)

    def note(self, pods: Mapping[str, Workload], now: datetime) -> None:
        """Compare with what was there before."""
        for uid in self.before.keys() - pods.keys():
            pod = self.before[uid]
            self.gone[uid] = replace(pod, ended_at=pod.ended_at or now)
        self.gone = {uid: pod for uid, pod in self.gone.items() if pod.ended_at and now - pod.ended_at < _GONE_KEPT}
        self.before = dict(pods)


class Workloads:
    """Reports what lives, kind by kind, and ends the holds of work that has finished by its own word."""

    def __init__(
        self, kube: client.ApiClient, settings: Settings, namespaces: Informer[Namespace], changed: threading.Event
    ) -> None:
        """Know nothing of the cluster yet."""
        self._cluster = settings.cluster
        self._relist = timedelta(seconds=settings.relist_s)
        self._changed = changed
        self._custom = client.CustomObjectsApi(kube)
        self._around = ClusterSurroundings(kube)
        self._objects = Objects(kube)
        core = client.CoreV1Api(kube)
        self._watched = {PODS: self._watch(PODS, core.list_pod_for_all_namespaces)}
        self._namespaces = namespaces
        self._looked = _NEVER
        self.hurried = False
        self._ended = _Ended()
        self._served: dict[tuple[str, str], bool] = {}
        self._released: set[str] = set()
        self._told: set[tuple[str, str]] = set()

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """Those of the kinds that the cluster has so far, and of namespaces."""
        return [self._namespaces, *(each.informer for each in self._watched.values())]

    @property
    def is_known(self) -> bool:
        """Whether everything that lives was told to the API once, and so is held for."""
        return all(each.reported > _NEVER for each in self._watched.values())

    @property
    def told_since(self) -> datetime | None:
        """The newest lists of all kinds began after this; None before each was told once."""
        return min(each.reported for each in self._watched.values()) - _MARGIN if self.is_known else None

    def everything(self) -> Sequence[Workload]:
        """All that is watched, as the watches know it."""
        return [each for watched in self._watched.values() for each in watched.informer.objects().values()]

    def roots(self) -> Sequence[Workload]:
        """The roots of every tree that asks for an accelerator, as the watches know them."""
        everything = self.everything()
        top, inside = trees(everything), governed(everything)
        return [each for each in everything if top[each.uid] == each.uid and each.uid in inside]

    def busy(self) -> set[str]:
        """The uids of roots that have a pod, or another child, that goes on."""
        everything = self.everything()
        return _busy(everything, trees(everything))

    def labels_of(self, namespace: str) -> Sequence[Json] | None:
        """The labels of a namespace as the API takes them; None where they are not known."""
        found = (each.body["labels"] for each in self._namespaces.objects().values() if each.name == namespace)
        return next(found, None)

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass: report each kind that is due, release what has finished.

        Raises :class:`UnavailableError`, :class:`ApiError` and :class:`KubeError`.
        """
        if now - self._looked >= self._relist:
            self._discover()
            self._looked = now
        if not all(informer.synced.is_set() for informer in self.informers):
            return
        known = {resource: dict(each.informer.objects()) for resource, each in self._watched.items()}
        self._ended.note(known[PODS], now)
        for resource, each in self._watched.items():
            if each.is_due(now, timedelta() if self.hurried else self._relist):
                self._report(api, each, known, resource)
        self._release(api, [workload for found in known.values() for workload in found.values()])

    def _watch(self, resource: Resource, call: Any) -> _Watched:  # noqa: ANN401 -- a method of the client
        def keep(item: Json) -> Workload:
            return workload_of(item, resource, self._around, datetime.now(UTC))

        return _Watched(resource, Informer(resource.plural, call, keep, self._changed))

    def _discover(self) -> None:
        """Watch the kinds that the cluster has got since."""
        self._served.clear()
        for resource in RESOURCES:
            if resource in self._watched:
                continue
            group, version = resource.api_version.split("/")
            try:
                served = listed(self._custom.get_api_resources, group=group, version=version)["resources"]
            except KubeError as error:
                if error.status != _NOT_FOUND:
                    raise
                continue
            if any(each["name"] == resource.plural for each in served):
                where: dict[str, Any] = {"group": group, "version": version, "plural": resource.plural}
                call = partial(self._custom.list_cluster_custom_object, **where)
                self._watched[resource] = self._watch(resource, call)

    def _report(
        self, api: Client, each: _Watched, known: dict[Resource, dict[str, Workload]], resource: Resource
    ) -> None:
        began, revision = datetime.now(UTC), each.informer.revision
        clock = time.monotonic()
        known[resource] = {uid: self._owned(workload) for uid, workload in each.informer.listed().items()}
        each.took = timedelta(seconds=time.monotonic() - clock)
        everything = [workload for found in known.values() for workload in found.values()]
        inside = governed(everything)
        objects = [self._read_again(workload) for uid, workload in known[resource].items() if uid in inside]
        pods = self._pods_by_owner([*known[PODS].values(), *self._ended.gone.values()])
        bodies = [object_body(workload, _pods_of(workload, resource, pods)) for workload in objects]
        names = {body["namespace"] for body in bodies}
        labels = [each.body for each in self._namespaces.objects().values() if each.name in names]
        chunks = list(_chunks(bodies))
        for part, some in enumerate(chunks):
            list_of = {
                "begun_at": format_instant(began - _MARGIN),
                "complete": True,
                "part": part,
                "parts": len(chunks),
            }
            told = api.put(
                f"/v1/inventories/{self._cluster}/{resource.name}",
                {**list_of, "objects": some, "namespaces": labels},
            )
            self._tell(resource, told["unadmitted"])
            for uid in told["unadmitted_usage"]:
                message = "it runs without having been admitted; what it draws is charged to its budgets"
                self._objects.tell(known[resource][uid], "UnadmittedUsage", message, began, "Warning")
        each.reported, each.revision = began, revision

    def _owned(self, workload: Workload) -> Workload:
        """The workload; without the owner that it names where the cluster has no such kind: nobody makes it its child.

        Garbage is not collected then, so that it would run for ever as the child of nobody who is held for.
        """
        if workload.owner_kind is None or self._is_served(*workload.owner_kind):
            return workload
        return replace(workload, owner_uid=None, owner_kind=None)

    def _is_served(self, api_version: str, kind: str) -> bool:
        """Whether the cluster has a kind; one of a group that is watched it has."""
        if any((each.api_version, each.kind) == (api_version, kind) for each in self._watched):
            return True
        if (api_version, kind) not in self._served:
            group, _, version = api_version.rpartition("/")
            try:
                served = listed(self._custom.get_api_resources, group=group, version=version)["resources"]
            except KubeError as error:
                if error.status != _NOT_FOUND:
                    raise
                served = []
            self._served[api_version, kind] = any(each["kind"] == kind for each in served)
        return self._served[api_version, kind]

    def _read_again(self, workload: Workload) -> Workload:
        """An object whose demand could not be read, tried again: what it refers to may be there by now."""
        if workload.manifest is None:
            return workload
        resource = next(one for one in (PODS, *RESOURCES) if one.kind == workload.manifest["kind"])
        return workload_of(dict(workload.manifest), resource, self._around, datetime.now(UTC))

    @staticmethod
    def _pods_by_owner(pods: Iterable[Workload]) -> dict[str, list[Workload]]:
        found: dict[str, list[Workload]] = {}
        for pod in pods:
            if pod.counts:
                found.setdefault(pod.owner_uid or pod.uid, []).append(pod)
        return found

    def _release(self, api: Client, workloads: Sequence[Workload]) -> None:
        """End the holds of roots that say that they are done and whose pods have all ended."""
        roots = trees(workloads)
        busy = _busy(workloads, roots)
        live = {each.uid for each in workloads}
        self._released &= live
        for each in workloads:
            if each.ended_at is None or roots[each.uid] != each.uid or not each.counts or each.uid in busy:
                continue
            if each.uid not in self._released:
                self._release_one(api, each.uid, each.ended_at)
                self._released.add(each.uid)

    def _release_one(self, api: Client, uid: str, ended_at: datetime) -> None:
        ended = min(ended_at, datetime.now(UTC) - _MARGIN)
        try:
            api.post(f"/v1/holds/{uid}/release", {"cluster": self._cluster, "ended_at": format_instant(ended)})
        except ApiError as error:
            if error.status != _NOT_FOUND:  # nothing was held for it
                raise

    def _tell(self, resource: Resource, unadmitted: Iterable[Mapping[str, str]]) -> None:
        """Say once of each object that runs without a hold why it could not be given one."""
        for each in unadmitted:
            if (each["uid"], each["reason"]) not in self._told:
                self._told.add((each["uid"], each["reason"]))
                text = f"joulegate operator: {resource.name} {each['uid']} has no hold: {each['reason']}\n"
                sys.stderr.write(text)


def object_body(workload: Workload, pods: Iterable[Workload]) -> Json:
    """An object as ``PUT /v1/inventories`` takes it. What has finished asks for nothing more."""
    demand = workload.demand
    if demand is not None and workload.ended_at is not None:
        demand = replace(demand, suspended=True)
    return {
        "uid": workload.uid,
        "owner_uid": workload.owner_uid,
        "created_at": workload.created_at or None,
        "namespace": workload.namespace,
        "name": workload.name,
        "demand": None if demand is None else demand_body(demand),
        "pods": [
            {
                "uid": pod.uid,
                "node": pod.node,
                "ended_at": pod.ended_at and format_instant(pod.ended_at),
                "demand": pod.demand and demand_body(pod.demand),
                "terminating": pod.terminating,
            }
            for pod in pods
        ],
    }


def _pods_of(workload: Workload, resource: Resource, pods: Mapping[str, list[Workload]]) -> list[Workload]:
    """The pods of an object; one that is itself a pod and nobody's child is its own."""
    if resource is PODS and workload.owner_uid is not None:
        return []
    return pods.get(workload.uid, [])


def _busy(workloads: Iterable[Workload], roots: Mapping[str, str]) -> set[str]:
    return {roots[each.uid] for each in workloads if each.ended_at is None and each.owner_uid is not None}


def _chunks(bodies: Sequence[Json]) -> Iterator[Sequence[Json]]:
    """One body after the other, none larger than can be decided while its sender waits; one where there is nothing."""
    some: list[Json] = []
    size = 0
    for body in bodies:
        if some and size + 1 + len(body["pods"]) > _PART:
            yield some
            some, size = [], 0
        some.append(body)
        size += 1 + len(body["pods"])
    yield some
