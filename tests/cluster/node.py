"""A node without a kubelet: it is Ready, and pods that the scheduler gives it run and end by a script.

It acts with a node's own certificate, so RBAC, the node authoriser and NodeRestriction hold for it.
A pod runs until it has run as long as the annotation `tests.joulegate.io/runs-for` says (seconds, a
decimal; absent: until it is deleted), then it has succeeded; with `tests.joulegate.io/fails` it has failed.
With boards it hands them out as a kubelet does, and pods begin and end between two bursts of the boards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx2

from tests.cluster.api import Api, Object, RefusedError
from tests.cluster.boards import Boards
from tests.cluster.controlplane import ControlPlane

RUNS_FOR: Final = "tests.joulegate.io/runs-for"
FAILS: Final = "tests.joulegate.io/fails"
HEARTBEAT_S: Final = 10.0
_STEP_S: Final = 0.1
_LEASES: Final = "kube-node-lease"


@dataclass(slots=True)
class FakeNode:
    """One node; :meth:`start` runs it in a thread until :meth:`stop`."""

    api: Api
    name: str
    capacity: Mapping[str, str]
    labels: Mapping[str, str]
    boards: Boards | None = None
    started: dict[str, float] = field(default_factory=dict)
    failure: BaseException | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @classmethod
    def join(
        cls,
        plane: ControlPlane,
        name: str,
        gpus: int,
        labels: Mapping[str, str] | None = None,
        boards: Boards | None = None,
    ) -> FakeNode:
        """A node of `plane` with `gpus` GPUs, under a certificate of its own."""
        api = Api.open(plane.kubeconfig_of(f"system:node:{name}", "system:nodes"))
        capacity = {"cpu": "64", "memory": "256Gi", "pods": "500", "nvidia.com/gpu": str(gpus)}
        return cls(api, name, capacity, dict(labels or {}), boards)

    def start(self) -> None:
        """Register, be Ready, and begin to run pods."""
        labels = {"kubernetes.io/hostname": self.name, **self.labels}
        self.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}})
        self._beat()
        self._thread = threading.Thread(target=self._run, name=f"node {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, as a node whose power fails does; raises what went wrong meanwhile."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        self.api.close()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            beaten = time.monotonic()
            while not self._ended.wait(_STEP_S):
                if time.monotonic() - beaten > HEARTBEAT_S:
                    self._beat()
                    beaten = time.monotonic()
                for pod in self.api.request("GET", "/api/v1/pods", fieldSelector=f"spec.nodeName={self.name}")["items"]:
                    self._step({"apiVersion": "v1", "kind": "Pod", **pod})
        except (httpx2.HTTPError, RefusedError) as failure:
            self.failure = failure

    def _beat(self) -> None:
        """Say that the node lives: its lease, and its status."""
        now = datetime.now(UTC)
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": _LEASES},
            "spec": {
                "holderIdentity": self.name,
                "leaseDurationSeconds": 40,
                "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        if self.api.exists(lease):
            self.api.patch(lease, {"spec": lease["spec"]})
        else:
            self.api.create(lease)
        ready = {**condition("Ready", now, reason="KubeletReady"), "lastHeartbeatTime": _stamp(now)}
        status = {"capacity": self.capacity, "allocatable": self.capacity, "conditions": [ready]}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}}
        self.api.patch(node, {"status": status}, "status")

    def _step(self, pod: Object) -> None:
        """Take one pod as far as it should be by now."""
        metadata, phase = pod["metadata"], pod["status"].get("phase")
        uid, annotations = metadata["uid"], metadata.get("annotations", {})
        if self.boards is not None and not self.boards.are_quiet():
            return
        if metadata.get("deletionTimestamp"):
            self._forget(pod)
        elif phase == "Pending":
            self.started[uid] = time.monotonic()
            if self.boards is not None:
                self.boards.hand(pod)
            self._tell(pod, running_status(pod))
        elif phase == "Running" and RUNS_FOR in annotations:
            begun = self.started.setdefault(uid, time.monotonic())
            if time.monotonic() - begun >= float(annotations[RUNS_FOR]):
                self._tell(pod, ended_status(pod, failed=FAILS in annotations))
                self._take_back(uid)

    def _take_back(self, uid: str) -> None:
        if self.boards is not None:
            self.boards.take_back(uid)

    def _forget(self, pod: Object) -> None:
        """End a pod that is being deleted; its grace period is nothing here."""
        self.started.pop(pod["metadata"]["uid"], None)
        self._take_back(pod["metadata"]["uid"])
        try:
            self.api.request("DELETE", self.api.path_of(pod), gracePeriodSeconds="0")
        except RefusedError as refused:
            _tolerate_absence(refused)

    def _tell(self, pod: Object, status: Mapping[str, Any]) -> None:
        try:
            self.api.patch(pod, {"status": status}, "status")
        except RefusedError as refused:
            _tolerate_absence(refused)


@contextmanager
def joined(
    plane: ControlPlane,
    api: Api,
    name: str,
    gpus: int,
    labels: Mapping[str, str] | None = None,
    boards: Boards | None = None,
) -> Iterator[FakeNode]:
    """A node for as long as it is needed; then it is gone, and no pod of another test waits on it."""
    node = FakeNode.join(plane, name, gpus, labels, boards)
    node.start()
    try:
        yield node
    finally:
        try:
            node.stop()
        finally:
            api.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})


def _tolerate_absence(refused: RefusedError) -> None:
    if refused.status not in {httpx2.codes.NOT_FOUND, httpx2.codes.CONFLICT}:
        raise refused


def running_status(pod: Object) -> Object:
    """What a kubelet says once every container runs."""
    now = datetime.now(UTC)
    states = [_container(each, {"running": {"startedAt": _stamp(now)}}, ready=True) for each in _containers(pod)]
    conditions = [condition(name, now) for name in ("Initialized", "ContainersReady", "Ready")]
    return {
        "phase": "Running",
        "startTime": _stamp(now),
        "conditions": [*_scheduled(pod), *conditions],
        "containerStatuses": states,
    }


def ended_status(pod: Object, *, failed: bool) -> Object:
    """What a kubelet says once every container has ended."""
    now = datetime.now(UTC)
    ended = {
        "exitCode": int(failed),
        "reason": "Error" if failed else "Completed",
        "startedAt": pod["status"]["startTime"],
        "finishedAt": _stamp(now),
    }
    states = [_container(each, {"terminated": ended}, ready=False) for each in _containers(pod)]
    conditions = [condition(name, now, "False", "PodCompleted") for name in ("ContainersReady", "Ready")]
    return {
        "phase": "Failed" if failed else "Succeeded",
        "conditions": [*_scheduled(pod), condition("Initialized", now), *conditions],
        "containerStatuses": states,
    }


def condition(name: str, now: datetime, status: str = "True", reason: str = "Fake") -> Object:
    """One condition of a node or a pod."""
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "lastTransitionTime": _stamp(now),
    }


def _scheduled(pod: Object) -> list[Object]:
    return [each for each in pod["status"].get("conditions", []) if each["type"] == "PodScheduled"]


def _containers(pod: Object) -> list[Object]:
    return list(pod["spec"]["containers"])


def _container(container: Object, state: Object, *, ready: bool) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
