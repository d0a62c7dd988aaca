"""A report adds up to the last unit in every direction, and says so where it does not."""

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.core.audit import AuditReport, Decided, PackOf, Query, audit
from joulegate.core.encoding import encode
from joulegate.core.evidence import Evidence
from joulegate.core.metering import Boundary, Method
from joulegate.core.periods import QUARTER, Period
from joulegate.core.records import RunOutcome, Source
from joulegate.core.scopes import Scope, ScopeKind
from joulegate.core.tallies import Fact, Tier
from joulegate.core.units import Energy
from tests.plugin.core.audited import NO_RATES, NOON, RATES, PricedSlice, fact, record

DAY = Period(NOON - timedelta(hours=12), NOON + timedelta(hours=12))


def report(*facts: Fact, period: Period = DAY, decided: tuple[Decided, ...] = ()) -> AuditReport:
    return audit(Query(period, None), facts, decided, "joulegate 0")


def changed(of: Fact, **footprint: object) -> Fact:
    """A fact whose first slice says something else than was computed."""
    first, *rest = of.slices
    assert isinstance(first, PricedSlice)
    return replace(of, slices=(replace(first, footprint=replace(first.footprint, **footprint)), *rest))  # type: ignore[arg-type] # varied


def test_totals_are_sums_of_runs_and_devices_and_recompute() -> None:
    made = report(fact(record("a", [1_000_003, 2_000_001])), fact(record("b", [7], device="GPU-2")))
    (total,) = made.totals
    assert total.energy_mj == 3_000_011
    expected = [RATES.apply(Energy(mj), 0) for mj in (1_000_003, 2_000_001, 7)]
    assert total.carbon_location_ug == sum(part.carbon_location.ug for part in expected if part.carbon_location)
    assert [cost.micros for cost in total.costs] == [sum(part.cost.micros for part in expected if part.cost)]
    assert made.recomputed
    assert [check.items for check in made.checks] == [3, 3, 1, 0]
    assert [row.uuid for row in made.devices] == ["GPU-1", "GPU-2"]


def test_what_was_not_measured_is_counted_as_time_and_never_as_zero_energy() -> None:
    made = report(fact(record("a", [5, None])), fact(record("b", [None])))
    (total,) = made.totals
    assert (total.energy_mj, total.energy_unknown) == (5, 2)
    assert total.missing_ns == 2 * 900 * 10**9
    shares = {share.tier: share for share in made.shares}
    assert shares[Tier.NOT_MEASURED].gpu_ns == 2 * 900 * 10**9
    assert shares[Tier.MEASURED].energy_mj == 5
    (alone,) = report(fact(record("b", [None]))).totals
    assert alone.energy_mj is None


def test_measured_replayed_and_estimated_energy_stand_apart() -> None:
    made = report(
        fact(record("a", [1])),
        fact(record("b", [20], method=Method.REPLAYED, source=Source.REPLAYED)),
        fact(record("c", [300], method=Method.DECLARED, source=Source.DECLARED)),
    )
    assert {share.tier: share.energy_mj for share in made.shares} == {
        Tier.MEASURED: 1,
        Tier.REPLAYED: 20,
        Tier.ESTIMATED: 300,
        Tier.NOT_MEASURED: 0,
    }


def test_figures_of_different_boundaries_are_never_added() -> None:
    one = fact(record("a", [10]))
    node = replace(fact(record("b", [100])), slices=tuple(replace(s, boundary=Boundary.NODE) for s in one.slices))  # type: ignore[type-var] # a dataclass here
    assert {total.boundary: total.energy_mj for total in report(one, node).totals} == {
        Boundary.ACCELERATOR: 10,
        Boundary.NODE: 10,
    }


def test_a_quarter_hour_without_rates_is_listed_with_what_it_lacks() -> None:
    made = report(fact(record("a", [10]), NO_RATES), fact(record("b", [20], device="GPU-2")))
    (row,) = made.unpriced
    assert (row.record_id, row.energy_mj, row.lacks) == ("record-a", 10, ("carbon", "cost"))
    (total,) = made.totals
    assert (total.energy_mj, total.carbon_location_unknown) == (30, 1)
    assert made.recomputed


@pytest.mark.parametrize("change", [{"carbon_location": None}, {"cost": None}, {"energy": Energy(11)}])
def test_a_figure_that_does_not_follow_from_the_record_is_named(change: dict[str, object]) -> None:
    made = report(changed(fact(record("a", [10_000_000])), **change))
    assert not made.recomputed
    named = [difference for check in made.checks for difference in check.differences]
    assert any("record-a, GPU-1, 2026-11-23T12:00:00Z" in difference for difference in named)


