"""Quantities in the units that formats ask for: exact where the unit allows it, else to twelve places after the point.

Units of the formats differ on purpose of nobody: SCI asks grams and kWh, a model card grams, CycloneDX kWh and
tonnes, SPDX kWh or MJ, the form of the AI Act MWh. A figure passes through here once, from whole base units.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from joulegate.core.units import MICROS, MJ_PER_KWH, NS_PER_HOUR, UG_PER_G, UG_PER_KG

_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PLACES: Final = Decimal("1e-12")
_UG_PER_T: Final = 10**12
_MJ_PER_MEGAJOULE: Final = 10**9
_MJ_PER_MWH: Final = 1_000 * MJ_PER_KWH
_NS_PER_DAY: Final = 24 * NS_PER_HOUR


def kwh(mj: int) -> Decimal:
    """Kilowatt-hours of millijoules: 3.6 x 10^9 mJ are one."""
    return _of(mj, MJ_PER_KWH)


def mwh(mj: int) -> Decimal:
    """Megawatt-hours of millijoules."""
    return _of(mj, _MJ_PER_MWH)


def megajoules(mj: int) -> Decimal:
    """Megajoules (10^6 J) of millijoules (10^-3 J); exact."""
    return _of(mj, _MJ_PER_MEGAJOULE)


def grams(ug: int) -> Decimal:
    """Grams of micrograms; exact."""
    return _of(ug, UG_PER_G)


def kilograms(ug: int) -> Decimal:
    """Kilograms of micrograms; exact."""
    return _of(ug, UG_PER_KG)


def tonnes(ug: int) -> Decimal:
    """Tonnes of micrograms; exact."""
    return _of(ug, _UG_PER_T)


def hours(ns: int) -> Decimal:
    """Hours of nanoseconds."""
    return _of(ns, NS_PER_HOUR)


def days(ns: int) -> Decimal:
    """Days of nanoseconds."""
    return _of(ns, _NS_PER_DAY)


def units_of(micros: int) -> Decimal:
    """Whole units of a currency of micros; exact."""
    return _of(micros, MICROS)


def written(value: Decimal) -> str:
    """A decimal without a power of ten and without needless zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def significant(value: Decimal, digits: int = 2) -> str:
    """At least ``digits`` significant digits, half even; whole digits are never dropped."""
    if not value:
        return "0"
    whole = len(str(abs(int(value))))
    return written(Context(prec=max(digits, whole), rounding=ROUND_HALF_EVEN).plus(value))


def _of(amount: int, base: int) -> Decimal:
    return _WIDE.divide(Decimal(amount), Decimal(base)).quantize(_PLACES, context=_WIDE)
