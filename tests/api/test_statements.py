"""A balance explained: pending by run, exceptions, and a forecast that says what it rests on."""

from tests.api.running import Service, budget, record
from tests.api.test_exceptions import exception
from tests.api.test_holds import asked

KWH = 3_600_000_000


def test_every_part_of_a_balance_is_explained(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    service.post("/v1/records", record())
    for uid in ("uid-1", "uid-2"):
        service.post(f"/v1/holds/{uid}/request", asked(name=uid))
    service.post("/v1/exceptions", exception())
    service.post("/v1/exceptions/vision.more/approval", {}, by="approver")
    found = service.get("/v1/budgets/vision/statement").json()
    balance = service.get("/v1/budgets/vision/balance").json()
    energy = {key: value for key, value in found["energy"].items() if key in balance["energy"]}
    assert energy == balance["energy"]
    assert [run["name"] for run in found["runs"]] == ["uid-1", "uid-2"]
    assert sum(int(run["pending"]["mj"]) for run in found["runs"]) == int(energy["pending"])
    (grant,) = found["exceptions"]
    assert (grant["exception_id"], grant["granted"]["mj"], grant["expired_at"]) == ("vision.more", str(5 * KWH), None)
    rate = found["energy"]["rate"]
    assert (rate["drawn"], rate["per_day"]) == ("60000000", "60000000")
    assert found["carbon"]["rate"]["forecast"] == "no_limit"
    unpriced = [found[name]["unpriced_mj"] for name in ("energy", "carbon", "cost")]
    assert unpriced == ["0", "60000000", "60000000"], "no rate is known, and not priced is not nothing"


def test_without_a_draw_there_is_no_forecast(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget())
    rate = sqlite_service.get("/v1/budgets/vision/statement").json()["energy"]["rate"]
    assert (rate["forecast"], rate["drawn"], rate["exhausted_at"]) == ("nothing_drawn", "0", None)


def test_runs_of_other_namespaces_are_summed_up_without_a_name(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/all", budget("all", scope={}))
    sqlite_service.post("/v1/holds/uid-1/request", asked(name="own"))
    sqlite_service.post("/v1/holds/uid-2/request", asked(name="secret", namespace="speech"))
    found = sqlite_service.get("/v1/budgets/all/statement", by="vision-reader")
    assert [run["name"] for run in found.json()["runs"]] == ["own"]
    assert found.json()["other_runs"]["count"] == 1
    assert "speech" not in found.text
    assert "secret" not in found.text


def test_an_unknown_budget_has_no_statement(sqlite_service: Service) -> None:
    assert sqlite_service.get("/v1/budgets/nobody/statement").status_code == 404
    sqlite_service.put("/v1/budgets/vision", budget())
    assert sqlite_service.get("/v1/budgets/vision/statement?at=now").status_code == 422
