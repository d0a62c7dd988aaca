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

KUEUE_GATED_BY: Final = "kueue.x-k8s.io/admission-gated-by"
"""Annotation that keeps Kueue (KEP-6915) from looking at work: given at creation only, taken away at any time."""

_KUEUE: Final = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/managed")
_KUEUE_POD_GATES: Final = frozenset({"kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology"})


def is_queued(manifest: Manifest) -> bool:
    """Whether Kueue manages the object: it says when it starts, and nobody else suspends or resumes it."""
    return any(label in labels_of(manifest) for label in _KUEUE)


def is_kept_from_kueue(manifest: Manifest) -> bool:
    """Whether the object carries Joulegate's gate among those that Kueue waits for."""
    return POD_GATE in annotations_of(manifest).get(KUEUE_GATED_BY, "").split(",")


def kept_from_kueue(manifest: Manifest) -> list[dict[str, Any]]:
    """The JSON patch that keeps Kueue from looking at work that is being created; empty where it does not manage it."""
    if not is_queued(manifest) or is_kept_from_kueue(manifest):
        return []
    others = annotations_of(manifest).get(KUEUE_GATED_BY)
    value = f"{others},{POD_GATE}" if others else POD_GATE
    return _added(manifest, ("metadata", "annotations"), {KUEUE_GATED_BY: value})


def given_to_kueue(manifest: Manifest) -> dict[str, Any]:
    """The merge patch that takes Joulegate's gate away from those that Kueue waits for."""
    gates = annotations_of(manifest).get(KUEUE_GATED_BY, "").split(",")
    left = ",".join(each for each in gates if each and each != POD_GATE)
    return {"metadata": {"annotations": {KUEUE_GATED_BY: left or None}}}


def can_be_gated(manifest: Manifest) -> bool:
    """Whether the object has a gate. What Kueue manages has its own, which nobody else may touch."""
    kind = (manifest.get("apiVersion"), manifest.get("kind"))
    return (kind == _POD or kind in _SUSPENDED) and not is_queued(manifest)


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
    return POD_GATE in _pod_gates(spec)


def waits_as_pod(pod: Manifest, spec: Manifest) -> bool:
    """Whether a pod is held back by Joulegate, or by Kueue that manages it: it is decided when it is let go."""
    return has_pod_gate(spec) or (is_queued(pod) and bool(_KUEUE_POD_GATES & set(_pod_gates(spec))))


def _pod_gates(spec: Manifest) -> list[Any]:
    return [each.get("name") for each in items(spec.get("schedulingGates"), "spec.schedulingGates")]


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
