"""ReplicaSet, Deployment, StatefulSet, DaemonSet (apps/v1), and Scale (autoscaling/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulegate.core.workloads.asked import Asked
from joulegate.core.workloads.demand import Unresolved
from joulegate.core.workloads.pods import Template, fitting, groups_of, resources_of
from joulegate.core.workloads.reading import Manifest, annotations_of, mapping, namespace, optional, whole
from joulegate.core.workloads.surroundings import Surroundings


def replicated(whole_object: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """What keeps a number of pods running."""
    replicas = whole(spec, "replicas", "spec", 1)
    template, pod = _template(spec)
    groups = groups_of(Template(pod, "spec.template.spec", namespace(whole_object)), replicas or 1, around)
    return Asked(groups, suspended=replicas == 0, open_ended=True, annotations=annotations_of(template))


def daemon_set(whole_object: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """One pod on each node that fits."""
    template, pod = _template(spec)
    where = "spec.template.spec"
    inside = Template(pod, where, namespace(whole_object))
    if not groups_of(inside, 1, around):
        return Asked((), open_ended=True, annotations=annotations_of(template))
    nodes = fitting(pod, resources_of(pod, where), around)
    if nodes is None:
        raise Unresolved("on how many nodes a DaemonSet runs is known only inside its cluster")
    groups = groups_of(inside, len(nodes) or 1, around)
    return Asked(groups, suspended=not nodes, open_ended=True, annotations=annotations_of(template))


def scaled(owner: Manifest, scale: Manifest) -> Mapping[str, Any]:
    """The object of a Scale as it will be: the same with the replicas that the Scale asks for."""
    replicas = whole(mapping(scale.get("spec"), "spec"), "replicas", "spec", 0)  # protobuf leaves out a zero
    return {**owner, "spec": {**optional(owner.get("spec"), "spec"), "replicas": replicas}}


def scale(_whole: Manifest, _spec: Manifest, _around: Surroundings) -> Asked:
    """A Scale says how many, and not of what."""
    raise Unresolved("a Scale does not say what it scales; ask for the scaled object with its new spec.replicas")


def _template(spec: Manifest) -> tuple[Manifest, Manifest]:
    template = mapping(spec.get("template"), "spec.template")
    return template, mapping(template.get("spec"), "spec.template.spec")
