"""InferenceService: components, runtimes, replicas, and the stop annotation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.records import Kind
from joulegate.core.workloads import Unresolved, demand_of
from tests.plugin.core.workloads.manifests import (
    A100,
    World,
    container,
    inference_service,
    pods,
    served,
    serving_runtime,
)


def test_a_model_with_its_own_gpus_needs_no_runtime() -> None:
    demand = demand_of(inference_service(predictor={"model": served(2), "minReplicas": 3}))
    assert (demand.accelerators, demand.kind, demand.open_ended) == (Fraction(6), Kind.INFERENCE, True)
    assert demand_of(inference_service(predictor={"triton": served(1)})).accelerators == 1


def test_a_custom_predictor_is_a_pod() -> None:
    predictor = {**pods(2, nodeSelector={"nvidia.com/gpu.product": A100}), "minReplicas": 2}
    (group,) = demand_of(inference_service(predictor=predictor, transformer=pods(None))).groups
    assert (group.accelerators, group.replicas, group.gpu_model) == (Fraction(2), 2, A100)


def test_every_component_counts() -> None:
    whole = inference_service(predictor=pods(1), transformer=pods(2), explainer={**pods(1), "minReplicas": 2})
    assert demand_of(whole).accelerators == 5


@pytest.mark.parametrize(
    ("key", "gpus", "boards"),
    [
        (("ServingRuntime", "vision", "vllm"), None, 4),
        (("ClusterServingRuntime", None, "vllm"), None, 4),
        (("ServingRuntime", "vision", "vllm"), 1, 1),
    ],
)
def test_the_runtime_says_what_the_model_does_not(
    key: tuple[str, str | None, str], gpus: int | None, boards: int
) -> None:
    around = World({key: serving_runtime(4)})
    assert demand_of(inference_service(predictor={"model": served(gpus, "vllm")}), around).accelerators == boards


def test_least_replicas_of_none_still_start_with_one() -> None:
    assert demand_of(inference_service(predictor={"model": served(1), "minReplicas": 0})).accelerators == 1


def test_a_stopped_service_runs_nothing() -> None:
    stopped = {"serving.kserve.io/stop": "true"}
    assert demand_of(inference_service(stopped, predictor={"model": served(1)})).suspended
    assert not demand_of(inference_service(predictor={"model": served(1)})).suspended


def test_a_model_over_several_nodes_asks_for_each_of_them() -> None:
    worker = {"pipelineParallelSize": 3, "tensorParallelSize": 4}
    predictor = {"model": served(1), "workerSpec": worker}
    assert demand_of(inference_service(predictor=predictor)).accelerators == 12
    own = {"containers": [container(2, "worker-container")]}
    assert demand_of(inference_service(predictor={"model": served(1), "workerSpec": own})).accelerators == 3


@pytest.mark.parametrize(
    ("components", "named"),
    [
        ({}, "predictor is not an object"),
        ({"predictor": {"model": served()}}, "name one in spec.predictor.model.runtime"),
        ({"predictor": {"model": served(1, "gone")}}, "neither ServingRuntime gone in vision nor"),
        ({"predictor": {"model": served(1), "triton": served(1)}}, "one is served"),
        ({"predictor": {"model": served("many")}}, "whole number"),
    ],
)
def test_a_service_that_cannot_be_resolved_says_what_would_help(components: dict[str, Any], named: str) -> None:
    with pytest.raises(Unresolved, match=named):
        demand_of(inference_service(**components), World())


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 8))
def test_more_replicas_never_ask_for_less(replicas: int, more: int, gpus: int) -> None:
    small = demand_of(inference_service(predictor={"model": served(gpus), "minReplicas": replicas}))
    assert small.within(demand_of(inference_service(predictor={"model": served(gpus), "minReplicas": replicas + more})))
