"""Kinds whose controllers cannot be had here: minimal definitions with their published fields, and what those do.

JobSet, the Kubeflow trainer and Argo are imitated by these documented rules: each object is made by its controller's
account, is owned by what it was made for (`controller: true`), and says at its end what the published status says.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.api import Api, Object, eventually
from tests.cluster.conftest import is_established
from tests.cluster.test_chart import RBAC, bound

JOBSET: Final = "jobset.x-k8s.io/v1alpha2"
TRAINER: Final = "trainer.kubeflow.org/v1alpha1"
ARGO: Final = "argoproj.io/v1alpha1"
ACCOUNTS: Final = {
    JOBSET: "system:serviceaccount:jobset-system:jobset-controller-manager",
    TRAINER: "system:serviceaccount:kubeflow-system:kubeflow-trainer-controller-manager",
    ARGO: "system:serviceaccount:argo:argo",
}
_KINDS: Final = (
    (JOBSET, "JobSet", True),
    (TRAINER, "TrainJob", True),
    (TRAINER, "TrainingRuntime", False),
    (ARGO, "Workflow", False),  # its status is written with the object
)


def definition(api_version: str, kind: str, *, status: bool) -> Object:
    """A definition that keeps every field."""
    group, version = api_version.split("/")
    plural = f"{kind.lower()}s"
    any_object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": any_object, "status": any_object}}
    served: Object = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [served | ({"subresources": {"status": {}}} if status else {})],
        },
    }


@contextmanager
def foreign_kinds(api: Api) -> Iterator[None]:
    """The kinds, editors who may write them, and the accounts of their controllers."""
    definitions = [definition(version, kind, status=status) for version, kind, status in _KINDS]
    editing: Object = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": "test-foreign-kinds",
            "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"},
        },
        "rules": [
            {"apiGroups": [version.split("/")[0] for version in ACCOUNTS], "resources": ["*"], "verbs": ["*"]},
        ],
    }
    makers = [bound("cluster-admin", account) for account in ACCOUNTS.values()]
    for number, maker in enumerate(makers):
        maker["metadata"]["name"] = f"test-foreign-{number}"
    for source in (*definitions, editing, *makers):
        api.apply(source)
    for each in definitions:
        eventually(functools.partial(is_established, api, each))
    try:
        yield
    finally:
        for source in (*makers, editing, *definitions):
            api.delete(source)


@dataclass(frozen=True, slots=True)
class Controllers:
    """What the controllers of these kinds do with one object, when the test says so."""

    api: Api

    def made_for(self, owner: Object, source: Object, by: str) -> Object:
        """Let the controller of `by` make an object for its owner."""
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {**source["metadata"], "namespace": owner["metadata"]["namespace"], "ownerReferences": [reference]}
        account = self.api.as_user(ACCOUNTS[by], "system:serviceaccounts")
        made = account.create({**source, "metadata": metadata})
        return {"apiVersion": source["apiVersion"], "kind": source["kind"], **made}

    def jobs_of(self, job_set: Object) -> list[Object]:
        """JobSet: a Job for each replica of each of its replicated jobs, `<set>-<job>-<index>`."""
        return [
            self.made_for(
                job_set,
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "metadata": {"name": f"{job_set['metadata']['name']}-{each['name']}-{index}"},
                    "spec": each["template"]["spec"],
                },
                JOBSET,
            )
            for each in job_set["spec"]["replicatedJobs"]
            for index in range(each.get("replicas", 1))
        ]

    def job_set_of(self, train_job: Object, runtime: Object) -> Object:
        """The trainer: one JobSet of the job's name after the runtime's template, its trainer with the job's nodes."""
        jobs = []
        for each in runtime["spec"]["template"]["spec"]["replicatedJobs"]:
            nodes = train_job["spec"].get("trainer", {}).get("numNodes", 1)
            spec = {**each["template"]["spec"], "parallelism": nodes, "completions": nodes}
            jobs.append({"name": each["name"], "replicas": 1, "template": {"spec": spec}})
        source = {
            "apiVersion": JOBSET,
            "kind": "JobSet",
            "metadata": {"name": train_job["metadata"]["name"]},
            "spec": {"replicatedJobs": jobs},
        }
        return self.made_for(train_job, source, TRAINER)

    def pods_of(self, workflow: Object, annotations: dict[str, str]) -> list[Object]:
        """Argo: a pod for each step that runs a container, with its step's container as `main`."""
        name = workflow["metadata"]["name"]
        steps = [each for each in workflow["spec"]["templates"] if "container" in each]
        return [
            self.made_for(
                workflow,
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": f"{name}-{each['name']}", "annotations": annotations},
                    "spec": {"restartPolicy": "Never", "containers": [{**each["container"], "name": "main"}]},
                },
                ARGO,
            )
            for each in steps
        ]

    def done(self, *objects: Object) -> None:
        """Say of each that it is over, as its controller does."""
        for each in objects:
            kind = each["kind"]
            if kind == "Workflow":
                self.api.patch(each, {"status": {"phase": "Succeeded"}})
            else:
                over = {"JobSet": "Completed", "TrainJob": "Complete"}[kind]
                self.api.patch(each, {"status": {"conditions": [_condition(over)]}}, "status")


def _condition(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True",
        "reason": "JobsCompleted",
        "message": "all jobs are done",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def replicated_job(name: str, pod: Object, annotations: dict[str, str], replicas: int = 1) -> Object:
    """One of the jobs that JobSet and the trainer's runtimes list."""
    template = {"metadata": {"annotations": annotations}, "spec": pod}
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    return {
        "name": name,
        "replicas": replicas,
        "template": {"metadata": {"labels": labels}, "spec": {"template": template}},
    }


def foreign(api_version: str, kind: str, namespace: str, spec: Object, name: str = "work") -> Object:
    """An object of one of these kinds that says how long it takes."""
    metadata = {"name": name, "namespace": namespace, "annotations": {"joulegate.io/expected-duration": "1h"}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
