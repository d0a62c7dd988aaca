"""The pods of this node: which uid a name has now, and when its containers began and ended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kubernetes import client

from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import parse_instant
from joulegate_operators.informer import Informer
from joulegate_operators.kube import Json

_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Pod:
    """What is kept of a pod."""

    uid: str
    namespace: str
    name: str
    ended: bool
    began: datetime | None
    containers: Mapping[str, str] = field(default_factory=dict)
    """Names by container ids, without the runtime's prefix."""
    finished: datetime | None = None
    """When its last container ended, once the pod has ended and where that is known."""


def pod_of(item: Json) -> Pod:
    """Read a pod as the cluster's API sends it."""
    status = item.get("status") or {}
    began, finished = [], []
    names = {}
    for container in status.get("containerStatuses") or ():
        if identity := str(container.get("containerID") or "").rpartition("/")[2]:
            names[identity] = str(container["name"])
        with suppress(InvalidInputError):
            running = (container.get("state") or {}).get("running") or {}
            began.append(parse_instant(running.get("startedAt"), "startedAt"))
        with suppress(InvalidInputError):
            terminated = (container.get("state") or {}).get("terminated") or {}
            finished.append(parse_instant(terminated.get("finishedAt"), "finishedAt"))
    metadata = item["metadata"]
    ended = status.get("phase") in _ENDED
    return Pod(
        metadata["uid"],
        metadata["namespace"],
        metadata["name"],
        ended,
        min(began, default=None),
        names,
        max(finished, default=None) if ended else None,
    )


class NodePods:
    """A list and a watch of the pods of one node."""

    def __init__(self, api: client.ApiClient, node: str) -> None:
        """``node`` is the name that pods have in ``spec.nodeName``."""
        call = client.CoreV1Api(api).list_pod_for_all_namespaces
        self.informer: Informer[Pod] = Informer("pods", call, pod_of, field_selector=f"spec.nodeName={node}")

    def snapshot(self) -> PodsByName:
        """What is known now."""
        return PodsByName(self.informer.objects())


class PodsByName:
    """Pods by namespace and name; of two with one name the one that has not ended counts."""

    def __init__(self, pods: Mapping[str, Pod]) -> None:
        """Index them."""
        self._by_name: dict[tuple[str, str], Pod] = {}
        for pod in sorted(pods.values(), key=lambda pod: not pod.ended):
            self._by_name[pod.namespace, pod.name] = pod
        self.began = {pod.uid: pod.began for pod in pods.values() if pod.began is not None}
        self.finished = {pod.uid: pod.finished for pod in pods.values() if pod.finished is not None}
        self.containers = {
            identity: (pod.uid, name) for pod in pods.values() for identity, name in pod.containers.items()
        }

    def uid_of(self, namespace: str, name: str) -> str | None:
        """The uid; "" where the pod has ended, None where no pod of this name is known."""
        pod = self._by_name.get((namespace, name))
        if pod is None:
            return None
        return "" if pod.ended else pod.uid
