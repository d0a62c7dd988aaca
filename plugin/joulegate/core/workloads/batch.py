"""Pod, Job, CronJob and JobSet.

Fields: batch/v1; jobset.x-k8s.io/v1alpha2 (``replicatedJobs[].{replicas, template.spec}``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from joulegate.core.workloads.asked import Asked, longest, shortest
from joulegate.core.workloads.demand import Group, Unresolved
from joulegate.core.workloads.gates import waits_as_pod
from joulegate.core.workloads.pods import Template, groups_of
from joulegate.core.workloads.reading import (
    MOST,
    Manifest,
    annotations_of,
    flag,
    items,
    mapping,
    namespace,
    optional,
    seconds_ns,
    whole,
)
from joulegate.core.workloads.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class JobSpec:
    """The spec of a Job wherever it stands, and the namespace that its pods are in."""

    spec: Manifest
    where: str
    namespace: str

    @property
    def template(self) -> Manifest:
        """The template of its pods."""
        return mapping(self.spec.get("template"), f"{self.where}.template")

    @property
    def pod(self) -> Manifest:
        """The spec of its pods."""
        return mapping(self.template.get("spec"), f"{self.where}.template.spec")


def pod(whole_pod: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """A Pod by itself."""
    groups = groups_of(Template(spec, "spec", namespace(whole_pod)), 1, around)
    return Asked(groups, seconds_ns(spec, "spec"), suspended=waits_as_pod(whole_pod, spec))


def job(whole_job: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """A Job: as many pods at once as parallelism and completions let run."""
    return of_job(JobSpec(spec, "spec", namespace(whole_job)), around)


def cron_job(whole_job: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """A CronJob runs nothing itself: each of its Jobs is decided when it is made."""
    template = mapping(spec.get("jobTemplate"), "spec.jobTemplate")
    inner = mapping(template.get("spec"), "spec.jobTemplate.spec")
    asked = of_job(JobSpec(inner, "spec.jobTemplate.spec", namespace(whole_job)), around)
    return replace(asked, suspended=True, annotations={**asked.annotations, **annotations_of(template)})


def job_set(whole_set: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """A JobSet: all of its replicated Jobs, as if none waited for another."""
    parts = list(_replicated(whole_set, spec, around))
    return Asked(
        groups=tuple(group for part in parts if not part.suspended for group in part.groups),
        deadline_ns=longest([part.deadline_ns for part in parts if part.groups]),
        suspended=flag(spec, "suspend", "spec"),
        annotations={key: value for part in parts for key, value in part.annotations.items()},
    )


def _replicated(whole_set: Manifest, spec: Manifest, around: Surroundings) -> Iterator[Asked]:
    for number, replicated in enumerate(items(spec.get("replicatedJobs"), "spec.replicatedJobs")):
        where = f"spec.replicatedJobs[{number}]"
        template = mapping(replicated.get("template"), f"{where}.template")
        inner = mapping(template.get("spec"), f"{where}.template.spec")
        # Whether its Jobs wait says the set, whatever they say.
        one = of_job(JobSpec({**inner, "suspend": None}, f"{where}.template.spec", namespace(whole_set)), around)
        yield times(one, whole(replicated, "replicas", where, 1))


def times(one: Asked, replicas: int) -> Asked:
    """The same, ``replicas`` times side by side."""
    groups = tuple(replace(group, replicas=group.replicas * replicas) for group in one.groups) if replicas else ()
    if sum(group.accelerators * group.replicas for group in groups) > MOST:
        raise Unresolved(f"the object asks for more than {MOST} accelerators")
    return replace(one, groups=groups)


def of_job(job_spec: JobSpec, around: Surroundings) -> Asked:
    """What the spec of a Job asks for."""
    spec, where = job_spec.spec, job_spec.where
    inside = f"{where}.template.spec"
    parallelism = whole(spec, "parallelism", where, 1)
    completions = whole(spec, "completions", where, parallelism)
    at_once = min(parallelism, completions)
    deadline = seconds_ns(spec, where)
    of_pod = seconds_ns(job_spec.pod, inside)
    if of_pod is not None and at_once:  # pods come one wave after the other
        deadline = shortest(deadline, of_pod * -(-completions // at_once))
    groups: tuple[Group, ...] = groups_of(
        Template(job_spec.pod, inside, job_spec.namespace), at_once or parallelism or 1, around
    )
    return Asked(
        groups=groups,
        deadline_ns=deadline,
        suspended=flag(spec, "suspend", where) or at_once == 0,
        annotations=annotations_of(job_spec.template),
    )


def with_pod(job_spec: JobSpec, spec: Manifest, parallelism: int) -> JobSpec:
    """The same Job with another pod spec, that many at once."""
    template = {**optional(job_spec.template, job_spec.where), "spec": spec}
    changed = {**job_spec.spec, "template": template, "parallelism": parallelism, "completions": parallelism}
    return replace(job_spec, spec=changed)
