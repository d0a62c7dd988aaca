"""Exceptions over HTTP: asked for by one, approved by another with the right on every budget that is named."""

from typing import Any

import pytest

from joulegate.tokens import Grant, Role, format_row
from tests.api.running import Service, budget, principal

KWH = 3_600_000_000


def exception(name: str = "more", namespace: str = "vision", **spec: Any) -> dict[str, Any]:
    fields = {
        "budgets": ["vision"],
        "amount": {"energyKwh": "5"},
        "reason": "a deadline",
        "expiresAt": "2199-01-01T00:00:00Z",
    }
    return {
        "apiVersion": "joulegate.io/v1alpha1",
        "kind": "BudgetException",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {key: value for key, value in (fields | spec).items() if value is not None},
    }


def energy(service: Service, name: str = "vision") -> dict[str, str]:
    found: dict[str, str] = service.get(f"/v1/budgets/{name}/balance").json()["energy"]
    return found


def test_an_exception_is_asked_for_by_one_and_approved_by_another(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    made = service.post("/v1/exceptions", exception(ticket="T-1"), by="vision-member")
    assert (made.status_code, made.json()["status"]["id"]) == (201, "vision.more")
    assert made.json()["spec"]["requestedBy"] == "vision-member"
    assert service.post("/v1/exceptions", exception(ticket="T-1"), by="vision-member").status_code == 200
    assert energy(service)["exceptions"] == "0", "asked for is not granted"
    approved = service.post("/v1/exceptions/vision.more/approval", {}, by="approver")
    assert (approved.status_code, approved.json()["status"]["state"]) == (200, "approved")
    assert approved.json()["spec"]["approvedBy"] == "approver"
    assert service.post("/v1/exceptions/vision.more/approval", {}, by="approver").json() == approved.json()
    after = energy(service)
    assert (after["exceptions"], after["limit"], after["available"]) == (str(5 * KWH), str(15 * KWH), str(15 * KWH))
    assert service.get("/v1/exceptions/vision.more").json() == approved.json()
    assert service.get("/v1/exceptions?state=approved&budget=vision").json() == {"exceptions": [approved.json()]}
    assert service.get("/v1/exceptions?state=requested").json() == {"exceptions": []}


def test_who_asks_does_not_approve_even_as_admin(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    sqlite_service.post("/v1/exceptions", exception())
    refused = sqlite_service.post("/v1/exceptions/vision.more/approval", {})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    assert energy(sqlite_service)["exceptions"] == "0"


def test_a_member_has_no_right_to_approve(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    sqlite_service.post("/v1/exceptions", exception())
    for by in ("vision-member", "budget_owner", "editor", "reader", "auditor", "meter"):
        assert sqlite_service.post("/v1/exceptions/vision.more/approval", {}, by=by).status_code == 403


def test_each_budget_needs_a_right_of_its_own(sqlite_service: Service) -> None:
    row = principal("vision-approver", Role.APPROVER, Grant("vision"))
    file = sqlite_service.settings.tokens_path
    file.write_text(file.read_text() + format_row(row) + "\n")
    sqlite_service.put("/v1/budgets/research", budget("research", scope=None))
    sqlite_service.put("/v1/budgets/vision", budget(parent="research"))
    sqlite_service.post("/v1/exceptions", exception("both", budgets=["vision", "research"]))
    assert sqlite_service.post("/v1/exceptions/vision.both/approval", {}, by="vision-approver").status_code == 200
    sqlite_service.put("/v1/budgets/speech", budget("speech", parent="research", scope={"namespaces": ["speech"]}))
    sqlite_service.post("/v1/exceptions", exception("more", budgets=["vision", "research"]))
    refused = sqlite_service.post("/v1/exceptions/vision.more/approval", {}, by="vision-approver")
    assert (refused.status_code, "research" in refused.json()["detail"]) == (403, True)
    assert sqlite_service.post("/v1/exceptions/vision.more/approval", {}, by="approver").status_code == 200


def test_only_the_operator_speaks_for_others(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    foreign = exception(requestedBy="alice")
    assert sqlite_service.post("/v1/exceptions", foreign, by="vision-member").status_code == 403
    made = sqlite_service.post("/v1/exceptions", foreign, by="operator")
    assert (made.status_code, made.json()["spec"]["requestedBy"]) == (201, "alice")
    approval = {"approved_by": "bob"}
    assert sqlite_service.post("/v1/exceptions/vision.more/approval", approval, by="approver").status_code == 403
    same = {"approved_by": "alice"}
    assert sqlite_service.post("/v1/exceptions/vision.more/approval", same, by="operator").status_code == 403
    given = sqlite_service.post("/v1/exceptions/vision.more/approval", approval, by="operator").json()
    assert given["spec"]["approvedBy"] == "bob"


def test_an_exception_is_seen_only_by_who_sees_its_namespace(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/speech", budget("speech", scope={"namespaces": ["speech"]}))
    sqlite_service.post("/v1/exceptions", exception(namespace="speech", budgets=["speech"]))
    assert sqlite_service.get("/v1/exceptions", by="vision-reader").json() == {"exceptions": []}
    assert sqlite_service.get("/v1/exceptions/speech.more", by="vision-reader").status_code == 404
    assert sqlite_service.post("/v1/exceptions", exception(namespace="speech"), by="vision-member").status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (exception(amount={}), "spec.amount"),
        (exception(amount={"energyKwh": "0"}), "spec.amount"),
        (exception(amount={"energyKwh": 5}), "spec.amount.energyKwh"),
        (exception(amount={"cost": {"amount": "5", "currency": "euro"}}), "spec.amount.cost.currency"),
        (exception(budgets=[]), "spec.budgets"),
        (exception(budgets=["nobody"]), "spec.budgets"),
        (exception(budgets=["vision", "vision"]), "spec.budgets"),
        (exception(expiresAt="2020-01-01T00:00:00Z"), "spec.expiresAt"),
        (exception(expiresAt=None), "spec.expiresAt"),
        (exception(reason=" "), "spec.reason"),
        (exception(reason="two\nlines"), "spec.reason"),
        (exception(approvedBy="me"), "spec.approvedBy"),
        (exception(budget="vision"), "spec.budget"),
        (exception(namespace="speech"), "spec.budgets"),
        (exception(namespace="a.b"), "metadata.namespace"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_by_field(
    sqlite_service: Service, body: dict[str, Any], field: str
) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    before = sqlite_service.fingerprint()
    refused = sqlite_service.post("/v1/exceptions", body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert sqlite_service.fingerprint() == before


def test_the_same_name_with_other_content_is_a_conflict(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    sqlite_service.post("/v1/exceptions", exception())
    assert sqlite_service.post("/v1/exceptions", exception(reason="another")).status_code == 409


def test_an_unknown_exception_is_not_found(sqlite_service: Service) -> None:
    assert sqlite_service.get("/v1/exceptions/vision.nobody").status_code == 404
    assert sqlite_service.post("/v1/exceptions/vision.nobody/approval", {}).status_code == 404
