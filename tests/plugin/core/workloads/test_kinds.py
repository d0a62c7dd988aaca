"""Any object of any kind is a demand or unresolved, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.core.encoding import decode, encode
from joulegate.core.workloads import Demand, Node, Stage, Unresolved, demand_of, stage_of
from tests.plugin.core.workloads import manifests
from tests.plugin.core.workloads.manifests import GPUS, World

WHOLE: list[dict[str, Any]] = [
    manifests.manifest("v1", "Pod", manifests.pods(1)),
    manifests.job(1),
    manifests.cron_job(1),
    *(manifests.replicated(kind) for kind in ("Deployment", "ReplicaSet", "StatefulSet")),
    manifests.daemon_set(1),
    manifests.job_set((2, manifests.job(1))),
    manifests.train_job(trainer={"numNodes": 2, "resourcesPerNode": {"limits": {GPUS: 1}}}),
    manifests.inference_service(predictor={"model": manifests.served(1, "vllm"), "workerSpec": {}}),
    manifests.workflow(manifests.dag("main", "train"), manifests.step("train")),
]
KINDS = sorted({(each["apiVersion"], each["kind"]) for each in WHOLE})
AROUND = World(
    {
        ("ClusterTrainingRuntime", None, "torch"): manifests.training_runtime(),
        ("ServingRuntime", "vision", "vllm"): manifests.serving_runtime(),
    },
    [Node({}, {GPUS: 8})],
)

names = [
    "metadata", "annotations", "labels", "name", "namespace", "spec", "template", "containers", "initContainers",
    "resources", "limits", "nvidia.com/gpu", "replicas", "parallelism", "suspend", "replicatedJobs", "runtimeRef",
    "trainer", "numNodes", "predictor", "model", "workerSpec", "templates", "entrypoint", "dag", "tasks", "steps",
    "arguments", "parameters", "resourceClaims", "affinity", "nodeSelector", "jobTemplate", "podSpecPatch",
]  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=4),
    max_leaves=12,
)


def read(source: object) -> Demand | None:
    try:
        return demand_of(source, AROUND)
    except Unresolved:
        return None


@pytest.mark.parametrize("source", WHOLE, ids=lambda source: source["kind"])
def test_the_example_of_every_kind_is_resolved(source: dict[str, Any]) -> None:
    demand = read(source)
    assert demand is not None
    assert demand.accelerators > 0
    assert decode(Demand, encode(demand)) == demand
    assert stage_of(source["apiVersion"], source["kind"]) is Stage.RESOLVED


@given(values, values, st.sampled_from(KINDS))
def test_no_manifest_crashes_the_normaliser(spec: object, metadata: object, kind: tuple[str, str]) -> None:
    demand = read({"apiVersion": kind[0], "kind": kind[1], "spec": spec, "metadata": metadata})
    assert demand is None or demand.accelerators >= 0


def places(source: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every part of an object."""
    parts = source.items() if isinstance(source, dict) else enumerate(source) if isinstance(source, list) else ()
    return [path, *(place for key, value in parts for place in places(value, (*path, key)))]


@settings(max_examples=60)
@given(st.sampled_from(WHOLE), st.data(), values)
def test_no_part_of_a_good_manifest_crashes_it_when_it_is_replaced(
    source: dict[str, Any], data: st.DataObject, instead: object
) -> None:
    changed: Any = copy.deepcopy(source)
    path = data.draw(st.sampled_from(places(changed)[1:]))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = instead
    demand = read(changed)
    assert demand is None or demand.accelerators >= 0


@pytest.mark.slow
@settings(max_examples=3_000)
@given(st.sampled_from(WHOLE), st.data(), values)
def test_no_part_of_a_good_manifest_crashes_it_thoroughly(
    source: dict[str, Any], data: st.DataObject, instead: object
) -> None:
    test_no_part_of_a_good_manifest_crashes_it_when_it_is_replaced.hypothesis.inner_test(  # type: ignore[attr-defined]
        source, data, instead
    )


@pytest.mark.parametrize(
    ("api_version", "kind", "stage"),
    [
        ("v1", "ConfigMap", Stage.PODLESS),
        ("apps/v1", "ControllerRevision", Stage.PODLESS),
        ("rbac.authorization.k8s.io/v1", "Role", Stage.PODLESS),
        ("kueue.x-k8s.io/v1beta2", "Workload", Stage.PODLESS),
        ("apps/v2", "Deployment", Stage.LATER),
        ("kubeflow.org/v1", "PyTorchJob", Stage.LATER),
        ("jobset.x-k8s.io/v1", "JobSet", Stage.LATER),
    ],
)
def test_a_kind_is_read_in_the_versions_that_are_known(api_version: str, kind: str, stage: Stage) -> None:
    assert stage_of(api_version, kind) is stage
