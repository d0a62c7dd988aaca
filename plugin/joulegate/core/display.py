"""Quantities as people read them: three digits and the unit that fits.

For reading only. What is computed with, compared or sent is the whole number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Final

from joulegate.core.units import MICROS, NS_PER_SECOND, Unit

NOT_MEASURED: Final = "not measured"
NOT_PRICED: Final = "not priced"
DIGITS: Final = 3
_PLAIN_MONEY: Final = Fraction(1, 1_000_000)
"""Less than this is written with a power of ten: nobody counts that many zeros."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A unit to show a quantity in, and how many base units make one of it."""

    unit: str
    base_units: Fraction


def _scales(*rows: tuple[str, int | Fraction]) -> tuple[Scale, ...]:
    return tuple(Scale(unit, Fraction(base)) for unit, base in rows)


ENERGY: Final = _scales(
    ("mJ", 1),
    ("J", 1_000),
    ("Wh", 3_600_000),
    ("kWh", 3_600_000_000),
    ("MWh", 3_600_000_000_000),
    ("GWh", 3_600_000_000_000_000),
)
CARBON: Final = _scales(("ug", 1), ("mg", 1_000), ("g", 10**6), ("kg", 10**9), ("t", 10**12), ("kt", 10**15))
TIME: Final = _scales(("ns", 1), ("ms", 10**6), ("s", NS_PER_SECOND), ("min", 60 * NS_PER_SECOND), ("h", 3600 * 10**9))


_PLAIN: Final = ("J", "g", "s")


def scale_for(largest: Fraction | int, scales: tuple[Scale, ...]) -> Scale:
    """The largest unit of which ``largest`` is at least one, else the smallest; zero is in a plain unit."""
    for scale in reversed(scales):
        base = scale.base_units
        # Compared crosswise in whole numbers: every decision is told in words, and fractions are slow.
        if abs(largest.numerator) * base.denominator >= base.numerator * largest.denominator:
            return scale
    return scales[0] if largest else next(scale for scale in scales if scale.unit in _PLAIN)


def common_scale(values: Iterable[Fraction | int | None], scales: tuple[Scale, ...]) -> Scale:
    """One unit for a column, so that its figures can be compared at a glance: that of the largest."""
    return scale_for(max((abs(Fraction(value)) for value in values if value is not None), default=Fraction(0)), scales)


def rounded(value: Fraction | int, digits: int = DIGITS) -> str:
    """``value`` to ``digits`` significant digits, half even, with commas; whole digits are never dropped."""
    whole_digits = len(str(abs(int(value))))
    context = Context(prec=max(digits, whole_digits), rounding=ROUND_HALF_EVEN)
    fraction = Fraction(value)
    number = context.divide(Decimal(fraction.numerator), Decimal(fraction.denominator))
    return f"{number:,f}" if number else "0"


def in_scale(value: Fraction | int, scale: Scale) -> str:
    """``value``, in base units, as a number of ``scale``'s unit, without the unit."""
    return rounded(Fraction(value) / scale.base_units)


def energy(mj: Fraction | int | None, missing: str = NOT_MEASURED, scale: Scale | None = None) -> str:
    """Energy given in mJ; ``scale`` is one unit for a whole column."""
    return _shown(mj, ENERGY, missing, scale)


def energy_between(lower_mj: Fraction | int, upper_mj: Fraction | int, scale: Scale | None = None) -> str:
    """An interval of energy, both ends in one unit: that of the upper unless ``scale`` is given."""
    scale = scale or scale_for(upper_mj, ENERGY)
    return f"{in_scale(lower_mj, scale)} to {in_scale(upper_mj, scale)} {scale.unit}"


def carbon(ug: Fraction | int | None, missing: str = NOT_PRICED, scale: Scale | None = None) -> str:
    """Greenhouse gases given in ug; the unit is of CO2 equivalent."""
    text = _shown(ug, CARBON, missing, scale)
    return text if ug is None else f"{text} CO2e"


def money(micros: Fraction | int | None, currency: str | None, missing: str = NOT_PRICED) -> str:
    """Money given in micros: cents where it is one unit or more, three digits where it is less."""
    if micros is None:
        return missing
    amount = Fraction(micros) / MICROS
    if 0 < abs(amount) < _PLAIN_MONEY:
        text = f"{float(amount):.2e}"
    else:
        text = f"{_cents(amount):,f}" if abs(amount) >= 1 else rounded(amount)
    return f"{text} {currency}" if currency else text


def amount(value: Fraction | int | None, unit: Unit, currency: str | None = None, missing: str = "none") -> str:
    """An amount of any unit that budgets are kept in."""
    if unit is Unit.MJ:
        return energy(value, missing)
    return carbon(value, missing) if unit is Unit.UG else money(value, currency, missing)


def duration(ns: Fraction | int) -> str:
    """A length of time given in ns."""
    return _shown(ns, TIME, "")


def moment(instant: datetime) -> str:
    """An instant in UTC, to the second."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def percent(share: Fraction | float, digits: int = 2) -> str:
    """A share of one as a percentage."""
    return f"{rounded(Fraction(share) * 100, digits)} %"


def _shown(value: Fraction | int | None, scales: tuple[Scale, ...], missing: str, scale: Scale | None = None) -> str:
    if value is None:
        return missing
    scale = scale or scale_for(value, scales)
    return f"{in_scale(value, scale)} {scale.unit}"


def _cents(amount: Fraction) -> Decimal:
    exact = Context(prec=60).divide(Decimal(amount.numerator), Decimal(amount.denominator))
    return exact.quantize(Decimal("0.01"), ROUND_HALF_EVEN, Context(prec=60))
