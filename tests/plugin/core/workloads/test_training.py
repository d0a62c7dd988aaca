"""TrainJob: the runtime's pods with the nodes and the resources of the TrainJob."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.workloads import Reference, Unresolved, demand_of
from tests.plugin.core.workloads.manifests import GPUS, HOUR, World, train_job, training_runtime

CLUSTER = ("ClusterTrainingRuntime", None, "torch")


def world(runtime: dict[str, Any], key: tuple[str, str | None, str] = CLUSTER) -> World:
    return World({key: runtime})


def test_a_train_job_runs_what_its_runtime_says() -> None:
    assert demand_of(train_job(), world(training_runtime(gpus=2))).accelerators == 2
    assert demand_of(train_job(), world(training_runtime(gpus=2, nodes=3))).accelerators == 6
    assert demand_of(train_job(), world(training_runtime(gpus=2, nodes=3, initializer_gpus=1))).accelerators == 7


def test_what_the_train_job_says_goes_before_its_runtime() -> None:
    runtime = training_runtime(gpus=2, nodes=3)
    assert demand_of(train_job(trainer={"numNodes": 5}), world(runtime)).accelerators == 10
    sized = {"numNodes": 2, "resourcesPerNode": {"limits": {GPUS: "8"}}}
    assert demand_of(train_job(trainer=sized), world(runtime)).accelerators == 16
    assert demand_of(train_job(suspend=True), world(runtime)).suspended
    assert demand_of(train_job(activeDeadlineSeconds=3_600), world(runtime)).deadline_ns == HOUR


def test_elastic_training_counts_the_most_nodes() -> None:
    runtime = training_runtime(gpus=1, nodes=2)
    runtime["spec"]["mlPolicy"]["torch"] = {"elasticPolicy": {"minNodes": 1, "maxNodes": 6}}
    assert demand_of(train_job(), world(runtime)).accelerators == 6


def test_the_runtime_is_looked_up_in_the_cluster_or_in_the_namespace() -> None:
    around = world(training_runtime(), ("TrainingRuntime", "vision", "own"))
    assert demand_of(train_job("own", "TrainingRuntime"), around).accelerators == 1
    assert around.asked == [Reference("trainer.kubeflow.org/v1alpha1", "TrainingRuntime", "own", "vision")]


@pytest.mark.parametrize(
    ("job", "named"),
    [
        (train_job("gone"), "ClusterTrainingRuntime gone does not exist"),
        (train_job(kind="Recipe"), "runtimeRef.kind"),
        (train_job(trainer={"numNodes": -1}), "numNodes"),
    ],
)
def test_a_train_job_that_cannot_be_resolved_says_what_is_missing(job: dict[str, Any], named: str) -> None:
    with pytest.raises(Unresolved, match=named):
        demand_of(job, world(training_runtime()))


def test_resources_for_a_container_that_is_not_there_are_unresolved() -> None:
    runtime = training_runtime()
    runtime["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]["spec"]["template"]["spec"]["containers"] = []
    with pytest.raises(Unresolved, match="no container called node"):
        demand_of(train_job(trainer={"resourcesPerNode": {"limits": {GPUS: 1}}}), world(runtime))


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 8))
def test_more_nodes_never_ask_for_less(nodes: int, more: int, gpus: int) -> None:
    around = world(training_runtime(gpus=gpus))
    small = demand_of(train_job(trainer={"numNodes": nodes}), around)
    assert small.within(demand_of(train_job(trainer={"numNodes": nodes + more}), around))
