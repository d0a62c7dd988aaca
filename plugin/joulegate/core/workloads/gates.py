"""Where work is held back until its budget has room: a gate that the operator lifts and nobody else needs to.

A pod has a scheduling gate (``spec.schedulingGates``, given at creation only); a Job, a JobSet,
a TrainJob and a Workflow are suspended and say by an annotation that Joulegate suspended them.
An InferenceService can be stopped while it runs, and not gated. Other kinds have nothing that would hold them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from joulegate.core.workloads.demand import Unresolved
from joulegate.core.workloads.reading import ANNOTATION, Manifest, annotations_of, flag, items, labels_of, optional

POD_GATE: Final = ANNOTATION + "budget"
"""Name of the scheduling gate of a pod."""

GATE: Final = ANNOTATION + "gate"
"""Annotation of what was suspended; its value says why."""

QUEUED: Final = "queued"
"""Value of the annotation: nothing is held for it, and it has not begun."""

EXHAUSTED: Final = "exhausted"
"""Value of the annotation: it ran, and was suspended because its budget is exhausted."""

_POD: Final = ("v1", "Pod")
_SUSPENDED: Final = frozenset(
    {
        ("batch/v1", "Job"),
        ("jobset.x-k8s.io/v1alpha2", "JobSet"),
        ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
        ("argoproj.io/v1alpha1", "Workflow"),
    }
)
_SERVING: Final = ("serving.kserve.io/v1beta1", "InferenceService")
_STOP: Final = "serving.kserve.io/stop"
"""The switch of an InferenceService; it is never gated when it is created."""

_KUEUE: Final = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/managed")


def can_be_gated(manifest: Manifest) -> bool:
    """Whether the object has a gate. What Kueue manages has its own, which nobody else may touch."""
    kind = (manifest.get("apiVersion"), manifest.get("kind"))
    managed = any(label in labels_of(manifest) for label in _KUEUE)
    return (kind == _POD or kind in _SUSPENDED) and not managed


def gate(manifest: Manifest) -> list[dict[str, Any]]:
    """The JSON patch (RFC 6902) that gates an object which is being created.

    Empty where there is no gate for it, where it is gated, or where its author suspended it: then it
    is decided when the author lets it go. Raises :class:`Unresolved` for what cannot be read.
    """
    if not can_be_gated(manifest) or is_gated(manifest):
        return []
    if manifest["kind"] == "Pod":
        return _added(manifest, ("spec", "schedulingGates"), [{"name": POD_GATE}])
    if flag(optional(manifest.get("spec"), "spec"), "suspend", "spec"):
        return []
    suspended: dict[str, Any] = {"op": "add", "path": "/spec/suspend", "value": True}
    return [suspended, *_added(manifest, ("metadata", "annotations"), {GATE: QUEUED})]


def is_gated(manifest: Manifest) -> bool:
    """Whether an object waits at its gate. A pod that others gate is not ours to let go."""
    spec = optional(manifest.get("spec"), "spec")
    if manifest.get("kind") == "Pod":
        return has_pod_gate(spec)
    said = annotations_of(manifest)
    if (manifest.get("apiVersion"), manifest.get("kind")) == _SERVING:
        return said.get(GATE) == EXHAUSTED and said.get(_STOP, "").lower() == "true"
    return can_be_gated(manifest) and flag(spec, "suspend", "spec") and said.get(GATE) in (QUEUED, EXHAUSTED)


def has_pod_gate(spec: Manifest) -> bool:
    """Whether the spec of a pod holds the gate: its pod is not scheduled before the gate is lifted."""
    return any(each.get("name") == POD_GATE for each in items(spec.get("schedulingGates"), "spec.schedulingGates"))


def suspended(api_version: str, kind: str) -> dict[str, Any]:
    """The merge patch that suspends running work of a kind; nothing where its switch does not end pods."""
    if (api_version, kind) == _SERVING:
        return {"metadata": {"annotations": {GATE: EXHAUSTED, _STOP: "true"}}}
    if (api_version, kind) in _SUSPENDED:
        return {"spec": {"suspend": True}, "metadata": {"annotations": {GATE: EXHAUSTED}}}
    return {}


def lifted(manifest: Manifest) -> dict[str, Any]:
    """The merge patch (RFC 7386) that lets an object go."""
    if (manifest.get("apiVersion"), manifest.get("kind")) == _SERVING:
        return {"metadata": {"annotations": {GATE: None, _STOP: None}}}
    if manifest.get("kind") != "Pod":
        return {"spec": {"suspend": False}, "metadata": {"annotations": {GATE: None}}}
    spec = optional(manifest.get("spec"), "spec")
    left = [each for each in items(spec.get("schedulingGates"), "spec.schedulingGates") if each.get("name") != POD_GATE]
    return {"spec": {"schedulingGates": left}}


def _added(manifest: Manifest, path: Sequence[str], value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 -- JSON
    """Operations that add members to a list or a map which may not be there."""
    below = optional(manifest.get(path[0]), path[0])
    there, where = below.get(path[1]), "/" + "/".join(path)
    if not there:
        return [{"op": "add", "path": where, "value": value}]
    if isinstance(value, list):
        return [{"op": "add", "path": f"{where}/-", "value": each} for each in value]
    if not isinstance(there, Mapping):
        raise Unresolved(f"{'.'.join(path)} is not an object")
    return [{"op": "add", "path": f"{where}/{key.replace('/', '~1')}", "value": each} for key, each in value.items()]
