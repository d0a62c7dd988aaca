"""What is kept of workloads and pods, and how their trees are found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.records import Kind
from joulegate.core.workloads import ALONE, Demand
from joulegate_operators.seen import PODS, RESOURCES, Workload, governed, owner_of, trees, workload_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
JOBS = RESOURCES[0]
NOTHING = Demand(Kind.TRAINING, ())


def pod_spec(gpus: int) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}]}


def metadata(**more: Any) -> dict[str, Any]:
    return {"uid": "u", "name": "n", "namespace": "lab", **more}


def test_a_job_of_a_list_is_read_with_its_kind() -> None:
    job = {"metadata": metadata(), "spec": {"parallelism": 2, "template": {"spec": pod_spec(4)}}}
    read = workload_of(job, JOBS, ALONE, NOW)
    assert read.demand is not None
    assert read.demand.accelerators == 8
    assert (read.ended_at, read.manifest, read.counts) == (None, None, True)


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ({}, None),
        ({"conditions": [{"type": "Complete", "status": "False"}]}, None),
        ({"conditions": [{"type": "Suspended", "status": "True"}]}, None),
        ({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-23T11:00:00Z"}]}, 11),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, 12),
        ({"phase": "Failed", "finishedAt": "2026-11-23T10:00:00Z"}, 10),
    ],
)
def test_work_has_ended_when_it_says_so(status: dict[str, Any], ended: int | None) -> None:
    job = {"metadata": metadata(), "spec": {"template": {"spec": pod_spec(1)}}, "status": status}
    expected = None if ended is None else NOW.replace(hour=ended)
    assert workload_of(job, JOBS, ALONE, NOW).ended_at == expected


def test_a_pod_ended_with_its_last_container() -> None:
    ends = [{"state": {"terminated": {"finishedAt": f"2026-11-23T1{hour}:00:00Z"}}} for hour in (0, 1)]
    pod = {"metadata": metadata(), "spec": pod_spec(1) | {"nodeName": "gpu-1"}, "status": {"phase": "Succeeded"}}
    pod["status"]["containerStatuses"] = ends
    read = workload_of(pod, PODS, ALONE, NOW)
    assert (read.node, read.ended_at) == ("gpu-1", NOW.replace(hour=11))


def test_what_cannot_be_read_is_kept_to_be_read_again() -> None:
    read = workload_of({"metadata": metadata(), "spec": {"template": 7}}, JOBS, ALONE, NOW)
    assert (read.demand, read.counts, read.reason) == (None, True, "spec.template is not an object")
    assert read.manifest is not None


def test_only_a_governed_controller_is_an_owner() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job", "controller": True}
    assert owner_of(metadata(ownerReferences=[job])) == job
    assert owner_of(metadata(ownerReferences=[job | {"controller": False}])) is None
    assert owner_of(metadata(ownerReferences=[job | {"kind": "CronJob"}])) is None
    assert owner_of(metadata(ownerReferences=[job | {"apiVersion": "v1", "kind": "ConfigMap"}])) is None


def workload(uid: str, owner: str | None, *, gpus: bool = False) -> Workload:
    return Workload(uid, "lab", uid, owner, None if gpus else NOTHING)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.sampled_from("abcdefghz")))
def test_every_workload_has_a_root_also_where_owners_are_unknown_or_go_in_a_circle(owners: dict[str, Any]) -> None:
    found = trees([workload(uid, owner) for uid, owner in owners.items()])
    assert found.keys() == owners.keys()
    assert all(root in owners for root in found.values())
    for uid, owner in owners.items():
        assert found[uid] == (uid if owner not in owners else found[owner])


def test_a_whole_tree_counts_where_any_of_it_asks_for_an_accelerator() -> None:
    tree = [workload("flow", None), workload("pod", "flow", gpus=True), workload("other", None)]
    assert governed(tree) == {"flow", "pod"}
