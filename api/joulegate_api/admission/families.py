"""Whose child an object is: the root above it, by uid, and what the root's tree asks for already.

A child is one only where its controller owner exists under that uid and a controller of
the list made it; anything else is its own root. The root is the top-most governed owner;
what generators create is a root itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joulegate.core.workloads import ALONE, Demand, Reference, Unresolved, demand_of, is_generator, is_governed
from joulegate_api.admission.lookups import Lookups
from joulegate_api.admission.reading import Review, metadata_of
from joulegate_api.context import Context
from joulegate_api.store import Child, HoldFilters, LivePod

_HIGHEST: Final = 8
"""Owners above an object; the longest chain of the kinds that are governed has five."""

_MOST_LOOKED_UP: Final = 20
"""Pods of a tree that are looked up within one decision's time; the operator's lists tell of the others."""

_SIZED: Final = frozenset(
    {
        "jobs.batch",
        "replicasets.apps",
        "deployments.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "jobsets.jobset.x-k8s.io",
        "trainjobs.trainer.kubeflow.org",
    }
)
_PLURALS: Final = {"InferenceService": "inferenceservices"}


@dataclass(frozen=True, slots=True)
class Owner:
    """A controller owner, as its child names it."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Family:
    """The root that a child belongs to, as its hold calls it; ``held`` None where it holds nothing.

    ``whole`` is then the root itself, as the cluster has it.
    """

    root_uid: str
    resource: str
    name: str
    owner_uid: str
    held: Demand | None
    whole: Mapping[str, Any] | None = None

    @property
    def is_sized(self) -> bool:
        """Whether the root itself says how many of its children run; what it asks for was decided with it."""
        return self.resource in _SIZED


def owner_of(source: Mapping[str, Any] | None) -> Owner | None:
    """The controller among the owners of an object."""
    owners = metadata_of(source).get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, Mapping) and owner.get("controller") is True:
            parts = [owner.get(name) for name in ("apiVersion", "kind", "name", "uid")]
            if all(isinstance(part, str) and part for part in parts):
                return Owner(*map(str, parts))
    return None


def is_made_by_controller(review: Review, parts: Context) -> bool:
    """Whether a controller of the list made the object for an owner that is no generator."""
    owner = owner_of(review.new)
    return owner is not None and review.user in parts.settings.controllers and not is_generator(owner.kind)


def family_of(review: Review, parts: Context, around: Lookups | None) -> Family | None:
    """The family of a child; None of what is its own root.

    Raises :class:`Unresolved` where the cluster does not say whether the owner exists.
    """
    owner = owner_of(review.new)
    if owner is None or is_generator(owner.kind):
        return None
    uid = metadata_of(review.new).get("uid")
    if review.user not in parts.settings.controllers and (review.operation == "CREATE" or not _is_known(uid, parts)):
        return None  # whoever says that something owns the object; a child that exists stays one, whoever changes it
    root_uid = parts.store.trees.root_of(parts.settings.cluster, owner.uid)
    held = None if root_uid is None else parts.store.ledger.held(parts.settings.cluster, root_uid)
    called = None if root_uid is None or held is None else _called(root_uid, parts)
    if root_uid is not None and called is not None:
        return Family(root_uid, *called, owner.uid, held)
    if around is None:
        return None
    line = _climb(owner, review.namespace or "default", around)
    if not line:
        return None
    top = line[-1]
    held = parts.store.ledger.held(parts.settings.cluster, top.uid)
    if held is not None and not review.dry_run:
        for above, below in reversed(tuple(zip(line[1:], line, strict=False))):
            namespace = review.namespace or "default"
            parts.store.trees.note(parts.settings.cluster, below.uid, above.uid, namespace, below.name)
    called = resource_of(top.api_version, top.kind), top.name
    return Family(top.uid, *called, owner.uid, held, None if held is not None else _whole(top, review, around))


