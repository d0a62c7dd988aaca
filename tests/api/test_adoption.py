"""Adoption over HTTP: the operator says what it has told, and the gate says what waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from joulegate.core.periods import format_instant
from joulegate_api import context
from joulegate_api.store import Store
from tests.api.cluster_double import FakeCluster
from tests.api.running import FACTORS, SITES, Service, budget, job, review, verdict_of

TOO_MUCH = 64
"""Boards for a day: more than the budget of ten kilowatt-hours has."""


def told(service: Service, since: datetime | None = None) -> list[str]:
    body = {"told_since": since and format_instant(since)}
    answer = service.put("/v1/adoptions/local", body, by="operator")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["adopting"])


def asked(service: Service, name: str = "work") -> dict[str, Any]:
    of = job(name=name, gpus=TOO_MUCH, duration="24h", uid=name)
    return dict(service.post("/v1/admission/validate", review(of)).json()["response"])


def test_a_budget_of_an_operator_refuses_nothing_until_its_scope_was_adopted(service: Service) -> None:
    assert told(service) == []
    service.put("/v1/budgets/vision", budget(), by="operator")
    recorded = datetime.now(UTC)
    assert told(service, recorded - timedelta(minutes=1)) == ["vision"]
    assert service.get("/v1/budgets/vision/balance").json()["adopting"] == ["local"]
    response = asked(service)
    assert response["allowed"]
    assert any("budget vision is not enforced yet" in each for each in response["warnings"])
    verdict = verdict_of(service.post("/v1/admission/validate", review(job(uid="work", gpus=TOO_MUCH, duration="24h"))))
    assert (verdict["outcome"], verdict["reason"], verdict["hold"] is not None) == ("allow", "Warned", True)
    assert "still being adopted" in verdict["message"]
    assert told(service, datetime.now(UTC)) == []
    assert service.get("/v1/budgets/vision/balance").json()["adopting"] == []
    assert not asked(service, "late")["allowed"]


def test_where_the_operator_is_silent_nothing_waits_for_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    told(service)
    service.put("/v1/budgets/vision", budget(), by="operator")
    monkeypatch.setattr(context, "REGISTERED", timedelta())
    assert not asked(service)["allowed"]


@pytest.fixture
def cluster() -> Iterator[str]:
    """Where a cluster answers; none of these tests asks it anything."""
    with FakeCluster().serving() as address:
        yield address


@pytest.mark.parametrize(("mode", "status"), [("managed", 409), ("shared", 201)])
def test_where_an_operator_is_required_its_silence_gives_nobody_else_the_right_to_write(
    store: Store, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, status: int
) -> None:
    made = Service(store, tmp_path, kube_api=cluster, cluster_mode=mode)
    assert made.put("/v1/budgets/before", budget("before", scope={"namespaces": ["b"]})).status_code == 201
    told(made)
    assert made.put("/v1/budgets/vision", budget()).status_code == 409, "it is there"
    monkeypatch.setattr(context, "REGISTERED", timedelta())
    written = [made.put("/v1/budgets/vision", budget()), made.put("/v1/factors", FACTORS), made.put("/v1/sites", SITES)]
    assert [each.status_code for each in written] == [status] * 3
    if status == 409:
        assert {each.json()["code"] for each in written} == {"managed_by_cluster"}
        more = made.put("/v1/prices", {}), made.post("/v1/exceptions", {}), made.call("DELETE", "/v1/budgets/vision")
        assert {each.status_code for each in more} == {409}
    assert made.put("/v1/budgets/of-operator", budget("of-operator"), by="operator").status_code == 201


def test_only_an_operator_says_what_it_has_told(service: Service) -> None:
    assert service.put("/v1/adoptions/local", {"told_since": None}, by="member").status_code == 403
    ahead = format_instant(datetime.now(UTC) + timedelta(hours=1))
    assert service.put("/v1/adoptions/local", {"told_since": ahead}, by="operator").status_code == 422
