"""Budget objects: what people write is read strictly and written back to the same value."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.budgets import (
    Budget,
    CarryOver,
    Enforcement,
    LabelRule,
    Limits,
    OnExhausted,
    Scope,
    SelectorOperator,
    WhenUndecidable,
)
from joulegate.core.errors import InvalidInputError
from joulegate.core.objects import budget_from_object, budget_to_object
from joulegate.core.periods import CalendarRule, CalendarUnit, FixedRule, Period
from joulegate.core.records import Kind
from tests.budget_objects import EXAMPLE, REFUSED, changed

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
INSTANTS = st.datetimes(timezones=st.just(UTC), max_value=datetime(2200, 1, 1))  # noqa: DTZ001 - zone given
RULES = st.one_of(
    st.builds(CalendarRule, st.sampled_from(CalendarUnit), st.sampled_from(["UTC", "Asia/Kathmandu"])),
    st.tuples(INSTANTS, INSTANTS).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: FixedRule(Period(*pair))),
)
LABEL_RULES = st.one_of(
    st.builds(LabelRule, NAMES, st.sampled_from([SelectorOperator.EXISTS, SelectorOperator.DOES_NOT_EXIST])),
    st.builds(
        LabelRule,
        NAMES,
        st.sampled_from([SelectorOperator.IN, SelectorOperator.NOT_IN]),
        st.lists(NAMES, min_size=1, max_size=3).map(tuple),
    ),
)
LIMITS = st.one_of(
    st.builds(Limits, energy_mj=st.integers(0, 10**15).map(lambda k: 9 * k), carbon_ug=st.integers(0, 10**18)),
    st.builds(Limits, cost_micros=st.integers(0, 10**18), currency=st.just("EUR")),
)
SCOPES = st.builds(
    Scope,
    st.none() | st.lists(NAMES, max_size=3).map(tuple),
    st.lists(LABEL_RULES, max_size=2).map(tuple),
    st.none() | st.lists(st.sampled_from([kind.value for kind in Kind]), max_size=3).map(tuple),
)
BUDGETS = st.builds(
    Budget,
    name=NAMES,
    period=RULES,
    limits=LIMITS,
    parent=st.none() | NAMES,
    scope=SCOPES,
    selectable=st.just(True),  # noqa: FBT003 - a strategy
    default=st.booleans(),
    enforcement=st.sampled_from(Enforcement),
    when_undecidable=st.sampled_from(WhenUndecidable),
    on_exhausted=st.sampled_from(OnExhausted),
    horizon_ns=st.integers(1, 366 * 86_400 * 10**9),
    hold_quantile=st.integers(500_000, 990_000).map(lambda millionths: Fraction(millionths, 10**6)),
    warn_at_percent=st.sets(st.integers(1, 100)).map(lambda percents: tuple(sorted(percents))),
    carry_over=st.sampled_from(CarryOver),
)


@given(BUDGETS)
def test_a_budget_reads_back_as_it_was_written(budget: Budget) -> None:
    assert budget_from_object(budget_to_object(budget)) == budget


def test_the_example_of_the_documentation_gets_its_defaults() -> None:
    budget = budget_from_object(EXAMPLE)
    assert budget.limits == Limits(432_000_000_000, 40_000_000_000, 500_000_000, "EUR")
    assert (budget.enforcement, budget.hold_quantile, budget.warn_at_percent) == (
        Enforcement.DENY,
        Fraction(9, 10),
        (50, 80, 95),
    )


@pytest.mark.parametrize(
    ("path", "value", "field"),
    REFUSED,
)
def test_what_is_wrong_is_refused_and_named(path: str, value: object, field: str | None) -> None:
    with pytest.raises(InvalidInputError) as caught:
        budget_from_object(changed(path, value))
    assert field is None or caught.value.field == field


@pytest.mark.parametrize("source", [None, [], "Budget", 7, {}])
def test_what_is_no_object_is_refused(source: object) -> None:
    with pytest.raises(InvalidInputError):
        budget_from_object(source)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_nothing_but_an_invalid_input_error_comes_of_bad_content(spec: object) -> None:
    with pytest.raises(InvalidInputError):
        budget_from_object(changed("spec", spec))