def growth_of(review: Review, family: Family, demand: Demand, parts: Context, around: Lookups | None) -> Demand | None:
    """What the root's tree would ask for with this child, where that is more than it was admitted with; else None.

    A child that passes counts from now on. Before a pod is called growth, the pods that it
    was weighed beside are looked up: what it replaces may have gone without anybody saying so.
    """
    is_pod = (review.new or {}).get("kind") == "Pod"
    if family.held is None:
        return _unheld(family, demand, around)
    if family.is_sized and is_pod and demand.fits_on(family.held):
        return None
    child = _child(review, family, demand, is_pod=is_pod, parts=parts)
    standing = parts.store.trees.admit(child, dry_run=review.dry_run)
    if standing is not None and standing.growth is not None and around is not None:
        gone = [pod.uid for pod in standing.counted[:_MOST_LOOKED_UP] if _has_gone(pod, around)]
        if gone and not review.dry_run:
            parts.store.trees.gone(parts.settings.cluster, gone)
            standing = parts.store.trees.admit(child)
    return demand if standing is None else standing.growth


def _unheld(family: Family, demand: Demand, around: Lookups | None) -> Demand:
    """What the first child of a root that holds nothing asks for: the root's own demand where that covers the child."""
    if family.whole is None or not family.is_sized:
        return demand
    try:
        own = demand_of(family.whole, around or ALONE)
    except Unresolved:
        return demand
    return own if own.groups and not own.suspended and demand.fits_on(own) else demand


def count(review: Review, family: Family, demand: Demand, parts: Context) -> Demand | None:
    """Let a child whose growth was held count in its tree; what the tree asks for where that is more than it holds."""
    if review.dry_run:
        return None
    is_pod = (review.new or {}).get("kind") == "Pod"
    standing = parts.store.trees.admit(_child(review, family, demand, is_pod=is_pod, parts=parts))
    return None if standing is None else standing.growth


def _child(review: Review, family: Family, demand: Demand, *, is_pod: bool, parts: Context) -> Child:
    metadata = metadata_of(review.new)
    uid, name = metadata.get("uid"), metadata.get("name")
    return Child(
        cluster=parts.settings.cluster,
        uid=uid if isinstance(uid, str) and uid else f"review:{review.uid}",
        owner_uid=family.owner_uid,
        namespace=review.namespace or "default",
        name=name if isinstance(name, str) else "",
        demand=demand,
        is_pod=is_pod,
    )


def _whole(root: Owner, review: Review, around: Lookups) -> Mapping[str, Any] | None:
    found = around.get(Reference(root.api_version, root.kind, root.name, review.namespace or "default"))
    return None if found is None else {**found, "apiVersion": root.api_version, "kind": root.kind}


def _has_gone(pod: LivePod, around: Lookups) -> bool:
    """Whether a pod has ended, is ending, or is not there; not where the cluster does not say."""
    try:
        found = around.get(Reference("v1", "Pod", pod.name, pod.namespace))
    except Unresolved:
        return False
    status = (found or {}).get("status")
    ended = isinstance(status, Mapping) and status.get("phase") in ("Succeeded", "Failed")
    metadata = metadata_of(found)
    return ended or metadata.get("uid") != pod.uid or metadata.get("deletionTimestamp") is not None


def resource_of(api_version: str, kind: str) -> str:
    """What admission calls the resource of a kind: its plural and its group."""
    group = api_version.rpartition("/")[0]
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    return f"{plural}.{group}" if group else plural


def _is_known(uid: object, parts: Context) -> bool:
    return isinstance(uid, str) and parts.store.trees.root_of(parts.settings.cluster, uid) is not None


def _called(root_uid: str, parts: Context) -> tuple[str, str] | None:
    """Resource and name that the root's hold was made for."""
    found = parts.store.hold_list.list(HoldFilters(cluster=parts.settings.cluster, root_uid=root_uid), limit=1).holds
    return (found[0].resource, found[0].name) if found else None


def _climb(owner: Owner, namespace: str, around: Lookups) -> list[Owner]:
    """The owners up to the top-most governed one, each looked up under its uid; none where there is no such one."""
    line: list[Owner] = []
    governed = 0
    current: Owner | None = owner
    while current is not None and not is_generator(current.kind):
        if len(line) == _HIGHEST:
            raise Unresolved(f"more than {_HIGHEST} owners stand above the object")
        found = around.get(Reference(current.api_version, current.kind, current.name, namespace))
        if found is None or metadata_of(found).get("uid") != current.uid:
            break
        line.append(current)
        if is_governed(current.api_version, current.kind):
            governed = len(line)
        current = owner_of(found)
    return line[:governed]
