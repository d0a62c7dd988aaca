"""What is kept of a workload of the cluster and of a pod, and which workload is whose child."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import parse_instant
from joulegate.core.workloads import (
    ANNOTATION,
    Demand,
    Surroundings,
    Unresolved,
    demand_of,
    is_gated,
    is_governed,
    is_kept_from_kueue,
    is_queued,
)
from joulegate_operators.kube import Json

_ENDED: Final = frozenset({"Succeeded", "Failed"})
_FINISHED: Final = frozenset({"Complete", "Completed", "Failed", "SuccessCriteriaMet"})
_PHASES: Final = frozenset({"Succeeded", "Failed", "Error"})
"""Of an Argo Workflow."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of workload and where the cluster keeps its objects."""

    api_version: str
    kind: str
    plural: str

    def path_to(self, namespace: str, name: str) -> str:
        """Where one object stands in the cluster's API."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        return f"{root}/namespaces/{namespace}/{self.plural}/{name}"

    @property
    def name(self) -> str:
        """As admission names it and holds keep it: `jobs.batch`, `pods`."""
        group = self.api_version.rpartition("/")[0]
        return f"{self.plural}.{group}" if group else self.plural


PODS: Final = Resource("v1", "Pod", "pods")

RESOURCES: Final = (
    Resource("batch/v1", "Job", "jobs"),
    Resource("apps/v1", "Deployment", "deployments"),
    Resource("apps/v1", "ReplicaSet", "replicasets"),
    Resource("apps/v1", "StatefulSet", "statefulsets"),
    Resource("apps/v1", "DaemonSet", "daemonsets"),
    Resource("jobset.x-k8s.io/v1alpha2", "JobSet", "jobsets"),
    Resource("trainer.kubeflow.org/v1alpha1", "TrainJob", "trainjobs"),
    Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices"),
    Resource("argoproj.io/v1alpha1", "Workflow", "workflows"),
)
"""Kinds that own pods or other kinds of this list; only those are watched that the cluster knows."""


@dataclass(frozen=True, slots=True)
class Workload:
    """An object that runs pods, or a pod.

    ``owner_uid`` is that of its governed controller, ``owner_kind`` its version and kind. ``demand`` None could not be
    resolved, for ``reason``; then ``manifest`` is kept, to be read again. ``node``
    is a pod's. ``ended_at`` is when its work ended, None while it goes on. ``gated``
    waits at Joulegate's gate. ``queued`` is managed by Kueue, ``kept_from_kueue`` while its budget is exhausted.
    ``marks`` are its annotations of Joulegate.
    """

    uid: str
    namespace: str
    name: str
    owner_uid: str | None
    demand: Demand | None
    reason: str = ""
    manifest: Mapping[str, Any] | None = None
    node: str | None = None
    ended_at: datetime | None = None
    terminating: bool = False
    resource: Resource = PODS
    created_at: str = ""
    gated: bool = False
    queued: bool = False
    kept_from_kueue: bool = False
    marks: Mapping[str, str] = field(default_factory=dict)
    owner_kind: tuple[str, str] | None = None

    @property
    def counts(self) -> bool:
        """Whether it asks for accelerators, or nobody knows."""
        return self.demand is None or bool(self.demand.groups)


def workload_of(item: Json, resource: Resource, around: Surroundings, now: datetime) -> Workload:
    """Read an object as a list of its kind holds it; ``now`` is the end of one that says none.

    Lists leave out ``apiVersion`` and ``kind`` of their items.
    """
    manifest = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
    metadata, status = item["metadata"], item.get("status") or {}
    demand, reason = _demand(manifest, around)
    owner = owner_of(metadata)
    return Workload(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        owner_uid=None if owner is None else str(owner["uid"]),
        owner_kind=None if owner is None else (owner["apiVersion"], owner["kind"]),
        demand=demand,
        reason=reason,
        manifest=manifest if demand is None else None,
        node=(item.get("spec") or {}).get("nodeName") if resource is PODS else None,
        ended_at=_pod_ended(status, now) if resource is PODS else _work_ended(status, now),
        terminating="deletionTimestamp" in metadata,
        resource=resource,
        created_at=metadata.get("creationTimestamp") or "",
        gated=demand is not None and is_gated(manifest),
        queued=is_queued(manifest),
        kept_from_kueue=is_kept_from_kueue(manifest),
        marks={key: text for key, text in (metadata.get("annotations") or {}).items() if key.startswith(ANNOTATION)},
    )


def owner_of(metadata: Json) -> Json | None:
    """The controller as the object names it, where its kind can be the root of others."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller") and is_governed(reference["apiVersion"], reference["kind"]):
            return dict(reference)
    return None


def trees(workloads: Iterable[Workload]) -> dict[str, str]:
    """The uid of the root of each workload's tree: as far up as owners are known."""
    owners = {each.uid: each.owner_uid for each in workloads}
    roots: dict[str, str] = {}
    for uid in owners:
        way: list[str] = []
        at = uid
        while at not in roots and at not in way:
            way.append(at)
            above = owners.get(at)
            if above not in owners:
                break
            at = above
        roots |= dict.fromkeys(way, roots.get(at, at))
    return roots


def governed(workloads: Sequence[Workload]) -> set[str]:
    """The uids of those whose tree asks for an accelerator anywhere."""
    roots = trees(workloads)
    counted = {roots[each.uid] for each in workloads if each.counts}
    return {uid for uid, root in roots.items() if root in counted}


def _demand(manifest: Json, around: Surroundings) -> tuple[Demand | None, str]:
    try:
        return demand_of(manifest, around), ""
    except Unresolved as error:
        return None, str(error)


def _pod_ended(status: Json, now: datetime) -> datetime | None:
    """When a pod's last container ended; ``now`` where nobody wrote it down."""
    if status.get("phase") not in _ENDED:
        return None
    ends = []
    for container in status.get("containerStatuses") or ():
        with suppress(InvalidInputError):
            terminated = (container.get("state") or {}).get("terminated") or {}
            ends.append(parse_instant(terminated.get("finishedAt"), "finishedAt"))
    return max(ends, default=now)


def _work_ended(status: Json, now: datetime) -> datetime | None:
    """When a job or a workflow ended by its own word; serving never does."""
    conditions = [each for each in status.get("conditions") or () if each.get("status") == "True"]
    finished = [each for each in conditions if each.get("type") in _FINISHED]
    if not finished and status.get("phase") not in _PHASES:
        return None
    told = [status.get("completionTime"), status.get("finishedAt")]
    told += [each.get("lastTransitionTime") for each in finished]
    ends = []
    for text in told:
        with suppress(InvalidInputError):
            ends.append(parse_instant(text, "ended"))
    return max(ends, default=now)
