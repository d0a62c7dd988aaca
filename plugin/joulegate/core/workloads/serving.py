"""InferenceService (serving.kserve.io/v1beta1).

A component (predictor, transformer, explainer) is a pod spec with ``minReplicas``. The
predictor's ``model`` (or one of the older fields named after a framework) is merged over
the containers of a ServingRuntime. Replicas beyond the least are growth, which is decided
when it comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from joulegate.core.workloads.asked import Asked
from joulegate.core.workloads.demand import Group, Unresolved
from joulegate.core.workloads.pods import Template, groups_of, of_resources
from joulegate.core.workloads.reading import (
    Manifest,
    annotations_of,
    items,
    mapping,
    name,
    namespace,
    optional,
    whole,
)
from joulegate.core.workloads.surroundings import Reference, Surroundings

_API_VERSION: Final = "serving.kserve.io/v1alpha1"
_STOP: Final = "serving.kserve.io/stop"
_CONTAINER: Final = "kserve-container"
_COMPONENTS: Final = ("predictor", "transformer", "explainer")
_FRAMEWORKS: Final = (
    "model", "huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton",
    "xgboost",
)  # fmt: skip
_GPUS: Final = "nvidia.com/gpu"


def inference_service(whole_service: Manifest, spec: Manifest, around: Surroundings) -> Asked:
    """Its components side by side, until somebody ends them."""
    inside = namespace(whole_service)
    mapping(spec.get("predictor"), "spec.predictor")
    groups = [
        group
        for component in _COMPONENTS
        if spec.get(component) is not None
        for group in _component(mapping(spec[component], f"spec.{component}"), f"spec.{component}", inside, around)
    ]
    stopped = annotations_of(whole_service).get(_STOP, "").lower() == "true"
    return Asked(tuple(groups), suspended=stopped, open_ended=True)


def _component(component: Manifest, where: str, inside: str, around: Surroundings) -> Iterator[Group]:
    replicas = max(1, whole(component, "minReplicas", where, 1))  # none is where it starts and what it comes back to
    worker = component.get("workerSpec")
    pod, worker_pod = _pods(component, where, inside, around)
    if worker is None:
        yield from groups_of(Template(pod, where, inside), replicas, around)
        return
    spread = mapping(worker, f"{where}.workerSpec")
    boards = whole(spread, "tensorParallelSize", f"{where}.workerSpec", 0)
    others = max(whole(spread, "pipelineParallelSize", f"{where}.workerSpec", 2) - 1, 1)
    own = {**worker_pod, **{key: value for key, value in spread.items() if key in ("containers", "nodeSelector")}}
    for part, count in ((pod, 1), (own, others)):
        sized = _with_boards(part, boards, where) if boards else part
        yield from groups_of(Template(sized, where, inside), replicas * count, around)


def _pods(component: Manifest, where: str, inside: str, around: Surroundings) -> tuple[Manifest, Manifest]:
    """The pod of a component as KServe puts it together, and the one of its runtime's workers."""
    given = [key for key in _FRAMEWORKS if component.get(key) is not None]
    if not given:
        return component, {}
    if len(given) > 1:
        raise Unresolved(f"{where} has {' and '.join(given)}; one is served")
    model = mapping(component[given[0]], f"{where}.{given[0]}")
    where = f"{where}.{given[0]}"
    runtime = _runtime(model, where, inside, around)
    containers: list[Manifest] = list(items(runtime.get("containers"), "the runtime's spec.containers"))
    if not any(container.get("name") == _CONTAINER for container in containers):
        containers.append({"name": _CONTAINER})
    merged = [
        {**container, "resources": _merged(container, model, where)}
        if container.get("name") == _CONTAINER
        else container
        for container in containers
    ]
    pod = {**runtime, **component, "containers": [*merged, *items(component.get("containers"), where)]}
    return pod, optional(runtime.get("workerSpec"), "the runtime's spec.workerSpec")


def _runtime(model: Manifest, where: str, inside: str, around: Surroundings) -> Manifest:
    """The spec of the runtime that the model names; without a name KServe chooses by the format."""
    named = model.get("runtime")
    if named is None:
        if any(of_resources(optional(model.get("resources"), where), where)):
            return {}  # what the model itself says goes before the runtime's
        raise Unresolved(
            f"{where} says neither its runtime nor its GPUs; name one in {where}.runtime or {where}.resources"
        )
    wanted = name(named, f"{where}.runtime")
    for kind, place in (("ServingRuntime", inside), ("ClusterServingRuntime", None)):
        found = around.get(Reference(_API_VERSION, kind, wanted, place))
        if found is not None:
            return mapping(found.get("spec"), f"the spec of {kind} {wanted}")
    raise Unresolved(f"neither ServingRuntime {wanted} in {inside} nor ClusterServingRuntime {wanted} exists")


def _merged(container: Manifest, model: Manifest, where: str) -> dict[str, Any]:
    """Resources of the model over those of the runtime's container, name by name."""
    below = optional(container.get("resources"), f"{where}: the runtime's resources")
    above = optional(model.get("resources"), f"{where}.resources")
    return {
        part: {**optional(below.get(part), f"{where}: {part}"), **optional(above.get(part), f"{where}: {part}")}
        for part in ("limits", "requests")
    }


def _with_boards(pod: Manifest, boards: int, where: str) -> Manifest:
    """A pod of several nodes: KServe gives each first container as many GPUs as it is split over."""
    containers = list(items(pod.get("containers"), f"{where}.containers")) or [{"name": _CONTAINER}]
    return {**pod, "containers": [{**containers[0], "resources": {"limits": {_GPUS: boards}}}, *containers[1:]]}
