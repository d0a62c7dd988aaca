"""What moves money waits for a second person where that is asked for; re-pricing always does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegate.tokens import Grant, Role, format_row
from joulegate_api.store import Store
from tests.api.running import FACTORS, PRICES, SITES, Service, budget, priced, principal, record

KWH = 3_600_000_000


@pytest.fixture
def guarded(store: Store, tmp_path: Path) -> Iterator[Service]:
    """A service that wants two persons."""
    running = Service(store, tmp_path, two_person=True)
    rows = [principal("second-owner", Role.BUDGET_OWNER), principal("vision-owner", Role.BUDGET_OWNER, Grant("vision"))]
    file = running.settings.tokens_path
    file.write_text(file.read_text() + "".join(format_row(row) + "\n" for row in rows))
    with running.client:
        yield running


def test_a_limit_waits_for_a_second_person(guarded: Service) -> None:
    waits = guarded.put("/v1/budgets/vision", budget(), by="budget_owner")
    assert (waits.status_code, waits.json()["state"], waits.json()["kind"]) == (202, "waiting", "budget")
    again = guarded.put("/v1/budgets/vision", budget(), by="budget_owner")
    assert again.json() == waits.json(), "the same wish waits once"
    assert guarded.get("/v1/budgets/vision").status_code == 404
    path = f"/v1/changes/{waits.json()['change_id']}"
    assert guarded.get(path).json()["body"]["spec"]["limits"] == {"energyKwh": "10"}
    assert guarded.post(f"{path}/approval", {}, by="budget_owner").status_code == 403, "its maker is no checker"
    assert guarded.post(f"{path}/approval", {}, by="editor").status_code == 403, "an editor checks no limit"
    made = guarded.post(f"{path}/approval", {}, by="second-owner")
    assert (made.status_code, made.json()["state"], made.json()["decided_by"]) == (200, "approved", "second-owner")
    assert guarded.get("/v1/budgets/vision").status_code == 200
    assert guarded.post(f"{path}/approval", {}, by="second-owner").json()["state"] == "approved"
    assert guarded.post(f"{path}/rejection", {}, by="approver").status_code == 409
    assert guarded.get("/v1/changes").json() == {"changes": []}
    assert len(guarded.get("/v1/changes?all=true").json()["changes"]) == 1
    assert guarded.store.trial_balance.run().differences == ()


def test_factors_prices_and_sites_wait_too(guarded: Service) -> None:
    for kind, body in (("factors", FACTORS), ("prices", PRICES), ("sites", SITES)):
        waits = guarded.put(f"/v1/{kind}", body, by="editor")
        assert waits.status_code == 202
        assert guarded.get(f"/v1/{kind}").json() == {"rows": []}
        made = guarded.post(f"/v1/changes/{waits.json()['change_id']}/approval", {}, by="approver")
        assert made.json()["made"]["added"] == 1
        assert len(guarded.get(f"/v1/{kind}").json()["rows"]) == 1


def test_a_rejected_change_changes_nothing_and_its_maker_may_take_it_back(guarded: Service) -> None:
    first = guarded.put("/v1/budgets/vision", budget(), by="budget_owner").json()["change_id"]
    assert guarded.post(f"/v1/changes/{first}/rejection", {"note": "no"}, by="approver").json()["state"] == "rejected"
    assert guarded.post(f"/v1/changes/{first}/approval", {}, by="approver").status_code == 409
    second = guarded.put("/v1/budgets/vision", budget(), by="budget_owner").json()["change_id"]
    assert second != first
    assert guarded.post(f"/v1/changes/{second}/rejection", {}, by="budget_owner").json()["state"] == "rejected"
    assert guarded.get("/v1/budgets/vision").status_code == 404


def test_closing_a_budget_waits_and_what_the_operator_brings_does_not(guarded: Service) -> None:
    assert guarded.put("/v1/budgets/vision", budget(), by="operator").status_code == 201
    waits = guarded.call("DELETE", "/v1/budgets/vision", by="budget_owner")
    assert waits.status_code == 202
    assert guarded.get("/v1/budgets/vision").status_code == 200
    guarded.post(f"/v1/changes/{waits.json()['change_id']}/approval", {}, by="approver")
    assert guarded.get("/v1/budgets/vision").status_code == 404
    assert guarded.call("DELETE", "/v1/budgets/nobody", by="budget_owner").status_code == 404


def test_a_wrong_change_is_refused_before_it_waits(guarded: Service) -> None:
    assert guarded.put("/v1/budgets/vision", budget(limits={}), by="budget_owner").status_code == 422
    assert guarded.put("/v1/prices", {"rows": []}, by="editor").status_code == 422
    assert guarded.get("/v1/changes").json() == {"changes": []}
    assert guarded.get("/v1/changes/nobody").status_code == 404
    assert guarded.post("/v1/changes/nobody/approval", {}).status_code == 404


DEARER = {"rows": [PRICES["rows"][0] | {"micros_per_unit": "400000", "valid_from": "2026-01-01T00:00:00Z"}]}
WHOLE = {"since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z", "reason": "a corrected invoice"}


def test_pricing_again_says_what_it_would_do_and_waits_for_another(service: Service) -> None:
    priced(service)
    service.put("/v1/budgets/vision", budget(limits={"cost": {"amount": "1", "currency": "EUR"}}))
    service.post("/v1/records", record())
    posted = service.get("/v1/budgets/vision/balance").json()["cost"]["posted"]
    service.put("/v1/prices", DEARER)
    asked = service.post("/v1/ledger/repricings", WHOLE | {"dry_run": True}, by="editor")
    assert (asked.status_code, asked.json()["change"], asked.json()["records"]) == (200, None, 1)
    assert [charge["posted"]["micros"] for charge in asked.json()["charges"]] == [posted]
    waits = service.post("/v1/ledger/repricings", WHOLE, by="editor")
    assert (waits.status_code, waits.json()["change"]["reason"]) == (202, "a corrected invoice")
    path = f"/v1/changes/{waits.json()['change']['change_id']}/approval"
    assert service.get("/v1/budgets/vision/balance").json()["cost"]["posted"] == posted
    assert service.post(path, {}, by="editor").status_code == 403
    assert service.post(path, {}, by="second").status_code == 401
    done = service.post(path, {}, by="approver")
    assert (done.status_code, done.json()["made"]) == (200, {"repriced": 1})
    assert service.get("/v1/budgets/vision/balance").json()["cost"]["posted"] == str(2 * int(posted))
    assert service.get("/v1/ledger/check").json()["differences"] == []
    left = service.post("/v1/ledger/repricings", WHOLE | {"dry_run": True}).json()
    assert (left["records"], left["charges"]) == (0, [])