def test_the_reports_of_two_periods_that_meet_add_up_to_that_of_both() -> None:
    facts = [fact(record("a", [1, 20, 300, 4_000])), fact(record("b", [50_000], begin=NOON + 2 * QUARTER))]
    cut = NOON + 2 * QUARTER
    first = report(*facts, period=Period(DAY.start, cut))
    second = report(*facts, period=Period(cut, DAY.end))
    both = report(*facts)
    assert [part.totals[0].energy_mj for part in (first, second, both)] == [21, 54_300, 54_321]
    assert first.recomputed
    assert second.recomputed


def test_decisions_are_counted_by_outcome_and_reason() -> None:
    decided = tuple(
        Decided(outcome, reason, NOON)
        for outcome, reason in [("allow", "WithinBudget"), ("deny", "BudgetExhausted"), ("deny", "BudgetExhausted")]
    )
    made = report(decided=decided)
    assert [(row.outcome, row.reason, row.count) for row in made.decisions] == [
        ("allow", "WithinBudget", 1),
        ("deny", "BudgetExhausted", 2),
    ]
    assert made.refusals == 2


def test_gains_of_one_board_add_up_and_those_of_two_boards_do_not() -> None:
    def width(*devices: str) -> int:
        made = report(*(fact(record(f"{i}", [1_000_000], device=device)) for i, device in enumerate(devices)))
        assert made.interval is not None
        return made.interval.upper_mj - made.interval.lower_mj

    assert width("GPU-1", "GPU-1") > width("GPU-1", "GPU-2") > width("GPU-1")


def test_a_report_says_which_rows_priced_how_much() -> None:
    made = report(fact(record("a", [10, 20])))
    assert [(row.kind, row.slices, row.energy_mj) for row in made.rates] == [
        ("location-based intensity", 2, 30),
        ("price", 2, 30),
        ("site", 2, 30),
    ]
    assert {row.reference.licence for row in made.rates} == {"CC BY 4.0"}


def test_the_digest_does_not_depend_on_the_order_of_facts_and_changes_with_each_of_them() -> None:
    a, b = fact(record("a", [10])), fact(record("b", [20]))
    assert report(a, b).digest == report(b, a).digest
    assert report(a, b).digest != report(a, replace(b, self_reported=False)).digest


def test_a_report_of_nothing_is_a_report() -> None:
    made = report()
    assert made.recomputed
    assert (made.totals, made.interval, made.as_of) == ((), None, DAY.start)


energies = st.lists(st.none() | st.integers(0, 10**12), max_size=4)


@settings(max_examples=50)
@given(st.lists(energies, max_size=5))
def test_every_report_recomputes_and_its_quantities_are_decimal_strings(rows: list[list[int | None]]) -> None:
    made = report(*(fact(record(f"r{index}", mjs, device=f"GPU-{index % 2}")) for index, mjs in enumerate(rows)))
    assert made.recomputed
    known = [mj for mjs in rows for mj in mjs if mj is not None]
    assert sum(total.energy_mj or 0 for total in made.totals) == sum(known)
    written = json.dumps(encode(made))
    assert not re.search(r'"(energy_mj|micros|gpu_ns|missing_ns|carbon_location_ug)": \d', written)


def test_a_model_has_its_failed_and_cancelled_runs_too() -> None:
    ended = [
        fact(replace(record(name, [mj]), outcome=outcome))
        for name, mj, outcome in (
            ("a", 1, RunOutcome.SUCCEEDED),
            ("b", 20, RunOutcome.FAILED),
            ("c", 300, RunOutcome.CANCELLED),
        )
    ]
    foreign = fact(replace(record("d", [4_000]), model="another"))
    query = Query(DAY, None, Scope(ScopeKind.MODEL, "digits"))
    made = audit(query, [*ended, foreign], (), "joulegate 0")
    assert [total.energy_mj for total in made.totals] == [321]
    assert {run.outcome for run in made.runs} == {"succeeded", "failed", "cancelled"}


def test_the_same_energy_under_another_pack_stands_beside_and_changes_no_total() -> None:
    assert RATES.location
    row = replace(RATES.location, ug_per_kwh=2 * RATES.location.ug_per_kwh)
    query = Query(DAY, None, against=PackOf("other", "0" * 64))
    facts = [fact(record("a", [3_600_000_000, 7])), fact(record("b", [5]), NO_RATES)]
    made = audit(query, facts, (), "joulegate 0", Evidence(intensities=(row,)))
    (beside,) = made.under_pack
    assert beside.in_force_ug == made.totals[0].carbon_location_ug
    assert beside.under_pack_ug == pytest.approx(2 * beside.in_force_ug, abs=1)
    assert (beside.slices, beside.unknown) == (3, 1)
    assert made.recomputed
