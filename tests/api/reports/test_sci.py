"""SCI is (O + M) per R: a score for each functional unit, and a word of what lacks where there is none."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from joulegate.core.audit import AuditReport, EmbodiedBy, Query, audit
from joulegate.core.embodied import EmbodiedFigure
from joulegate.core.evidence import Evidence
from joulegate.core.periods import Period
from joulegate.core.records import Kind, RunOutcome, WorkDone
from joulegate.core.tallies import Fact
from joulegate_api.reports import sci
from tests.api.reports.reported import DAY, at_kwh
from tests.plugin.core.audited import NO_RATES, NOON

LOW = EmbodiedFigure("a100", "A100 40 GB", 127_600_000_000, "board", "Falk et al.", "arXiv 2509.00093", "CC BY 4.0")
HIGH = replace(LOW, product="A100 80 GB", ug=568_000_000_000, publisher="Boavizta", source="BoaviztAPI 2.5")
FIVE_YEARS = EmbodiedBy("0" * 64, 5)


def done(unit: str, amount: int, repeats: int = 1) -> WorkDone:
    return WorkDone("generate", unit, amount, repeats, NOON, NOON + timedelta(seconds=3), None, None)


def inferred(name: str, *work: WorkDone, kwh: str = "2", **more: Any) -> Fact:
    return at_kwh(name, kwh, kind=Kind.INFERENCE, work=work, **more)


def component(*facts: Fact, by: EmbodiedBy | None = FIVE_YEARS, figures: Any = (LOW, HIGH)) -> dict[str, Any]:
    (found,) = document(made(*facts, by=by, figures=figures))["components"]
    return dict(found)


def made(*facts: Fact, by: EmbodiedBy | None = FIVE_YEARS, figures: Any = (LOW, HIGH)) -> AuditReport:
    query = Query(DAY, None, embodied=by)
    return audit(query, facts, (), "joulegate 0", Evidence(figures=figures if by else ()))


def document(report: AuditReport) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(sci.render(report))
    return read


def test_a_score_is_operational_and_embodied_carbon_per_token() -> None:
    """2 kWh at 559.02 g/kWh are 1118.04 g; a quarter-hour of five years is 900 / 157,680,000 of a board."""
    found = component(inferred("a", done("tokens", 500_000, 2)))
    (score,) = found["scores"]
    assert (score["functional_unit"], score["amount"], score["operational_g_per_unit"]) == (
        "tokens",
        "1000000",
        "0.00111804",
    )
    share = {"low": "0.728311", "high": "3.242009"}  # 127.6 kg and 568 kg of it
    assert found["embodied_carbon_g"] == share
    for side in ("low", "high"):
        expected = (Decimal("1118.04") + Decimal(share[side])) / 1_000_000
        assert abs(Decimal(score["sci_g_per_unit"][side]) - expected) < Decimal("1e-11")
    assert score["missing"] is None
    assert found["methodology"] == {"E": "measured", "I": "sourced", "M": "sourced", "R": "measured"}


@pytest.mark.parametrize(
    ("facts", "by", "figures", "missing"),
    [
        ([inferred("a", done("tokens", 10))], None, (), "M: the report was made without an expected life"),
        ([inferred("a", done("tokens", 10))], FIVE_YEARS, (), "M: no source knows what making one NVIDIA A100 emits"),
        ([inferred("a", done("tokens", 10), rates=NO_RATES)], FIVE_YEARS, (LOW,), "O: 1 quarter-hours have no carbon"),
        ([inferred("a", done("tokens", 10)), inferred("b")], FIVE_YEARS, (LOW,), "R: 1 of 2 runs that succeeded"),
        ([inferred("a", done("tokens", 0))], FIVE_YEARS, (LOW,), "R: nothing was done"),
    ],
)
def test_what_lacks_is_said_and_is_not_zero(facts: list[Fact], by: EmbodiedBy, figures: Any, missing: str) -> None:
    (score,) = component(*facts, by=by, figures=figures)["scores"]
    assert score["sci_g_per_unit"] is None
    assert missing in score["missing"]


def test_without_recorded_work_there_is_no_score() -> None:
    found = component(inferred("a"))
    assert (found["scores"], found["scores_missing"]) == ([], "R: no run recorded work that it did")


def test_work_of_a_run_that_is_cut_by_the_period_is_not_parted() -> None:
    query = Query(Period(DAY.start, NOON + timedelta(minutes=15)), None, embodied=FIVE_YEARS)
    long = inferred("a", done("tokens", 10))
    long = replace(long, record=replace(long.record, ended_at=NOON + timedelta(hours=2)))
    (found,) = document(audit(query, [long], (), "joulegate 0", Evidence(figures=(LOW,))))["components"]
    assert "partly outside the period" in found["scores"][0]["missing"]


def test_a_failed_run_costs_and_units_are_never_added() -> None:
    failed = inferred("b", kwh="1", outcome=RunOutcome.FAILED)
    scores = component(inferred("a", done("tokens", 100), done("requests", 4)), failed)["scores"]
    assert [(score["functional_unit"], score["operational_g_per_unit"]) for score in scores] == [
        ("requests", "419.265"),  # 3 kWh
        ("tokens", "16.7706"),
    ]


def test_components_add_up_to_the_whole() -> None:
    facts = (inferred("a", done("tokens", 10)), at_kwh("t", "1", kind=Kind.TRAINING, work=(done("samples", 5),)))
    whole = document(made(*facts))
    for side in ("low", "high"):
        parts = [Decimal(each["embodied_carbon_g"][side]) for each in whole["components"]]
        assert sum(parts) == Decimal(whole["embodied_carbon_g"][side])
    parts = [Decimal(each["operational_carbon_g"]) for each in whole["components"]]
    assert sum(parts) == Decimal(whole["operational_carbon_g"])
    assert [each["persona"] for each in whole["components"]] == ["consumer", "provider"]
    assert any("EL 5 years" in each["name"] for each in whole["coefficients"])
