"""Demands: what a manifest asks for is counted as Kubernetes counts it, and what cannot be read is never smaller."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.encoding import decode, encode
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Group, Unresolved, demand_of, kind_of_work

HOUR = 3_600 * 10**9
A100 = "NVIDIA-A100-SXM4-80GB"


def container(gpus: object = None, resource: str = "nvidia.com/gpu", **more: object) -> dict[str, Any]:
    return {"name": "c", "resources": {"limits": {resource: gpus}} if gpus is not None else {}, **more}


def pod(*containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": annotations or {}},
        "spec": {"containers": list(containers), **spec},
    }


def job(
    template: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **spec: object
) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "annotations": annotations or {}},
        "spec": {"template": {"spec": template or {"containers": [container(1)]}}, **spec},
    }


def test_a_pod_asks_for_the_sum_of_its_containers() -> None:
    assert demand_of(pod(container(2), container(), container("3"))).accelerators == 5


def test_what_is_only_requested_counts_too() -> None:
    asked = {"name": "c", "resources": {"requests": {"nvidia.com/gpu": "2"}}}
    assert demand_of(pod(asked)).accelerators == 2


def test_an_init_container_runs_before_the_others_so_the_larger_counts() -> None:
    assert demand_of(pod(container(1), container(1), initContainers=[container(4)])).accelerators == 4
    assert demand_of(pod(container(3), container(3), initContainers=[container(4)])).accelerators == 6


def test_a_sidecar_runs_beside_what_starts_after_it() -> None:
    sidecar = container(1, restartPolicy="Always")
    assert demand_of(pod(container(2), initContainers=[sidecar])).accelerators == 3
    assert demand_of(pod(container(2), initContainers=[sidecar, container(4)])).accelerators == 5
    assert demand_of(pod(container(2), initContainers=[container(4), sidecar])).accelerators == 4


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=5), st.lists(st.integers(0, 8), max_size=4))
def test_a_pod_never_asks_for_less_than_what_runs_at_any_moment(
    starting: list[tuple[int, bool]], together: list[int]
) -> None:
    inits = [container(gpus, **({"restartPolicy": "Always"} if stays else {})) for gpus, stays in starting]
    moments, staying = [], 0
    for gpus, stays in starting:
        moments.append(staying + gpus)
        staying += gpus if stays else 0
    moments.append(staying + sum(together))
    asked = demand_of(pod(*(container(gpus) for gpus in together), initContainers=inits)).accelerators
    assert asked == max(moments)


@pytest.mark.parametrize(
    ("resource", "boards"),
    [
        ("nvidia.com/gpu", Fraction(2)),
        ("nvidia.com/gpu.shared", Fraction(2)),
        ("nvidia.com/mig-1g.10gb", Fraction(2, 7)),
        ("nvidia.com/mig-3g.40gb", Fraction(6, 7)),
        ("nvidia.com/mig-7g.80gb", Fraction(2)),
        ("nvidia.com/mig-1g.10gb.shared", Fraction(2, 7)),
    ],
)
def test_a_slice_of_a_board_is_a_share_of_it(resource: str, boards: Fraction) -> None:
    assert demand_of(pod(container(2, resource))).accelerators == boards


@pytest.mark.parametrize(
    ("spec", "boards"),
    [
        ({}, 2),
        ({"parallelism": 4}, 8),
        ({"parallelism": 4, "completions": 2}, 4),
        ({"parallelism": 2, "completions": 10}, 4),
        ({"completions": 10}, 2),
    ],
)
def test_a_job_asks_for_what_runs_at_once(spec: dict[str, Any], boards: int) -> None:
    assert demand_of(job({"containers": [container(2)]}, **spec)).accelerators == boards


@pytest.mark.parametrize("spec", [{"suspend": True}, {"parallelism": 0}, {"completions": 0}])
def test_a_job_that_runs_nothing_yet_is_suspended(spec: dict[str, Any]) -> None:
    demand = demand_of(job(**spec))
    assert demand.suspended
    assert demand.accelerators > 0


def test_the_deadline_of_pods_counts_once_a_wave() -> None:
    template = {"containers": [container(1)], "activeDeadlineSeconds": 3_600}
    assert demand_of(job(template, parallelism=2, completions=5)).deadline_ns == 3 * HOUR
    assert demand_of(job(template, parallelism=2, completions=5, activeDeadlineSeconds=7_200)).deadline_ns == 2 * HOUR


def test_what_the_author_says_is_read_from_the_object_and_its_template() -> None:
    template: dict[str, Any] = {"containers": [container(1)]}
    manifest = job(template, {"joulegate.io/expected-duration": "1h30m", "joulegate.io/budget": "vision"})
    manifest["spec"]["template"]["metadata"] = {
        "annotations": {"joulegate.io/model": "resnet", "joulegate.io/kind": "fine-tuning", "joulegate.io/budget": "x"}
    }
    demand = demand_of(manifest)
    assert (demand.declared_ns, demand.model, demand.added_kind) == (HOUR * 3 // 2, "resnet", Kind.FINE_TUNING)
    assert demand.budget == "vision"
    assert demand.kind is Kind.TRAINING


def terms(*values: list[str]) -> dict[str, Any]:
    rules = [
        {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": each}]} for each in values
    ]
    required = {"nodeSelectorTerms": rules}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def test_the_model_is_where_the_pod_is_bound_to_and_of_several_the_one_that_draws_most() -> None:
    def model(**spec: Any) -> str | None:
        return demand_of(pod(container(1), **spec)).groups[0].gpu_model

    assert model() is None
    assert model(nodeSelector={"nvidia.com/gpu.product": A100}) == A100
    assert model(affinity=terms([A100])) == A100
    assert model(affinity=terms(["Tesla-T4"], [A100, "NVIDIA-L4"])) == A100


@pytest.mark.parametrize(
    "manifest",
    [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"},
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"},
        pod(container()),
        pod(container(0)),
    ],
)
def test_what_asks_for_no_accelerator_says_so(manifest: dict[str, Any]) -> None:
    assert demand_of(manifest).groups == ()


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        [],
        "Pod",
        {},
        {"apiVersion": "v1", "kind": "Pod"},
        {"apiVersion": "v1", "kind": "ReplicationController", "spec": {}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}},
        {"apiVersion": "batch/v1", "kind": "CronJob", "spec": {}},
        {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}},
        {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {}},
        {"apiVersion": "example.com/v1", "kind": "Anything"},
        pod(container("many")),
        pod(container(-1)),
        pod(container(1.5)),
        pod(container(gpus=True)),
        pod(container("1e3")),
        pod(container(1, "nvidia.com/mig-odd")),
        pod(container(1, "amd.com/gpu")),
        pod(container(1), resourceClaims=[{"name": "gpu", "resourceClaimName": "x"}]),
        pod(container(1), containers="none"),
        pod(container(1), nodeSelector=[]),
        pod({"name": "c", "resources": {"limits": []}}),
        pod(container(1), activeDeadlineSeconds=-5),
        pod(container(1), annotations={"joulegate.io/expected-duration": "soon"}),
        pod(container(1), annotations={"joulegate.io/expected-duration": "0s"}),
        pod(container(1), annotations={"joulegate.io/kind": "mining"}),
        pod(container(1), annotations={"joulegate.io/model": "a\nb"}),
        job(parallelism=-1),
        job(parallelism=True),
        job(parallelism="2"),
        job(parallelism=100_000, template={"containers": [container(8)]}),
        job(suspend="no"),
        {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {}}},
    ],
)
def test_what_cannot_be_read_is_unresolved_and_says_why(manifest: object) -> None:
    with pytest.raises(Unresolved) as raised:
        demand_of(manifest)
    assert str(raised.value)


groups = st.lists(
    st.builds(Group, st.sampled_from([None, A100, "H100"]), st.fractions(0, 8, max_denominator=7), st.integers(1, 4)),
    max_size=3,
).map(tuple)
demands = st.builds(
    Demand,
    kind=st.sampled_from(Kind),
    groups=groups,
    added_kind=st.none() | st.sampled_from(Kind),
    declared_ns=st.none() | st.integers(1, 10**15),
    deadline_ns=st.none() | st.integers(1, 10**15),
    suspended=st.booleans(),
    open_ended=st.booleans(),
)


@given(demands)
def test_a_demand_is_within_itself_and_is_kept_exactly(demand: Demand) -> None:
    assert demand.within(demand)
    assert decode(Demand, encode(demand)) == demand


@given(demands, demands, demands)
def test_within_is_an_order(small: Demand, middle: Demand, large: Demand) -> None:
    if small.within(middle) and middle.within(large):
        assert small.within(large)


def test_more_boards_another_model_or_more_time_is_not_within() -> None:
    held = demand_of(pod(container(2), annotations={"joulegate.io/expected-duration": "2h"}))
    assert demand_of(pod(container(1), annotations={"joulegate.io/expected-duration": "1h"})).within(held)
    assert not demand_of(pod(container(3), annotations={"joulegate.io/expected-duration": "2h"})).within(held)
    assert not demand_of(pod(container(2), annotations={"joulegate.io/expected-duration": "3h"})).within(held)
    assert not demand_of(pod(container(2))).within(held)
    other = pod(
        container(2),
        annotations={"joulegate.io/expected-duration": "2h"},
        nodeSelector={"nvidia.com/gpu.product": A100},
    )
    assert not demand_of(other).within(held)


def test_the_kind_of_object_says_what_it_is_for() -> None:
    assert kind_of_work("InferenceService") is Kind.INFERENCE
    assert kind_of_work("Notebook") is Kind.OTHER
    assert kind_of_work("Job") is Kind.TRAINING
