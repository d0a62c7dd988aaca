"""Joulegate's own kinds in the cluster: what stands there, and the way back into its status."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kubernetes import client

from joulegate.core.objects import API_VERSION
from joulegate_operators.conditions import present
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json, KubeError, patched

_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Custom:
    """An object of one of Joulegate's kinds; ``namespace`` is None where the kind belongs to the whole cluster."""

    uid: str
    name: str
    namespace: str | None
    generation: int
    spec: Json
    status: Json


def custom_of(item: Json) -> Custom:
    """Read an object as the cluster's API sends it."""
    metadata = item["metadata"]
    return Custom(
        metadata.get("uid", ""),
        metadata["name"],
        metadata.get("namespace"),
        metadata.get("generation", 0),
        item.get("spec") or {},
        item.get("status") or {},
    )


class Kind:
    """The objects of one kind: an informer for them and the writing of their status."""

    def __init__(self, kube: client.ApiClient, kind: str, plural: str, changed: threading.Event) -> None:
        """``changed`` is set whenever an object of the kind may have changed."""
        self.kind = kind
        group, _, version = API_VERSION.partition("/")
        api = client.CustomObjectsApi(kube)
        where: dict[str, Any] = {"group": group, "version": version, "plural": plural}
        self._patch_cluster = partial(api.patch_cluster_custom_object_status, **where)
        self._patch_namespaced = partial(api.patch_namespaced_custom_object_status, **where)
        # For a namespaced kind, the path without a namespace lists those of all namespaces.
        call = partial(api.list_cluster_custom_object, **where)
        self.informer: Informer[Custom] = Informer(plural, call, custom_of, changed)

    def all(self) -> Mapping[str, Custom] | None:
        """Every object by uid; None before a whole list was taken: an empty cluster and one not asked look alike."""
        return self.informer.objects() if self.informer.synced.is_set() else None

    def write(self, source: Custom, status: Json) -> None:
        """Make the object's status so, where it is not; raises :class:`KubeError`.

        An object that was deleted since is nobody's loss.
        """
        if present(status) == source.status:
            return
        try:
            if source.namespace is None:
                patched(self._patch_cluster, name=source.name, body={"status": status})
            else:
                patched(self._patch_namespaced, namespace=source.namespace, name=source.name, body={"status": status})
        except KubeError as error:
            if error.status != _NOT_FOUND:
                raise
