"""What one decision asks the cluster: the objects that a manifest refers to, its owners, its namespace, its nodes.

All questions of a decision share one deadline; what is not answered by then is unresolved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.workloads import Node, Reference, Unresolved
from joulegate_api.cluster import Attributes, Cluster, ClusterError, Identity, deadline_in, path_to

PATIENCE_S: Final = 0.5
"""Time that all look-ups of one decision may take together."""

NODES_KEPT_S: Final = 30.0
"""How long the list of nodes is used: it says which model a pod can get, and where a DaemonSet runs."""

_GPUS: Final = "nvidia.com/"
_IRREGULAR: Final = {
    "InferenceService": "inferenceservices",
    "LLMInferenceService": "llminferenceservices",
    "RayService": "rayservices",
}


@dataclass(slots=True)
class Nodes:
    """The nodes of the cluster, listed again when they are old; safe to use from many threads."""

    cluster: Cluster
    _known: tuple[Node, ...] = ()
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def list(self, deadline: float) -> Sequence[Node]:
        """The nodes; raises :class:`ClusterError`."""
        with self._lock:
            if time.monotonic() < self._until:
                return self._known
        listed = self.cluster.get("/api/v1/nodes", deadline, {"resourceVersion": "0"})
        found = tuple(_node(each) for each in listed.get("items") or () if isinstance(each, Mapping))
        with self._lock:
            self._known, self._until = found, time.monotonic() + NODES_KEPT_S
        return found


class Lookups:
    """The surroundings of one manifest in its cluster, each thing asked for once."""

    def __init__(self, cluster: Cluster, nodes: Nodes) -> None:
        """Begin a decision: its time runs from now."""
        self._cluster = cluster
        self._nodes = nodes
        self._deadline = deadline_in(PATIENCE_S)
        self._found: dict[Reference, Mapping[str, Any] | None] = {}

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        """An object, None where there is none; raises :class:`Unresolved` where the cluster does not say."""
        if reference not in self._found:
            self._found[reference] = self._asked(reference)
        return self._found[reference]

    def nodes(self) -> Sequence[Node]:
        """Every node."""
        try:
            return self._nodes.list(self._deadline)
        except ClusterError as error:
            raise Unresolved(f"the nodes cannot be listed: {error}") from error

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace."""
        found = self.get(Reference("v1", "Namespace", namespace))
        if found is None:
            raise Unresolved(f"the namespace {namespace} does not exist")
        metadata = found.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
        return labels if isinstance(labels, Mapping) else {}

    def may_use(self, who: Identity, budget: str) -> bool:
        """Whether somebody may choose a budget: the verb `use` on it."""
        what = Attributes("use", "joulegate.io", "budgets", name=budget)
        try:
            return self._cluster.subject_access_review(who, what, self._deadline)
        except ClusterError as error:
            raise Unresolved(f"whether {who.username} may use budget {budget} is not known: {error}") from error

    def _asked(self, reference: Reference) -> Mapping[str, Any] | None:
        try:
            return self._cluster.get(path_of(reference), self._deadline)
        except InvalidInputError as error:
            raise Unresolved(f"{reference} cannot be looked up: {error.message}") from error
        except ClusterError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise Unresolved(f"{reference} cannot be looked up: {error}") from error


def path_of(reference: Reference) -> str:
    """The address of an object within the cluster's API."""
    group, _, version = reference.api_version.rpartition("/")
    parts = ["apis", group, version] if group else ["api", version]
    if reference.namespace is not None:
        parts += ["namespaces", reference.namespace]
    return path_to(*parts, _IRREGULAR.get(reference.kind, f"{reference.kind.lower()}s"), reference.name)


def _node(source: Mapping[str, Any]) -> Node:
    metadata, status = source.get("metadata") or {}, source.get("status") or {}
    allocatable = status.get("allocatable") or status.get("capacity") or {}
    counts = {name: str(count) for name, count in allocatable.items() if name.startswith(_GPUS)}
    return Node(
        labels={str(key): str(value) for key, value in (metadata.get("labels") or {}).items()},
        accelerators={name: int(count) for name, count in counts.items() if count.isascii() and count.isdigit()},
    )
