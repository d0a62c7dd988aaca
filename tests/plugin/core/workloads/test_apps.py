"""What keeps pods running: replicas, nodes, and the Scale that changes them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.workloads import Node, Unresolved, demand_of, scaled
from tests.plugin.core.workloads.manifests import A100, GPUS, World, daemon_set, replicated

KINDS = ["Deployment", "ReplicaSet", "StatefulSet"]


@pytest.mark.parametrize("kind", KINDS)
def test_replicas_ask_for_all_of_them_until_somebody_ends_them(kind: str) -> None:
    demand = demand_of(replicated(kind, 3, 2))
    assert (demand.accelerators, demand.open_ended, demand.suspended) == (Fraction(6), True, False)


def test_replicas_that_are_not_named_are_one_and_none_runs_nothing_yet() -> None:
    assert demand_of(replicated(replicas=None)).accelerators == 1
    none = demand_of(replicated(replicas=0, gpus=4))
    assert none.suspended
    assert none.accelerators == 4


@given(st.sampled_from(KINDS), st.integers(1, 50), st.integers(0, 50), st.integers(0, 8))
def test_more_replicas_never_ask_for_less(kind: str, replicas: int, more: int, gpus: int) -> None:
    small, large = demand_of(replicated(kind, replicas, gpus)), demand_of(replicated(kind, replicas + more, gpus))
    assert small.accelerators <= large.accelerators
    assert small.within(large)


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_scale_asks_for_the_object_with_its_replicas(before: int, after: int) -> None:
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": after} if after else {}}
    assert demand_of(scaled(replicated(replicas=before), scale)) == demand_of(replicated(replicas=after))


def test_a_daemon_set_runs_on_every_node_that_fits() -> None:
    nodes = [
        Node({"pool": "a", "nvidia.com/gpu.product": A100}, {GPUS: 8}),
        Node({"pool": "a", "nvidia.com/gpu.product": A100}, {GPUS: 1}),
        Node({"pool": "b", "nvidia.com/gpu.product": "Tesla-T4"}, {GPUS: 4}),
        Node({"pool": "a"}, {}),
    ]
    world = World(known_nodes=nodes)
    assert demand_of(daemon_set(1), world).accelerators == 3
    assert demand_of(daemon_set(2), world).accelerators == 4
    one_pool = demand_of(daemon_set(1, nodeSelector={"pool": "a"}), world)
    assert (one_pool.accelerators, one_pool.groups[0].gpu_model) == (Fraction(2), A100)
    assert demand_of(daemon_set(9), world).suspended
    assert demand_of(daemon_set(None)).groups == ()


def test_a_daemon_set_outside_its_cluster_is_unresolved_and_says_why() -> None:
    with pytest.raises(Unresolved, match="only inside its cluster"):
        demand_of(daemon_set(1))


def test_the_model_is_that_of_the_nodes_that_fit_where_they_have_one() -> None:
    a100 = Node({"nvidia.com/gpu.product": A100}, {GPUS: 8})
    other = Node({"nvidia.com/gpu.product": "Tesla-T4"}, {GPUS: 1})
    assert demand_of(replicated(gpus=4), World(known_nodes=[a100, other])).groups[0].gpu_model == A100
    assert demand_of(replicated(gpus=1), World(known_nodes=[a100, other])).groups[0].gpu_model is None
