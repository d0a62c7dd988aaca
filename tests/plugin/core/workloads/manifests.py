"""Manifests written by hand after the published fields of each kind, and what may stand around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from joulegate.core.workloads import Node, Reference

A100 = "NVIDIA-A100-SXM4-80GB"
GPUS = "nvidia.com/gpu"
HOUR = 3_600 * 10**9
Object = dict[str, Any]


@dataclass
class World:
    """A cluster of dicts: objects by (kind, namespace, name), and nodes."""

    objects: dict[tuple[str, str | None, str], Object] = field(default_factory=dict)
    known_nodes: Sequence[Node] | None = None
    asked: list[Reference] = field(default_factory=list)

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        self.asked.append(reference)
        return self.objects.get((reference.kind, reference.namespace, reference.name))

    def nodes(self) -> Sequence[Node] | None:
        return self.known_nodes


def container(gpus: object = None, name: str = "main", resource: str = GPUS, **more: object) -> Object:
    return {"name": name, "resources": {"limits": {resource: gpus}} if gpus is not None else {}, **more}


def pods(gpus: object = 1, **more: object) -> Object:
    """The spec of a pod with one container."""
    return {"containers": [container(gpus)], **more}


def manifest(api_version: str, kind: str, spec: object, annotations: dict[str, str] | None = None) -> Object:
    metadata = {"name": "work", "namespace": "vision", "annotations": annotations or {}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def job(gpus: object = 1, **spec: object) -> Object:
    return manifest("batch/v1", "Job", {"template": {"spec": pods(gpus)}, **spec})


def cron_job(gpus: object = 1, **spec: object) -> Object:
    inner = {"schedule": "0 3 * * *", "jobTemplate": {"spec": job(gpus, **spec)["spec"]}}
    return manifest("batch/v1", "CronJob", inner)


def replicated(kind: str = "Deployment", replicas: object = 1, gpus: object = 1, **pod: object) -> Object:
    return manifest("apps/v1", kind, {"replicas": replicas, "template": {"spec": pods(gpus, **pod)}})


def daemon_set(gpus: object = 1, **pod: object) -> Object:
    return manifest("apps/v1", "DaemonSet", {"template": {"spec": pods(gpus, **pod)}})


def job_set(*jobs: tuple[int, Object], **spec: object) -> Object:
    replicated_jobs = [
        {"name": f"part-{number}", "replicas": replicas, "template": {"spec": each["spec"]}}
        for number, (replicas, each) in enumerate(jobs)
    ]
    return manifest("jobset.x-k8s.io/v1alpha2", "JobSet", {"replicatedJobs": replicated_jobs, **spec})


def train_job(runtime: str = "torch", kind: str | None = None, **spec: object) -> Object:
    reference = {"name": runtime, **({"kind": kind} if kind else {})}
    return manifest("trainer.kubeflow.org/v1alpha1", "TrainJob", {"runtimeRef": reference, **spec})


def training_runtime(gpus: object = 1, nodes: object = None, initializer_gpus: object = None) -> Object:
    """A runtime with an initializer and a trainer."""
    step = {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}}
    jobs = [
        {"name": "dataset-initializer", "template": {"spec": {"template": {"spec": pods(initializer_gpus)}}}},
        {
            "name": "node",
            "template": {
                "metadata": step,
                "spec": {"template": {"spec": {"containers": [container(gpus, "node"), container(None, "side")]}}},
            },
        },
    ]
    policy = {} if nodes is None else {"numNodes": nodes}
    return manifest(
        "trainer.kubeflow.org/v1alpha1",
        "ClusterTrainingRuntime",
        {"mlPolicy": policy, "template": {"spec": {"replicatedJobs": jobs}}},
    )


def inference_service(annotations: dict[str, str] | None = None, **components: object) -> Object:
    return manifest("serving.kserve.io/v1beta1", "InferenceService", components, annotations)


def served(gpus: object = None, runtime: str | None = None) -> Object:
    """A model of a predictor."""
    model: Object = {"modelFormat": {"name": "huggingface"}, "resources": {}}
    if gpus is not None:
        model["resources"] = {"limits": {GPUS: gpus}, "requests": {GPUS: gpus}}
    return model | ({"runtime": runtime} if runtime else {})


def serving_runtime(gpus: object = 1) -> Object:
    spec = {"containers": [container(gpus, "kserve-container"), container(None, "proxy")]}
    return manifest("serving.kserve.io/v1alpha1", "ServingRuntime", spec)


def workflow(*templates: Object, entrypoint: str = "main", **spec: object) -> Object:
    return manifest("argoproj.io/v1alpha1", "Workflow", {"entrypoint": entrypoint, "templates": [*templates], **spec})


def step(name: str, gpus: object = 1, **more: object) -> Object:
    """A template that runs a container."""
    return {"name": name, "container": container(gpus), **more}


def dag(name: str, *called: str, **more: object) -> Object:
    return {
        "name": name,
        "dag": {"tasks": [{"name": f"t{n}", "template": each} for n, each in enumerate(called)]},
        **more,
    }


def claim_template(device_class: str = "gpu.nvidia.com", **request: object) -> Object:
    exactly = {"deviceClassName": device_class, **request}
    requests = [{"name": "gpu", "exactly": exactly}]
    return manifest("resource.k8s.io/v1", "ResourceClaimTemplate", {"spec": {"devices": {"requests": requests}}})


def claim(**request: Any) -> Object:
    inner = claim_template(**request)["spec"]["spec"]
    return manifest("resource.k8s.io/v1", "ResourceClaim", inner)
