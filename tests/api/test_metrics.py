"""Metrics: the names of the contract, in base units, in a form that Prometheus reads."""

import re

from joulegate.core.budgets import Balance, Outcome, Reason
from joulegate.core.units import Unit
from joulegate_api.metrics import BUCKETS_S, Metrics

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? -?[0-9.e+-]+')


def values_of(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines), text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_decisions_and_their_times_are_counted() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.003, 0.003, 99.0):
        metrics.decided(Outcome.DENY, Reason.BUDGET_EXHAUSTED, seconds)
    values = values_of(metrics.text([]))
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
    values = values_of(Metrics().text([("vision", balances)]))
    assert values['joulegate_budget_limit{budget="vision",unit="joules"}'] == 5
    assert values['joulegate_budget_available{budget="vision",unit="joules"}'] == -2.5
    assert values['joulegate_budget_debt{budget="vision",unit="joules"}'] == 2.5
    assert values['joulegate_budget_posted{budget="vision",unit="grams_co2e"}'] == 2
    assert 'joulegate_budget_limit{budget="vision",unit="grams_co2e"}' not in values, "no limit is not a limit of zero"
    assert values['joulegate_budget_posted{budget="vision",unit="EUR"}'] == 1.5


def test_a_label_holds_any_text() -> None:
    values_of(Metrics().text([('a"b\\c\nd', [Balance(Unit.MJ, base=1)])]))


def test_the_build_is_named() -> None:
    assert any(name.startswith("joulegate_build_info{version=") for name in values_of(Metrics().text([])))
