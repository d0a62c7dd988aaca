"""Metrics: the names of the contract, in base units, in a form that Prometheus reads."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from joulegate.core.budgets import Balance, Outcome, Reason
from joulegate.core.units import Money, Unit
from joulegate_api.metrics import BUCKETS_S, LedgerState, LogState, Metrics
from joulegate_api.store import HoldState, Overview, Store
from tests.api.running import Service, budget, priced, record

LINE = re.compile(r'[a-z][a-z_0-9]*(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? -?[0-9.e+-]+')


def values_of(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines), text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.fixture
def dated(database_url: str, tmp_path: Path) -> Iterator[Service]:
    """The application on the day after the record's."""
    opened = Store.open(database_url, clock=lambda: datetime(2026, 11, 21, tzinfo=UTC))
    running = Service(opened, tmp_path)
    with running.client:
        yield running
    opened.close()


def ledger(balances: Sequence[tuple[str, Sequence[Balance]]] = ()) -> LedgerState:
    overview = Overview(
        since=datetime(2026, 11, 1, tzinfo=UTC),
        energy_mj=7_500,
        carbon_ug=2_500_000,
        costs=(Money(1_250_000, "EUR"), Money(5, "USD")),
        unpriced_quarters=3,
        holds={HoldState.CONFIRMED: 2, HoldState.EXPIRED: 0},
    )
    return LedgerState(balances, overview, LogState(0.5, 12.0, 0))


def test_decisions_and_their_times_are_counted() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.003, 0.003, 99.0):
        metrics.decided(Outcome.DENY, Reason.BUDGET_EXHAUSTED, seconds)
    values = values_of(metrics.text())
    assert values['joulegate_admission_decisions_total{outcome="deny",reason="BudgetExhausted"}'] == 4
    assert values['joulegate_admission_duration_seconds_bucket{le="0.001"}'] == 1
    assert values['joulegate_admission_duration_seconds_bucket{le="0.005"}'] == 3
    assert values['joulegate_admission_duration_seconds_bucket{le="+Inf"}'] == 4
    assert values["joulegate_admission_duration_seconds_count"] == 4
    assert len(BUCKETS_S) == len(set(BUCKETS_S))


def test_balances_are_gauges_in_base_units() -> None:
    balances = [
        Balance(Unit.MJ, base=5_000, posted=7_000, pending=500),
        Balance(Unit.UG, base=None, posted=2_000_000),
        Balance(Unit.MICROS, base=3_000_000, posted=1_500_000, currency="EUR"),
    ]
    values = values_of(Metrics().text(ledger([("vision", balances)])))
    assert values['joulegate_budget_limit{budget="vision",unit="joules"}'] == 5
    assert values['joulegate_budget_available{budget="vision",unit="joules"}'] == -2.5
    assert values['joulegate_budget_debt{budget="vision",unit="joules"}'] == 2.5
    assert values['joulegate_budget_posted{budget="vision",unit="grams_co2e"}'] == 2
    assert 'joulegate_budget_limit{budget="vision",unit="grams_co2e"}' not in values, "no limit is not a limit of zero"
    assert values['joulegate_budget_posted{budget="vision",unit="EUR"}'] == 1.5


def test_a_label_holds_any_text() -> None:
    values_of(Metrics().text(ledger([('a"b\\c\nd', [Balance(Unit.MJ, base=1)])])))


def test_the_build_is_named() -> None:
    assert any(name.startswith("joulegate_build_info{version=") for name in values_of(Metrics().text()))


def test_the_month_the_holds_and_what_waits_for_a_price_are_gauges() -> None:
    values = values_of(Metrics().text(ledger()))
    assert values["joulegate_period_energy_joules"] == 7.5
    assert values["joulegate_period_emissions_grams_co2e"] == 2.5
    assert values['joulegate_period_cost{currency="EUR"}'] == 1.25
    assert values["joulegate_unpriced_quarters"] == 3
    assert values['joulegate_holds{state="confirmed"}'] == 2
    assert values["joulegate_log_checkpoint_age_seconds"] == 12


def test_the_month_holds_what_was_charged_in_it(dated: Service) -> None:
    assert "joulegate_period_energy_joules 0.0" in dated.get("/metrics").text
    dated.put("/v1/budgets/vision", budget())
    dated.post("/v1/records", record("r1"))
    values = values_of(dated.get("/metrics").text)
    posted = int(dated.get("/v1/budgets/vision/balance?at=2026-11-20T09:00:00Z").json()["energy"]["posted"])
    assert values["joulegate_period_energy_joules"] == posted / 1_000 > 0
    assert values["joulegate_unpriced_quarters"] == 1, "no factor and no price is known"
    priced(dated)
    dated.store.pricing.price_unpriced()
    values = values_of(dated.get("/metrics").text)
    assert values["joulegate_unpriced_quarters"] == 0
    assert values["joulegate_period_emissions_grams_co2e"] > 0
    assert values['joulegate_period_cost{currency="EUR"}'] > 0


def test_the_ledger_is_told_of_by_the_replica_that_leads(service: Service, database_url: str) -> None:
    other = Store.open(database_url)
    assert "joulegate_holds" in service.get("/metrics").text
    other.sequencer.take()
    text = service.get("/metrics").text
    assert "joulegate_holds" not in text
    assert "joulegate_build_info" in text
    other.sequencer.stand_down()
    other.close()
    assert "joulegate_holds" in service.get("/metrics").text, "nobody leads"
