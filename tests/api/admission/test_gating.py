"""Gating: what a budget queues comes with its gate, holds nothing, and is held when the operator asks for it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import pytest

from joulegate.core.errors import UnavailableError
from tests.api.running import Service, budget, job, review, verdict_of
from tests.plugin.core.workloads.test_gates import patched

CRON = "system:serviceaccount:kube-system:cronjob-controller"
JOBS = "system:serviceaccount:kube-system:job-controller"


def bind(service: Service, **spec: Any) -> None:
    assert service.put("/v1/budgets/vision", budget(**spec)).status_code == 201


def patch(service: Service, of: Mapping[str, Any] | None, **request: Any) -> list[dict[str, Any]]:
    response = service.post("/v1/admission/mutate", review(of, **request)).json()["response"]
    assert response["allowed"] is True
    if "patch" not in response:
        return []
    assert response["patchType"] == "JSONPatch"
    return list(json.loads(b64decode(response["patch"])))


def test_what_a_budget_queues_is_gated_and_holds_nothing_until_it_may_go(service: Service) -> None:
    bind(service, enforcement="Queue")
    before = service.fingerprint()
    gated = patched(dict(job()), patch(service, job()))
    assert gated["spec"]["suspend"] is True
    verdict = verdict_of(service.post("/v1/admission/validate", review(gated)))
    assert (verdict["allowed"], verdict["reason"], verdict["hold"]) == (True, "HeldLater", None)
    after = service.fingerprint()
    assert {table for table in before if after[table] != before[table]} <= {"entries", "log_queue"}, "only its entry"


def test_what_comes_without_its_gate_is_refused_where_it_does_not_fit(sqlite_service: Service) -> None:
    bind(sqlite_service, enforcement="Queue", limits={"energyKwh": "0"})
    answer = sqlite_service.post("/v1/admission/validate", review(job())).json()["response"]
    assert answer["allowed"] is False
    assert "without a gate" in answer["warnings"][0]


def test_a_budget_that_does_not_queue_gates_nothing(sqlite_service: Service) -> None:
    bind(sqlite_service, enforcement="Deny")
    assert patch(sqlite_service, job()) == []


def owned(kind: str) -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": kind, "name": "above", "uid": "above", "controller": True}
    return job() | {"metadata": {**job()["metadata"], "ownerReferences": [owner]}}


def test_children_are_not_gated_and_what_generators_make_is(sqlite_service: Service) -> None:
    bind(sqlite_service, enforcement="Queue")
    assert patch(sqlite_service, owned("JobSet"), userInfo={"username": JOBS}) == []
    assert patch(sqlite_service, owned("CronJob"), userInfo={"username": CRON})
    assert patch(sqlite_service, owned("JobSet"), userInfo={"username": "mallory"}), "a claimed owner is none"


@pytest.mark.parametrize("change", [{"operation": "UPDATE"}, {"operation": "DELETE"}, {"subResource": "status"}])
def test_only_creation_gates(sqlite_service: Service, change: dict[str, str]) -> None:
    bind(sqlite_service, enforcement="Queue")
    assert patch(sqlite_service, job(), **change) == []


def test_nothing_that_goes_wrong_refuses_or_gates(sqlite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    bind(sqlite_service, enforcement="Queue")
    assert patch(sqlite_service, {"kind": "Job", "apiVersion": "batch/v1", "spec": []}) == []
    assert patch(sqlite_service, job(), dryRun="perhaps") == []

    def broken() -> None:
        raise UnavailableError("the database does not answer")

    monkeypatch.setattr(type(sqlite_service.store.budgets), "list", lambda _self: broken())
    assert patch(sqlite_service, job()) == []


def test_a_caller_gates_only_where_it_may_decide(sqlite_service: Service) -> None:
    bind(sqlite_service, enforcement="Queue")
    elsewhere = review(job(), namespace="language")
    answer = sqlite_service.post("/v1/admission/mutate", elsewhere, by="vision-member")
    assert "patch" not in answer.json()["response"]
    assert sqlite_service.post("/v1/admission/mutate", review(job()), by="reader").status_code == 403
