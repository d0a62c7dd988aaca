"""What manifests refer to, looked up in the cluster and kept for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from kubernetes import client

from joulegate.core.workloads import Node, Reference, Unresolved
from joulegate_operators.kube import Json, KubeError, listed

_KEPT_S: Final = 30.0
_NOT_FOUND: Final = 404
_GPUS: Final = "nvidia.com/"
_IRREGULAR: Final = {"InferenceService": "inferenceservices"}


class ClusterSurroundings:
    """References and nodes for :func:`joulegate.core.workloads.demand_of`; safe to use from many threads."""

    def __init__(self, kube: client.ApiClient) -> None:
        """Ask nothing yet."""
        self._custom = client.CustomObjectsApi(kube)
        self._core = client.CoreV1Api(kube)
        self._known: dict[Reference | None, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        """The object, None where there is none; raises :class:`Unresolved` where the cluster does not say."""
        found: Mapping[str, Any] | None = self._kept(reference, partial(self._asked, reference))
        return found

    def nodes(self) -> Sequence[Node]:
        """Every node."""
        found: Sequence[Node] = self._kept(None, self._listed)
        return found

    def _kept(self, key: Reference | None, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 -- an object or nodes
        with self._lock:
            until, found = self._known.get(key, (0.0, None))
        if time.monotonic() < until:
            return found
        try:
            found = ask()
        except KubeError as error:
            raise Unresolved(f"{key or 'the nodes'} cannot be looked up: {error}") from error
        with self._lock:
            now = time.monotonic()
            self._known = {each: kept for each, kept in self._known.items() if kept[0] > now}
            self._known[key] = (now + _KEPT_S, found)
        return found

    def _asked(self, reference: Reference) -> Json | None:
        group, _, version = reference.api_version.rpartition("/")
        if not group:
            raise Unresolved(f"{reference} is of a kind that is not looked up")
        plural = _IRREGULAR.get(reference.kind, f"{reference.kind.lower()}s")
        where: dict[str, Any] = {"group": group, "version": version, "plural": plural, "name": reference.name}
        try:
            if reference.namespace is None:
                return listed(self._custom.get_cluster_custom_object, **where)
            return listed(self._custom.get_namespaced_custom_object, namespace=reference.namespace, **where)
        except KubeError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def _listed(self) -> tuple[Node, ...]:
        return tuple(_node(item) for item in listed(self._core.list_node).get("items") or ())


def _node(item: Json) -> Node:
    status = item.get("status") or {}
    counts = status.get("allocatable") or status.get("capacity") or {}
    gpus = {name: str(count) for name, count in counts.items() if name.startswith(_GPUS)}
    return Node(
        labels=item["metadata"].get("labels") or {},
        accelerators={name: int(count) for name, count in gpus.items() if count.isascii() and count.isdigit()},
    )
