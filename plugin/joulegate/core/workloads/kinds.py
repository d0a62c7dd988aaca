"""Which kinds are read, by whom, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import parse_duration_ns
from joulegate.core.records import Kind
from joulegate.core.workloads import apps, batch, serving, training, workflows
from joulegate.core.workloads.asked import Asked, Reader
from joulegate.core.workloads.demand import Demand, Unresolved
from joulegate.core.workloads.reading import ANNOTATION, LONGEST_NAME, annotation, annotations_of, mapping
from joulegate.core.workloads.surroundings import ALONE, Surroundings

_READERS: Final[Mapping[tuple[str, str], Reader]] = {
    ("v1", "Pod"): batch.pod,
    ("batch/v1", "Job"): batch.job,
    ("batch/v1", "CronJob"): batch.cron_job,
    ("apps/v1", "ReplicaSet"): apps.replicated,
    ("apps/v1", "Deployment"): apps.replicated,
    ("apps/v1", "StatefulSet"): apps.replicated,
    ("apps/v1", "DaemonSet"): apps.daemon_set,
    ("autoscaling/v1", "Scale"): apps.scale,
    ("jobset.x-k8s.io/v1alpha2", "JobSet"): batch.job_set,
    (training.API_VERSION, "TrainJob"): training.train_job,
    ("serving.kserve.io/v1beta1", "InferenceService"): serving.inference_service,
    ("argoproj.io/v1alpha1", "Workflow"): workflows.workflow,
}
_WORKLOAD_GROUPS: Final = frozenset({"apps", "batch"})
_NO_PODS: Final = frozenset({"ControllerRevision"})
_QUEUES: Final = "kueue.x-k8s.io"
"""Its Workload stands for a job that is the root itself; nothing of this group runs pods."""
_SERVING: Final = frozenset({"InferenceService", "LLMInferenceService", "RayService"})
_WORKBENCHES: Final = frozenset({"Notebook", "Workspace"})
_GENERATORS: Final = frozenset({"CronJob", "CronWorkflow", "ScheduledWorkflow", "Experiment"})
_GOVERNED: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"Pod"}),
    "apps": frozenset({"ReplicaSet", "Deployment", "StatefulSet", "DaemonSet"}),
    "batch": frozenset({"Job"}),
    "jobset.x-k8s.io": frozenset({"JobSet"}),
    "trainer.kubeflow.org": frozenset({"TrainJob"}),
    "serving.kserve.io": frozenset({"InferenceService", "LLMInferenceService"}),
    "argoproj.io": frozenset({"Workflow"}),
    "kubeflow.org": frozenset(
        {"PyTorchJob", "TFJob", "XGBoostJob", "PaddleJob", "JAXJob", "MPIJob", "Notebook", "Workspace", "Trial"}
    ),
    "ray.io": frozenset({"RayJob", "RayCluster", "RayService"}),
    "leaderworkerset.x-k8s.io": frozenset({"LeaderWorkerSet"}),
}
_PODS_IN_CORE: Final = frozenset({"Pod", "ReplicationController", "PodTemplate"})


class Stage(StrEnum):
    """What this version can do with a kind of object."""

    RESOLVED = "resolved"
    PODLESS = "podless"
    LATER = "later"


def stage_of(api_version: str, kind: str) -> Stage:
    """Whether a kind is resolved, runs no pods (kinds of Kubernetes itself), or is not read yet."""
    if (api_version, kind) in _READERS:
        return Stage.RESOLVED
    group = api_version.rpartition("/")[0]
    if group == "":
        return Stage.LATER if kind in _PODS_IN_CORE else Stage.PODLESS
    # Groups of Kubernetes itself have no dot or end in .k8s.io; SIG projects such as JobSet end in .x-k8s.io.
    built_in = "." not in group or group.endswith(".k8s.io")
    podless = group == _QUEUES or (built_in and (group not in _WORKLOAD_GROUPS or kind in _NO_PODS))
    return Stage.PODLESS if podless else Stage.LATER


def kind_of_work(kind: str) -> Kind:
    """What an object is for by its own kind, before its author says anything."""
    if kind in _SERVING:
        return Kind.INFERENCE
    return Kind.OTHER if kind in _WORKBENCHES else Kind.TRAINING


def is_generator(kind: str) -> bool:
    """Whether an object holds nothing, and what it creates is the root."""
    return kind in _GENERATORS


def is_governed(api_version: str, kind: str) -> bool:
    """Whether an object of this kind can be the root of others: the kinds of both stages, less the generators."""
    return kind in _GOVERNED.get(api_version.rpartition("/")[0], ())


def demand_of(manifest: object, around: Surroundings = ALONE) -> Demand:
    """Read the demand of a manifest; what it refers to is looked up ``around`` it.

    Raises :class:`Unresolved` with the reason.
    """
    whole = mapping(manifest, "the object")
    version, kind = whole.get("apiVersion"), whole.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        raise Unresolved("the object has no apiVersion and kind")
    stage = stage_of(version, kind)
    if stage is Stage.PODLESS:
        return Demand(Kind.OTHER, ())
    if stage is Stage.LATER:
        raise Unresolved(
            f"{kind[:LONGEST_NAME]} of {version[:LONGEST_NAME]} is a kind that this version cannot size; "
            "run it as a kind that it can, or let it pass by whenUndecidable: Allow in its budget"
        )
    asked = _READERS[version, kind](whole, mapping(whole.get("spec"), "spec"), around)
    own = {} if is_generator(kind) else annotations_of(whole)  # a generator hands on its template's and no other
    return _demand(kind_of_work(kind), asked, {**asked.annotations, **own})


def _demand(kind: Kind, asked: Asked, said: Mapping[str, str]) -> Demand:
    added = annotation(said, "kind")
    if added is not None and added not in set(Kind):
        raise Unresolved(f"{ANNOTATION}kind: {added!r} is not one of {', '.join(Kind)}")
    return Demand(
        kind=kind,
        groups=asked.groups,
        added_kind=None if added is None else Kind(added),
        model=annotation(said, "model"),
        budget=annotation(said, "budget"),
        declared_ns=_declared_ns(said),
        deadline_ns=asked.deadline_ns,
        suspended=asked.suspended,
        open_ended=asked.open_ended,
    )


def _declared_ns(said: Mapping[str, str]) -> int | None:
    text = annotation(said, "expected-duration")
    if text is None:
        return None
    try:
        duration_ns = parse_duration_ns(text, ANNOTATION + "expected-duration")
    except InvalidInputError as error:
        raise Unresolved(str(error)) from error
    if duration_ns == 0:
        raise Unresolved(f"{ANNOTATION}expected-duration is nothing")
    return duration_ns
