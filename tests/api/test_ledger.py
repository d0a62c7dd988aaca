"""The ledger over HTTP: trial balance, and the close of a period."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.api.running import Service, budget, record

KWH = 3_600_000_000
MONTHLY: dict[str, Any] = {"period": {"unit": "Month", "timezone": "Europe/Berlin"}}


def test_what_differs_is_named_to_the_row(service: Service) -> None:
    service.put("/v1/budgets/vision", budget())
    service.post("/v1/records", record())
    good = service.get("/v1/ledger/check").json()
    assert (good["differences"], good["balances"]) == ([], 1)
    with service.store._database.write() as connection:
        connection.execute(text("UPDATE balances SET posted_mj = posted_mj + 7"))
    found = service.get("/v1/ledger/check").json()["differences"]
    assert found == [{"row": "balances vision 2026-01-01T00:00Z posted_mj", "kept": "60000007", "expected": "60000000"}]


def test_a_period_is_closed_once_and_its_rest_is_carried(service: Service) -> None:
    service.put("/v1/budgets/vision", budget(carryOver="Unused", **MONTHLY))
    service.put("/v1/budgets/other", budget("other", period={"unit": "Year"}))
    (refused,) = service.post("/v1/ledger/closes", {"period": "2026-10"}).json()["refused"]
    assert "after that period" in refused["reason"]
    with service.store._database.write() as connection:
        connection.execute(text("UPDATE budget_revisions SET recorded_at = '2026-10-05 00:00:00.000000'"))
    closed = service.post("/v1/ledger/closes", {"period": "2026-10"})
    assert closed.status_code == 200, closed.text
    (done,) = closed.json()["closed"]
    assert done["period"] == {"start": "2026-09-30T22:00:00Z", "end": "2026-10-31T23:00:00Z"}
    assert (done["carried"]["mj"], done["into"], done["repeat"]) == (str(10 * KWH), "2026-10-31T23:00:00Z", False)
    (again,) = service.post("/v1/ledger/closes", {"period": "2026-10", "budget": "vision"}).json()["closed"]
    assert (again["repeat"], again["carried"]["mj"]) == (True, "0")
    balance = service.get("/v1/budgets/vision/balance?at=2026-11-15T00:00:00Z").json()["energy"]
    assert (balance["carried"], balance["limit"]) == (str(10 * KWH), str(20 * KWH))
    assert service.get("/v1/ledger/check").json()["differences"] == []


def test_a_period_that_is_not_over_is_refused_with_its_day(sqlite_service: Service) -> None:
    sqlite_service.put("/v1/budgets/vision", budget(period={"unit": "Year"}))
    found = sqlite_service.post("/v1/ledger/closes", {"period": "2198", "early": True}).json()
    assert found["closed"] == []
    assert [row["budget"] for row in found["refused"]] == ["vision"]
    assert "2199-01-01T00:00:00Z" in found["refused"][0]["reason"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"period": "2026-13"}, 422),
        ({"period": "October"}, 422),
        ({"period": "2026-W54"}, 422),
        ({"period": "2026-Q4"}, 404),
        ({"period": "2026-10", "budget": "nobody"}, 404),
        ({"period": "2026", "budget": "vision"}, 404),
        ({"period": "2026-10", "force": True}, 422),
        ({}, 422),
    ],
)
def test_what_is_no_period_is_refused(sqlite_service: Service, body: dict[str, Any], status: int) -> None:
    sqlite_service.put("/v1/budgets/vision", budget(**MONTHLY))
    assert sqlite_service.post("/v1/ledger/closes", body).status_code == status


def test_a_span_that_ends_before_it_begins_is_refused(sqlite_service: Service) -> None:
    span = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-01T00:00:00Z", "reason": "x"}
    assert sqlite_service.post("/v1/ledger/repricings", span).status_code == 422
