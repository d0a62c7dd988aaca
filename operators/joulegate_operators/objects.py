"""Objects of the cluster that Joulegate changes: what people are told on them, and the gates that it lifts."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from kubernetes import client

from joulegate.core.periods import format_instant
from joulegate.core.workloads import ANNOTATION
from joulegate_operators.kube import Json, KubeError, asked
from joulegate_operators.seen import Workload

DECISION: Final = ANNOTATION + "decision"
HOLD: Final = ANNOTATION + "hold"
"""Annotations for people; nothing of Joulegate reads them back."""

SUSPENDED_AT: Final = ANNOTATION + "suspended-at"
"""When the operator suspended it: holds that were granted later are for going on."""

_GONE: Final = (404, 409)
_LONGEST_EVENT: Final = 1_024
_CONTROLLER: Final = "joulegate-operator"


class Objects:
    """Writes to workloads, each write as small as it can be; an object that has gone or changed since is left."""

    def __init__(self, kube: client.ApiClient) -> None:
        """Write by this client."""
        self._kube = kube

    def read(self, workload: Workload) -> Json | None:
        """The object as it stands, None where there is no such one any more; raises :class:`KubeError`."""
        path = workload.resource.path_to(workload.namespace, workload.name)
        try:
            found = asked(self._kube, "GET", path)
        except KubeError as error:
            if error.status in _GONE:
                return None
            raise
        resource = workload.resource
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **found}
        return whole if whole["metadata"]["uid"] == workload.uid else None

    def change(self, workload: Workload, change: Json, version: str | None = None) -> bool:
        """Whether a merge patch was taken; with ``version`` only where the object is still that one.

        Raises :class:`KubeError`.
        """
        path = workload.resource.path_to(workload.namespace, workload.name)
        metadata = {**change.get("metadata", {}), "uid": workload.uid}
        if version is not None:
            metadata["resourceVersion"] = version
        try:
            asked(self._kube, "PATCH", path, {**change, "metadata": metadata})
        except KubeError as error:
            if error.status in _GONE:
                return False
            raise
        return True

    def annotate(self, workload: Workload, **texts: str | None) -> None:
        """Set annotations of Joulegate, or take them away, where they are not so; raises :class:`KubeError`."""
        wanted = {ANNOTATION + key.replace("_", "-"): text for key, text in texts.items()}
        changed = {key: text for key, text in wanted.items() if workload.marks.get(key) != text}
        if changed:
            self.change(workload, {"metadata": {"annotations": changed}})

    def tell(self, workload: Workload, reason: str, message: str, now: datetime, kind: str = "Normal") -> None:
        """An Event on the object; the same one is made once. Raises :class:`KubeError`.

        ``kind`` is ``Normal`` or ``Warning``, ``reason`` a word in CamelCase.
        """
        at = format_instant(now.replace(microsecond=0))
        told = sha256(f"{workload.uid}\n{reason}\n{message}".encode()).hexdigest()[:16]
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{workload.name[:200]}.{told}", "namespace": workload.namespace},
            "involvedObject": {
                "apiVersion": workload.resource.api_version,
                "kind": workload.resource.kind,
                "namespace": workload.namespace,
                "name": workload.name,
                "uid": workload.uid,
            },
            "reason": reason,
            "message": message[:_LONGEST_EVENT],
            "type": kind,
            "source": {"component": _CONTROLLER},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            asked(self._kube, "POST", f"/api/v1/namespaces/{workload.namespace}/events", event)
        except KubeError as error:
            if error.status not in _GONE:  # told before, or its namespace is ending
                raise
