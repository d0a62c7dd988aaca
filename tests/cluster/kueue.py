"""Kueue cannot be had here: minimal definitions of its kinds with their published fields, and its documented rules.

`Kueue.step` does what its controllers do, once, under the account that the chart lists: a Workload for each Job that
names a queue; quota (there is always enough) unless the Job carries an admission gate; the checks of the ClusterQueue
from Pending; all Ready: admitted, the Job runs; one Retry: evicted, quota given back, checks Pending again, and queued
anew when the test says that the time has come; preemption evicts what runs. What its webhook does at creation, to
suspend, the test does itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.conftest import is_established
from tests.cluster.test_chart import bound

GROUP: Final = "kueue.x-k8s.io"
VERSION: Final = f"{GROUP}/v1beta2"
ACCOUNT: Final = "system:serviceaccount:kueue-system:kueue-controller-manager"
GATED_BY: Final = f"{GROUP}/admission-gated-by"
QUEUE: Final = {f"{GROUP}/queue-name": "team"}
AT: Final = "2026-01-01T00:00:00Z"
CONFLICT: Final = 409
_TEXT: Final = {"type": "string"}
_ANY: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_CONDITIONS: Final = {"type": "array", "items": _ANY}
_CHECK_STATE: Final = {
    "type": "object",
    "required": ["lastTransitionTime", "message", "name", "state"],
    "properties": {
        "name": _TEXT,
        "state": {"type": "string", "enum": ["Pending", "Ready", "Retry", "Rejected"]},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": {"type": "string", "maxLength": 32_768},
        "requeueAfterSeconds": {"type": "integer", "format": "int32"},
        "retryCount": {"type": "integer", "format": "int32"},
        "podSetUpdates": {"type": "array", "items": _ANY},
    },
}
_CHECKS: Final = {
    "type": "array",
    "items": _CHECK_STATE,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
}
_ADMISSION: Final = {
    "type": "object",
    "properties": {"clusterQueue": _TEXT, "podSetAssignments": {"type": "array", "items": _ANY}},
}
_CHECK_SPEC: Final = {
    "type": "object",
    "properties": {"controllerName": _TEXT, "parameters": _ANY},
    "x-kubernetes-validations": [{"rule": "self.controllerName == oldSelf.controllerName", "message": "immutable"}],
}
_STATUS: Final = {"conditions": _CONDITIONS, "admissionChecks": _CHECKS, "admission": _ADMISSION}


def _definition(kind: str, scope: str, spec: Object, status: Object) -> Object:
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object", "properties": status}}}
    served: Object = {"name": VERSION.split("/")[1], "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [served | {"schema": {"openAPIV3Schema": schema}}],
        },
    }


@contextmanager
def kueue_installed(api: Api) -> Iterator[None]:
    """The kinds, and the account of its controllers."""
    kinds = [
        _definition("AdmissionCheck", "Cluster", _CHECK_SPEC, {"conditions": _CONDITIONS}),
        _definition("Workload", "Namespaced", _ANY, _STATUS),
    ]
    maker = bound("cluster-admin", ACCOUNT)
    maker["metadata"]["name"] = "test-kueue"
    for source in (*kinds, maker):
        api.apply(source)
    for each in kinds:
        eventually(functools.partial(is_established, api, each))
    try:
        yield
    finally:
        for source in (maker, *kinds):
            api.delete(source)


@dataclass(slots=True)
class Kueue:
    """One ClusterQueue for one namespace, with the AdmissionChecks that it names."""

    api: Api
    namespace: str
    checks: tuple[str, ...] = ()
    held_back: set[str] = field(default_factory=set)
    """Workloads whose time to be queued again has not come."""
    answers: list[str] = field(default_factory=list)
    """What our check said, answer by answer."""

    def __post_init__(self) -> None:
        self.api = self.api.as_user(ACCOUNT, "system:serviceaccounts")

    def step(self) -> None:
        """What its controllers do next, for every Job; what changed beside them they do when they look again."""
        for job in self.api.all("batch/v1", "Job", self.namespace):
            if job["metadata"].get("labels", {}).keys() & QUEUE.keys():
                try:
                    self._look(job)
                except RefusedError as refused:
                    if refused.status != CONFLICT:  # somebody else was quicker: it looks again
                        raise

    def workload(self, job: Object) -> Object:
        """The Workload of a Job; empty where there is none yet."""
        found = self.api.all(VERSION, "Workload", self.namespace)
        owned = [each for each in found if each["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]]
        return owned[0] if owned else {}

    def preempt(self, job: Object) -> None:
        """Take the quota of what runs."""
        self._evict(self.workload(job), self.api.read(job), "Preempted")

    def requeue(self, job: Object) -> None:
        """The time to be queued again has come."""
        self.held_back.discard(str(self.workload(job)["metadata"]["name"]))

    def _look(self, job: Object) -> None:
        workload = self.workload(job)
        gates = job["metadata"].get("annotations", {}).get(GATED_BY, "")
        if not workload:
            self._make(job, gates)
            return
        states = [each["state"] for each in workload.get("status", {}).get("admissionChecks", [])]
        if not is_true(workload, "QuotaReserved"):
            if gates:
                self._say(workload, {"QuotaReserved": "False"}, reason="AdmissionGated")
            elif workload["metadata"]["name"] not in self.held_back:
                self._reserve(workload)
        elif "Retry" in states:
            self.answers.append("Retry")
            self._evict(workload, job, "AdmissionCheck")
        elif all(state == "Ready" for state in states) and not is_true(workload, "Admitted"):
            self.answers += states
            self._say(workload, {"QuotaReserved": "True", "Admitted": "True"}, reason="Admitted")
            self.api.patch(job, {"spec": {"suspend": False}})

    def _make(self, job: Object, gates: str) -> None:
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
        }
        metadata: Object = {
            "name": f"job-{job['metadata']['name']}",
            "namespace": self.namespace,
            "ownerReferences": [owner | {"controller": True}],
            "annotations": {GATED_BY: gates} if gates else {},
        }
        sets = [{"name": "main", "count": 1, "template": job["spec"]["template"]}]
        self.api.create({"apiVersion": VERSION, "kind": "Workload", "metadata": metadata, "spec": {"podSets": sets}})

    def _reserve(self, workload: Object) -> None:
        pending = [{"name": name, "state": "Pending", "message": "", "lastTransitionTime": AT} for name in self.checks]
        more = {"admissionChecks": pending, "admission": {"clusterQueue": "gpus"}}
        self._say(workload, {"QuotaReserved": "True", "Evicted": "False"}, reason="QuotaReserved", **more)

    def _evict(self, workload: Object, job: Object, reason: str) -> None:
        self.held_back.add(workload["metadata"]["name"])
        again = [
            {"name": each["name"], "state": "Pending", "message": "reset", "lastTransitionTime": AT}
            | {"retryCount": each.get("retryCount", 0) + (each["state"] == "Retry")}
            for each in workload["status"].get("admissionChecks", [])
        ]
        said = {"Evicted": "True", "QuotaReserved": "False", "Admitted": "False"}
        self._say(workload, said, reason=reason, admissionChecks=again, admission=None)
        if not job["spec"].get("suspend"):
            self.api.patch(job, {"spec": {"suspend": True}})

    def _say(self, workload: Object, said: dict[str, str], *, reason: str, **more: Any) -> None:
        told = [
            {"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": AT}
            for kind, status in said.items()
        ]
        now = {each["type"]: each["status"] for each in workload.get("status", {}).get("conditions", [])}
        if now != said or more:
            version = {"resourceVersion": workload["metadata"]["resourceVersion"]}
            self.api.patch(workload, {"metadata": version, "status": {"conditions": told, **more}}, "status")


def is_true(workload: Object, kind: str) -> bool:
    """Whether a condition of a Workload is true."""
    conditions = workload.get("status", {}).get("conditions", [])
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)
