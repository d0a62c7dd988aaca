"""TrainJob (trainer.kubeflow.org/v1alpha1): most of it stands in the runtime that it refers to.

The runtime's ``template.spec.replicatedJobs[]`` is a JobSet; the Jobs labelled
``trainer.kubeflow.org/trainjob-ancestor-step: trainer`` run ``numNodes`` pods, whose
container ``node`` gets ``spec.trainer.resourcesPerNode``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from joulegate.core.workloads.asked import Asked, longest, shortest
from joulegate.core.workloads.batch import JobSpec, of_job, times, with_pod
from joulegate.core.workloads.demand import Unresolved
from joulegate.core.workloads.reading import (
    Manifest,
    flag,
    items,
    labels_of,
    mapping,
    name,
    namespace,
    optional,
    seconds_ns,
    whole,
)
from joulegate.core.workloads.surroundings import Reference, Surroundings, look_up

API_VERSION: Final = "trainer.kubeflow.org/v1alpha1"
_STEP: Final = "trainer.kubeflow.org/trainjob-ancestor-step"
_NODE: Final = "node"


def train_job(whole_job: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """What the runtime runs, with the nodes and the resources that the TrainJob sets in it."""
    runtime = look_up(around, _reference(whole_job, spec))
    inner = mapping(runtime.get("spec"), "the runtime's spec")
    template = mapping(inner.get("template"), "the runtime's spec.template")
    jobs = mapping(template.get("spec"), "the runtime's spec.template.spec")
    trainer = optional(spec.get("trainer"), "spec.trainer")
    nodes = _nodes(trainer, optional(inner.get("mlPolicy"), "the runtime's spec.mlPolicy"))
    parts = list(_parts(jobs, trainer, nodes, namespace(whole_job), around))
    return Asked(
        groups=tuple(group for part in parts if not part.suspended for group in part.groups),
        deadline_ns=shortest(seconds_ns(spec, "spec"), longest([part.deadline_ns for part in parts if part.groups])),
        suspended=flag(spec, "suspend", "spec"),
        annotations={key: value for part in parts for key, value in part.annotations.items()},
    )


def _reference(whole_job: Manifest, spec: Manifest) -> Reference:
    found = mapping(spec.get("runtimeRef"), "spec.runtimeRef")
    kind = found.get("kind") or "ClusterTrainingRuntime"  # the default of the API
    if kind not in ("ClusterTrainingRuntime", "TrainingRuntime"):
        raise Unresolved("spec.runtimeRef.kind is neither TrainingRuntime nor ClusterTrainingRuntime")
    inside = namespace(whole_job) if kind == "TrainingRuntime" else None
    return Reference(API_VERSION, str(kind), name(found.get("name"), "spec.runtimeRef.name"), inside)


def _nodes(trainer: Manifest, policy: Manifest) -> int | None:
    """Pods of the trainer; None leaves what the runtime's own Jobs say."""
    if trainer.get("numNodes") is None and policy.get("numNodes") is None:
        return None
    nodes = whole(trainer, "numNodes", "spec.trainer", whole(policy, "numNodes", "the runtime's spec.mlPolicy", 1))
    torch = optional(policy.get("torch"), "the runtime's spec.mlPolicy.torch")
    elastic = optional(torch.get("elasticPolicy"), "the runtime's spec.mlPolicy.torch.elasticPolicy")
    return max(nodes, whole(elastic, "maxNodes", "the runtime's elasticPolicy", 0))


def _parts(jobs: Manifest, trainer: Manifest, nodes: int | None, inside: str, around: Surroundings) -> Iterator[Asked]:
    for number, replicated in enumerate(items(jobs.get("replicatedJobs"), "the runtime's replicatedJobs")):
        where = f"the runtime's replicatedJobs[{number}]"
        template = mapping(replicated.get("template"), f"{where}.template")
        spec = mapping(template.get("spec"), f"{where}.template.spec")
        job = JobSpec({**spec, "suspend": None}, f"{where}.template.spec", inside)  # the TrainJob says it
        if labels_of(template).get(_STEP) == "trainer":
            at_once = whole(job.spec, "parallelism", job.where, 1) if nodes is None else nodes
            job = with_pod(job, _pod(job, trainer), at_once)
        yield times(of_job(job, around), whole(replicated, "replicas", where, 1))


def _pod(job: JobSpec, trainer: Manifest) -> Manifest:
    """The runtime's pod, its container ``node`` with the resources of the TrainJob."""
    resources = trainer.get("resourcesPerNode")
    if resources is None:
        return job.pod
    containers = list(items(job.pod.get("containers"), f"{job.where}.template.spec.containers"))
    if not any(container.get("name") == _NODE for container in containers):
        raise Unresolved("the runtime has no container called node that spec.trainer.resourcesPerNode could be of")
    changed = [
        {**container, "resources": resources} if container.get("name") == _NODE else container
        for container in containers
    ]
    return {**job.pod, "containers": changed}
