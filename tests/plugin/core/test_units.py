"""Law 1, whole numbers: sums are exact, splits are complete, rounding is half even."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.units import (
    LIMIT_MAX,
    MJ_PER_KWH,
    Energy,
    Money,
    Power,
    divide_half_even,
    format_whole,
    parse_whole,
    split_by_largest_remainder,
)

WHOLE = st.integers(min_value=0, max_value=10**18)
WEIGHTS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 10**12), min_size=1)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**18))
def test_division_rounds_to_the_nearest_and_ties_to_the_even_neighbour(numerator: int, denominator: int) -> None:
    quotient = divide_half_even(numerator, denominator)
    assert 2 * abs(quotient * denominator - numerator) <= denominator
    if 2 * abs(quotient * denominator - numerator) == denominator:
        assert quotient % 2 == 0


@given(st.integers(-(10**6), 10**6), st.sampled_from([2, 4, 10, 100, 1000]))
def test_division_agrees_with_the_decimal_module(numerator: int, denominator: int) -> None:
    expected = (Decimal(numerator) / denominator).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert divide_half_even(numerator, denominator) == int(expected)


def test_division_by_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        divide_half_even(1, 0)


@given(WHOLE, WEIGHTS)
def test_law_1_a_split_is_complete_and_each_part_is_within_one_unit(total: int, weights: dict[str, int]) -> None:
    parts = split_by_largest_remainder(total, weights)
    assert sum(parts.values()) == total
    assert parts.keys() == weights.keys()
    whole = sum(weights.values())
    for name, part in parts.items():
        exact = total * weights[name] if whole else total
        assert abs(part * (whole or len(weights)) - exact) < (whole or len(weights))


@given(WHOLE, WEIGHTS)
def test_a_split_does_not_depend_on_the_order_of_its_subjects(total: int, weights: dict[str, int]) -> None:
    backwards = dict(reversed(list(weights.items())))
    assert split_by_largest_remainder(total, backwards) == split_by_largest_remainder(total, weights)


def test_equal_remainders_are_served_in_the_order_of_names() -> None:
    for order in permutations("abc"):
        assert split_by_largest_remainder(2, dict.fromkeys(order, 1)) == {"a": 1, "b": 1, "c": 0}


@pytest.mark.parametrize("weights", [{}, {"a": -1, "b": 2}])
def test_a_split_among_nobody_or_by_negative_weights_is_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot split"):
        split_by_largest_remainder(1, weights)


@given(st.integers(0, LIMIT_MAX // 9).map(lambda k: 9 * k))  # a ninth of an mJ has no decimal kWh
def test_a_limit_reads_back_as_it_was_written(mj: int) -> None:
    assert parse_whole(format_whole(mj, MJ_PER_KWH), MJ_PER_KWH, "limit") == mj


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a decimal"),
        ("12 kWh", "not a decimal"),
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ("-1", "zero or more"),
        ("1e999999", "out of range"),
        ("1e-999999", "out of range"),
        ("9" * 41, "out of range"),
        ("1" + "0" * 30, "too large"),
        ("0.0000000001", "whole number of base units"),
    ],
)
def test_what_is_no_whole_limit_is_refused_with_its_field(text: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why) as caught:
        parse_whole(text, MJ_PER_KWH, "spec.limits.energyKwh")
    assert caught.value.field == "spec.limits.energyKwh"


def test_quantities_add_only_to_their_own_kind() -> None:
    assert Energy(1) + Energy(2) == Energy(3)
    with pytest.raises(ValueError, match="different currencies"):
        Money(1, "EUR") + Money(1, "USD")


def test_300_watts_for_half_a_second_are_150_joules() -> None:
    assert Power(300_000).over(500_000_000) == Energy(150_000)
