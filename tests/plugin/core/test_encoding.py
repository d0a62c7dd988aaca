"""Domain values are written plainly and read back equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.budgets import Budget, LabelRule, Limits, Outcome, Reason, Scope, SelectorOperator, Verdict
from joulegate.core.encoding import decode, encode, text
from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import Footprint
from joulegate.core.log import canonical
from joulegate.core.periods import CalendarRule, CalendarUnit, FixedRule, Period
from joulegate.core.units import Carbon, Energy, Money, Unit

AT = datetime(2026, 11, 23, 8, 15, 0, 123456, tzinfo=UTC)
WHOLE = st.integers(-(2**62), 2**62)


@dataclass(frozen=True)
class Mixed:
    duration_ns: int
    n: int
    share: float
    part: Fraction
    at: datetime
    energy: Energy | None
    names: tuple[str, ...]
    pair: tuple[int, str] | None = None
    flag: bool = False


@given(WHOLE, st.integers(0, 1000), st.floats(allow_nan=False), st.fractions(), st.none() | WHOLE.map(Energy))
def test_a_value_is_read_back_equal_and_has_a_canonical_form(
    duration_ns: int, n: int, share: float, part: Fraction, energy: Energy | None
) -> None:
    value = Mixed(duration_ns, n, share, part, AT, energy, ("a", "b"), (1, "x"), flag=True)
    written = encode(value)
    assert decode(Mixed, written) == value
    assert text(value).encode() == canonical(written)


def test_quantities_are_decimal_strings_under_a_key_that_ends_in_their_unit() -> None:
    written = encode(Footprint(Energy(12), Carbon(3), None, Money(5, "EUR")))
    assert written == {
        "energy_mj": "12",
        "carbon_location_ug": "3",
        "carbon_market_ug": None,
        "cost": {"micros": "5", "currency": "EUR"},
    }


@pytest.mark.parametrize(
    "value",
    [
        Verdict(
            Outcome.DENY,
            Reason.BUDGET_EXHAUSTED,
            "vision",
            Unit.MJ,
            asked=10,
            available=-3,
            fits=0,
            as_of=AT,
            warnings=("a",),
        ),
        Budget(
            "a", CalendarRule(CalendarUnit.MONTH, "Europe/Berlin"), Limits(energy_mj=10**18), warn_at_percent=(1, 2)
        ),
        Budget(
            "b",
            FixedRule(Period(AT, AT.replace(year=2027))),
            Limits(cost_micros=7, currency="EUR"),
            scope=Scope(("x",), (LabelRule("k", SelectorOperator.IN, ("v",)),), None),
        ),
    ],
)
def test_values_of_the_domain_are_read_back_equal(value: Any) -> None:
    assert decode(type(value), encode(value)) == value


@pytest.mark.parametrize("data", [{}, {"outcome": "perhaps"}, [], "text", 5])
def test_what_was_not_written_so_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInputError):
        decode(Verdict, data)


@dataclass(frozen=True)
class Grown:
    name: str
    energy: Energy | None = field(default=None, metadata={"later": True})
    notes: tuple[str, ...] = field(default=(), metadata={"later": True})


@pytest.mark.parametrize("value", [Grown("a"), Grown("a", Energy(5)), Grown("a", None, ("b",))])
def test_a_field_that_came_later_is_written_only_where_it_says_something(value: Grown) -> None:
    assert decode(Grown, encode(value)) == value


def test_what_was_written_before_a_field_existed_is_read_and_written_the_same() -> None:
    assert decode(Grown, {"name": "a"}) == Grown("a")
    assert encode(Grown("a")) == {"name": "a"}
