"""Every format has units of its own; each conversion is exact, and the right way round."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate_api.reports import measures

KWH = 3_600_000_000


@pytest.mark.parametrize(
    ("unit", "amount", "expected"),
    [
        (measures.kwh, KWH, "1"),
        (measures.kwh, 1, "0.000000000278"),
        (measures.mwh, KWH, "0.001"),
        (measures.mwh, 1_287_000 * KWH, "1287"),
        (measures.megajoules, KWH, "3.6"),
        (measures.megajoules, 1, "0.000000001"),
        (measures.grams, 559_020_000, "559.02"),
        (measures.kilograms, 559_020_000, "0.55902"),
        (measures.tonnes, 559_020_000, "0.00055902"),
        (measures.tonnes, 1, "0.000000000001"),
        (measures.hours, 900 * 10**9, "0.25"),
        (measures.days, 43_200 * 10**9, "0.5"),
        (measures.units_of, 1_230_000, "1.23"),
    ],
)
def test_units_are_the_right_way_round(unit: object, amount: int, expected: str) -> None:
    assert callable(unit)
    assert measures.written(unit(amount)) == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**18))
def test_mass_and_megajoules_are_exact(amount: int) -> None:
    assert measures.grams(amount) * 10**6 == measures.kilograms(amount) * 10**9 == measures.tonnes(amount) * 10**12
    assert measures.megajoules(amount) * 10**9 == amount
    assert abs(measures.kwh(amount) * KWH - amount) <= KWH / Decimal(10**12)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.0012345", "0.0012"), ("0.0099999", "0.01"), ("12.3", "12"), ("1287.4", "1287"), ("0", "0"), ("0.5", "0.5")],
)
def test_two_significant_digits_never_drop_a_whole_one(value: str, expected: str) -> None:
    assert measures.significant(Decimal(value)) == expected
