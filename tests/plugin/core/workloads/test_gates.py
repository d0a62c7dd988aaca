"""Gates: every kind that has one is held back by it and let go by taking it away, and nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from joulegate.core.workloads import (
    GATE,
    POD_GATE,
    Unresolved,
    can_be_gated,
    demand_of,
    gate,
    given_to_kueue,
    is_gated,
    is_kept_from_kueue,
    kept_from_kueue,
    lifted,
    suspended,
)

POD = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": 2}}}]}
JOB = {"template": {"spec": POD}}
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("v1", "Pod", POD),
    ("batch/v1", "Job", JOB),
    ("jobset.x-k8s.io/v1alpha2", "JobSet", {"replicatedJobs": [{"name": "a", "template": {"spec": JOB}}]}),
    (
        "argoproj.io/v1alpha1",
        "Workflow",
        {"entrypoint": "a", "templates": [{"name": "a", "container": POD["containers"][0]}]},
    ),
]


def made(version: str, kind: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "work", **metadata}, "spec": deepcopy(spec)}


def patched(source: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """What RFC 6902 makes of the operations that a gate uses."""
    result = deepcopy(source)
    for operation in operations:
        assert operation["op"] == "add"
        *way, last = [part.replace("~1", "/") for part in operation["path"].split("/")[1:]]
        at: Any = result
        for part in way:
            at = at[part]
        if isinstance(at, list):
            assert last == "-"
            at.append(operation["value"])
        else:
            at[last] = operation["value"]
    return result


def merged(source: Any, change: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    result = dict(source) if isinstance(source, Mapping) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result


@pytest.mark.parametrize(("version", "kind", "spec"), KINDS)
@pytest.mark.parametrize("annotations", [None, {}, {"a": "b"}])
def test_a_gated_object_asks_for_nothing_yet_and_for_the_same_once_it_is_let_go(
    version: str, kind: str, spec: dict[str, Any], annotations: dict[str, str] | None
) -> None:
    source = made(version, kind, spec, **({} if annotations is None else {"annotations": annotations}))
    gated = patched(source, gate(source))
    assert is_gated(gated)
    assert demand_of(gated).suspended
    assert gate(gated) == [], "a second call changes nothing"
    free = merged(gated, lifted(gated))
    assert not is_gated(free)
    assert demand_of(free) == demand_of(source)


def test_a_pod_keeps_the_gates_of_others() -> None:
    source = made("v1", "Pod", {**POD, "schedulingGates": [{"name": "kueue.x-k8s.io/topology"}]})
    assert not is_gated(source)
    gated = patched(source, gate(source))
    assert [each["name"] for each in gated["spec"]["schedulingGates"]] == ["kueue.x-k8s.io/topology", POD_GATE]
    assert lifted(gated) == {"spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/topology"}]}}


def test_what_its_author_suspended_is_the_authors() -> None:
    source = made("batch/v1", "Job", {**JOB, "suspend": True})
    assert gate(source) == []
    assert not is_gated(source)


def test_what_kueue_manages_and_what_has_no_gate_is_left_alone() -> None:
    queued = made("batch/v1", "Job", JOB, labels={"kueue.x-k8s.io/queue-name": "team"})
    deployment = made("apps/v1", "Deployment", JOB)
    for source in (queued, deployment):
        assert not can_be_gated(source)
        assert gate(source) == []


GATED_BY = "kueue.x-k8s.io/admission-gated-by"
QUEUE = {"kueue.x-k8s.io/queue-name": "team"}


@pytest.mark.parametrize("others", ["", "example.org/licence", "example.org/licence,example.org/data"])
def test_what_kueue_manages_is_kept_from_it_beside_the_gates_of_others(others: str) -> None:
    said = {GATED_BY: others} if others else {}
    source = made("batch/v1", "Job", {**JOB, "suspend": True}, labels=QUEUE, annotations=said)
    kept = patched(source, kept_from_kueue(source))
    assert is_kept_from_kueue(kept)
    assert kept_from_kueue(kept) == [], "a second call changes nothing"
    given = merged(kept, given_to_kueue(kept))
    assert not is_kept_from_kueue(given)
    assert given["metadata"]["annotations"].get(GATED_BY, "") == others


def test_only_what_kueue_manages_is_kept_from_it() -> None:
    assert kept_from_kueue(made("batch/v1", "Job", JOB)) == []


def test_a_pod_of_a_queue_waits_at_the_gate_of_kueue_and_one_that_only_says_so_does_not() -> None:
    waiting = {**POD, "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}
    assert demand_of(made("v1", "Pod", waiting, labels=QUEUE)).suspended
    assert not demand_of(made("v1", "Pod", waiting)).suspended
    assert not demand_of(made("v1", "Pod", POD, labels=QUEUE)).suspended


def test_a_gate_that_was_taken_off_by_hand_is_none() -> None:
    source = made("batch/v1", "Job", {**JOB, "suspend": False}, annotations={GATE: "queued"})
    assert not is_gated(source)
    assert not demand_of(source).suspended


def test_what_cannot_be_read_is_unresolved() -> None:
    with pytest.raises(Unresolved, match=r"spec\.schedulingGates is not a list"):
        gate(made("v1", "Pod", {**POD, "schedulingGates": "no"}))


@pytest.mark.parametrize(("version", "kind", "spec"), KINDS[1:])
def test_what_is_suspended_over_budget_waits_at_the_same_gate(version: str, kind: str, spec: dict[str, Any]) -> None:
    source = made(version, kind, spec)
    waits = merged(source, suspended(version, kind))
    assert is_gated(waits)
    assert demand_of(waits).suspended
    free = merged(waits, lifted(waits))
    assert demand_of(free) == demand_of(source)
    assert not is_gated(free)


def test_an_inference_service_is_stopped_by_its_own_switch_and_never_gated() -> None:
    predictor = {"containers": POD["containers"]}
    source = made("serving.kserve.io/v1beta1", "InferenceService", {"predictor": predictor})
    assert gate(source) == []
    stopped = merged(source, suspended(source["apiVersion"], source["kind"]))
    assert stopped["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
    assert is_gated(stopped)
    assert demand_of(stopped).suspended
    assert demand_of(merged(stopped, lifted(stopped))) == demand_of(source)


def test_what_has_no_switch_is_not_suspended() -> None:
    assert suspended("apps/v1", "Deployment") == {}
    assert suspended("v1", "Pod") == {}
