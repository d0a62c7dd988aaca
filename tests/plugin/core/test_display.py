"""Quantities are shown to three digits in the unit that fits, and what is unknown is said in words."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core import display
from joulegate.core.units import Unit


@pytest.mark.parametrize(
    ("mj", "text"),
    [
        (None, "not measured"),
        (0, "0 J"),
        (1, "1 mJ"),
        (999, "999 mJ"),
        (1_000, "1 J"),
        (442_123, "442 J"),
        (3_600_000, "1 Wh"),
        (5 * 3_600_000_000, "5 kWh"),
        (12_345 * 3_600_000_000_000_000, "12,345 GWh"),
        (Fraction(1, 3), "0.333 mJ"),
        (-1_500, "-1.5 J"),
    ],
)
def test_energy_is_shown_in_the_unit_that_fits(mj: Fraction | int | None, text: str) -> None:
    assert display.energy(mj) == text


def test_carbon_and_money_say_what_they_are_of() -> None:
    assert display.carbon(360_000) == "360 mg CO2e"
    assert display.carbon(0) == "0 g CO2e"
    assert display.carbon(None) == "not priced"
    assert display.money(1_234_567_890, "EUR") == "1,234.57 EUR"
    assert display.money(248, "EUR") == "0.000248 EUR"
    assert display.money(Fraction(3, 40), "EUR") == "7.50e-08 EUR"
    assert display.money(0, "EUR") == "0 EUR"
    assert display.amount(None, Unit.MICROS, missing="no limit") == "no limit"


def test_a_column_has_one_unit_that_of_its_largest_figure() -> None:
    scale = display.common_scale([Fraction(16), None, 18_900], display.ENERGY)
    assert scale.unit == "J"
    assert display.energy(Fraction(162, 10), scale=scale) == "0.0162 J"
    assert display.energy_between(806, 1_010) == "0.806 to 1.01 J"
    assert display.common_scale([], display.CARBON).unit == "g"


def test_instants_durations_and_shares_are_readable() -> None:
    assert display.moment(datetime(2026, 11, 23, 8, 5, 1, 999_999, tzinfo=UTC)) == "2026-11-23 08:05:01 UTC"
    assert display.duration(3_530_000_000) == "3.53 s"
    assert display.duration(0) == "0 s"
    assert display.percent(Fraction(9_959, 10_000), 4) == "99.59 %"


@given(st.integers(min_value=1, max_value=10**18))
def test_what_is_shown_is_within_half_a_percent_of_what_is_kept(mj: int) -> None:
    number, unit = display.energy(mj).rsplit(" ", 1)
    base = next(scale.base_units for scale in display.ENERGY if scale.unit == unit)
    assert abs(Fraction(number.replace(",", "")) * base - mj) <= Fraction(mj, 200)
