"""`joulegate ledger` checks, closes and prices again; `joulegate change` is what the second person does."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.running import PRICES, Service, budget, priced, record, token_of
from tests.plugin.cli.conftest import Command

MONTHLY: dict[str, Any] = {"period": {"unit": "Month"}, "carryOver": "Unused"}
SPAN = ("--since", "2026-11-01T00:00:00Z", "--until", "2026-12-01T00:00:00Z")
DEARER = {"rows": [PRICES["rows"][0] | {"micros_per_unit": "400000", "valid_from": "2026-01-01T00:00:00Z"}]}


def test_a_check_names_what_differs_and_exits_3(joulegate: Command, api: Service) -> None:
    api.put("/v1/budgets/vision", budget())
    api.post("/v1/records", record())
    good = joulegate("ledger", "check")
    assert (good.code, "nothing differs" in good.out) == (0, True)
    with api.store._database.write() as connection:
        connection.execute(text("UPDATE balances SET posted_mj = posted_mj + 1"))
    bad = joulegate("ledger", "check")
    assert bad.code == 3
    assert "balances vision 2026-01-01T00:00Z posted_mj" in bad.out
    told = joulegate("ledger", "check", "--json")
    assert (told.code, len(told.json["differences"])) == (3, 1)


def test_a_period_is_closed_and_one_that_is_not_over_exits_3(
    joulegate: Command, api: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(api.store._database, "_clock", lambda: datetime(2020, 1, 15, tzinfo=UTC))
        api.put("/v1/budgets/vision", budget(**MONTHLY))
    early = joulegate("ledger", "close", "2019-12")
    assert (early.code, "was written on 2020-01-15, after" in early.err) == (3, True)
    closed = joulegate("ledger", "close", "2020-01")
    assert (closed.code, "10 kWh" in closed.out) == (0, True)
    assert "was closed before" in joulegate("ledger", "close", "2020-01", "--budget", "vision").out
    refused = joulegate("ledger", "close", "2198-01", "--early")
    assert (refused.code, "can be closed from 2198-02-01" in refused.err) == (3, True)
    for period, said in (("2026-13", "is no period"), ("2026-Q1", "not a period of any open budget")):
        wrong = joulegate("ledger", "close", period)
        assert (wrong.code, said in wrong.err, wrong.err.count("\n")) == (1, True, 1)


def test_pricing_again_is_shown_first_and_made_by_a_second_person(
    joulegate: Command, api: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(api)
    api.put("/v1/budgets/vision", budget(limits={"cost": {"amount": "1", "currency": "EUR"}}))
    api.post("/v1/records", record())
    api.put("/v1/prices", DEARER)
    assert joulegate("ledger", "reprice", *SPAN).code == 2
    shown = joulegate("ledger", "reprice", *SPAN, "--dry-run")
    assert (shown.code, "1 records" in shown.err, "waits" in shown.err) == (0, True, False)
    assert joulegate("change", "list").err == "nothing waits for a second person\n"
    asked = joulegate("ledger", "reprice", *SPAN, "--reason", "an invoice", "--json").json
    change_id = asked["change"]["change_id"]
    assert joulegate("change", "approve", change_id).code == 1
    monkeypatch.setenv("JOULEGATE_TOKEN", token_of("approver"))
    assert "2026-11-01T00:00:00Z" in joulegate("change", "show", change_id).out
    done = joulegate("change", "approve", change_id)
    assert (done.code, "1 records" in done.out) == (0, True)
    assert [row["state"] for row in joulegate("change", "list", "--all", "--json").json] == ["approved"]
    late = joulegate("change", "reject", change_id)
    assert (late.code, "409" in late.err) == (1, True)
    monkeypatch.setenv("JOULEGATE_TOKEN", token_of("auditor"))
    assert joulegate("ledger", "check").code == 0


@pytest.mark.slow
def test_without_an_api_every_command_says_so(joulegate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEGATE_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("JOULEGATE_TOKEN", "x")
    done = joulegate("ledger", "check")
    assert (done.code, "no answer from http://127.0.0.1:9" in done.err, done.err.count("\n")) == (1, True, 1)
