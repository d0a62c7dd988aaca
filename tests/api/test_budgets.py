"""Budgets over HTTP: objects as in YAML, and balances with a place for every unit."""

from typing import Any

import pytest

from joulegate.core.units import Unit
from joulegate_api.budgets import balance_json
from tests.api.running import Service, budget, job, priced, record, review


def test_a_budget_is_made_read_changed_and_closed(service: Service) -> None:
    written = budget(limits={"energyKwh": "120", "cost": {"amount": "500", "currency": "EUR"}})
    made = service.put("/v1/budgets/vision", written)
    assert made.status_code == 201
    assert made.json()["spec"]["limits"] == written["spec"]["limits"]
    assert service.put("/v1/budgets/vision", written).status_code == 200
    assert service.put("/v1/budgets/vision", made.json()).status_code == 200, "what was answered is what was asked"
    assert service.get("/v1/budgets/vision").json() == made.json()
    assert service.get("/v1/budgets").json() == {"budgets": [made.json()]}
    changed = budget(limits={"energyKwh": "60", "cost": {"amount": "500", "currency": "EUR"}})
    assert service.put("/v1/budgets/vision", changed).status_code == 201
    assert service.get("/v1/budgets/vision/balance").json()["energy"]["limit"] == str(60 * 3_600_000_000)
    closed = service.call("DELETE", "/v1/budgets/vision")
    assert (closed.status_code, closed.content) == (204, b"")
    assert service.get("/v1/budgets/vision").status_code == 404
    assert service.get("/v1/budgets").json() == {"budgets": []}


def test_a_balance_has_every_unit_and_null_where_there_is_no_limit(service: Service) -> None:
    priced(service)
    service.put("/v1/budgets/vision", budget(limits={"energyKwh": "10"}))
    service.post("/v1/admission/validate", review(job()))
    service.post("/v1/records", record())
    balance = service.get("/v1/budgets/vision/balance").json()
    assert set(balance) == {"budget", "period", "energy", "carbon", "cost", "as_of", "adopting"}
    assert balance["period"] == {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}
    energy = balance["energy"]
    assert (energy["unit"], energy["limit"], energy["posted"]) == ("mj", "36000000000", "60000000")
    assert energy["pending"] == str(400 * 3_600_000)
    assert int(energy["available"]) == int(energy["limit"]) - int(energy["posted"]) - int(energy["pending"])
    carbon, cost = balance["carbon"], balance["cost"]
    assert (carbon["unit"], carbon["limit"], carbon["available"], carbon["posted"]) == ("ug", None, None, "8000000")
    assert (cost["unit"], cost["limit"], cost["posted"], cost["currency"]) == ("micros", None, "4000", "EUR")


def test_a_balance_is_shown_for_another_period_and_as_it_stood(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    service.post("/v1/records", record())
    past = service.get("/v1/budgets/vision/balance?at=2025-06-01T00:00:00Z").json()
    assert (past["period"]["end"], past["energy"]["posted"]) == ("2026-01-01T00:00:00Z", "0")
    before = service.get("/v1/budgets/vision/balance?as_of=2026-01-02T00:00:00Z").json()
    assert before["energy"]["posted"] == "0"
    assert before["as_of"] == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize("query", ["at=now", "at=9999-01-01T00:00:00Z", "at=0001-01-01T00:00:00Z", "as_of=x", "when=x"])
def test_a_query_that_breaks_a_rule_is_refused(sqlite_service: Service, query: str) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    assert sqlite_service.get(f"/v1/budgets/vision/balance?{query}").status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (budget("another"), "metadata.name"),
        (budget(limits={}), "spec.limits"),
        (budget(limits={"energyKwh": 10}), "spec.limits.energyKwh"),
        (budget(limits={"energyKwh": "-1"}), "spec.limits.energyKwh"),
        (budget(limits={"energyKwh": "NaN"}), "spec.limits.energyKwh"),
        (budget(limits={"energyKwh": "1e999"}), "spec.limits.energyKwh"),
        (budget(limits={"energyKwh": "0.0000000001"}), "spec.limits.energyKwh"),
        (budget(limits={"energyWh": "1"}), "spec.limits.energyWh"),
        (budget(limits={"cost": {"amount": "1", "currency": "euro"}}), "spec.limits.cost.currency"),
        (budget(parent="nobody"), "spec.parent"),
        (budget(parent="vision"), "spec.parent"),
        (budget(period={"unit": "Fortnight"}), "spec.period.unit"),
        (budget(period={"unit": "Month", "timezone": "Mars"}), "spec.period.timezone"),
        (budget(enforcement="Maybe"), "spec.enforcement"),
    ],
)
def test_a_budget_that_breaks_a_rule_is_refused_by_field(
    sqlite_service: Service, body: dict[str, Any], field: str
) -> None:
    before = sqlite_service.fingerprint()
    refused = sqlite_service.put("/v1/budgets/vision", body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["field"] == field
    assert sqlite_service.fingerprint() == before


def test_a_budget_with_children_is_not_closed(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    sqlite_service.put("/v1/budgets/child", budget("child", parent="vision"))
    assert sqlite_service.call("DELETE", "/v1/budgets/vision").status_code == 409


def test_a_unit_without_a_balance_is_shown_empty() -> None:
    assert balance_json(Unit.MJ, None)["posted"] == "0"
    assert balance_json(Unit.MJ, None)["limit"] is None
    assert balance_json(Unit.MICROS, None)["currency"] is None


def test_a_budget_whose_span_is_over_has_no_current_balance(sqlite_service: Service) -> None:
    over = {"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}
    sqlite_service.put("/v1/budgets/vision", budget())
    sqlite_service.put("/v1/budgets/over", budget("over", period=over))
    found = sqlite_service.get("/v1/balances").json()["balances"]
    assert [each["budget"] for each in found] == ["vision"]


def test_all_balances_together_are_those_of_each_budget(service: Service) -> None:
    names = [f"budget-{number}" for number in range(3)]
    for number, name in enumerate(names):
        scope = {"namespaces": [name]}
        service.put(f"/v1/budgets/{name}", budget(name, scope=scope, limits={"energyKwh": str(number + 1)}))
    service.post("/v1/admission/validate", review(job(namespace=names[1], gpus=1, duration="10m"), namespace=names[1]))
    together = {each["budget"]: each for each in service.get("/v1/balances").json()["balances"]}
    assert sorted(together) == names
    assert together[names[1]]["energy"]["pending"] != "0"
    for name in names:
        alone = service.get(f"/v1/budgets/{name}/balance").json()
        assert together[name] | {"as_of": None} == alone | {"as_of": None}
