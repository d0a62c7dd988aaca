"""Quantities as whole numbers, and the two rules by which they are rounded and split.

A quantity is one integer of its base unit, inside a type that only adds to its
own kind. Sums are therefore exact and do not depend on order. Division happens
in two places only: :func:`divide_half_even` (a quantity times a factor) and
:func:`split_by_largest_remainder` (a quantity shared among several).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, Self

from joulegate.core.errors import InvalidInputError

MJ_PER_KWH: Final = 3_600_000_000
UG_PER_KG: Final = 1_000_000_000
UG_PER_G: Final = 1_000_000
MICROS: Final = 1_000_000
UL_PER_L: Final = 1_000_000
NS_PER_SECOND: Final = 1_000_000_000
NS_PER_HOUR: Final = 3_600 * NS_PER_SECOND

LIMIT_MAX: Final = 10**18
"""Largest limit of a budget, in base units; sums of postings stay far below 2**63."""


_LONGEST_DECIMAL = 40


class Unit(StrEnum):
    """The base units that budgets are kept in."""

    MJ = "mj"
    UG = "ug"
    MICROS = "micros"


def divide_half_even(numerator: int, denominator: int) -> int:
    """Divide whole numbers and round to the nearest, ties to the even neighbour.

    The only rounding of a quantity times a factor. ``denominator`` must be
    positive; raises ``ValueError`` otherwise.
    """
    if denominator <= 0:
        message = f"denominator must be positive, not {denominator}"
        raise ValueError(message)
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        quotient += 1
    return quotient


def split_by_largest_remainder(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Share ``total`` among subjects in proportion to ``weights``, to the last unit.

    The parts sum to ``total`` exactly. Units that are left after rounding down
    go to the largest remainders; equal remainders are served in the order of the
    subjects' names. Where every weight is zero the split is equal. Raises
    ``ValueError`` for a negative total, a negative weight or no subject.
    """
    if total < 0 or not weights or min(weights.values()) < 0:
        message = f"cannot split {total} among {dict(weights)}"
        raise ValueError(message)
    whole = sum(weights.values())
    if whole == 0:
        weights = dict.fromkeys(weights, 1)
        whole = len(weights)
    floors = {name: divmod(total * weight, whole) for name, weight in weights.items()}
    parts = {name: quotient for name, (quotient, _) in floors.items()}
    by_remainder = sorted(floors, key=lambda name: (-floors[name][1], name))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def parse_whole(text: str, units_per_one: int, field: str) -> int:
    """Read a decimal string such as ``"1.5"`` as whole base units.

    ``units_per_one`` is how many base units make one of what is written (kWh to
    mJ: 3,600,000,000). Raises :class:`InvalidInputError` where ``text`` is not a
    plain decimal number, is negative, is not a whole base unit, or is too large.
    """
    try:
        number = Decimal(text.strip())
    except (InvalidOperation, AttributeError):
        raise InvalidInputError(f"{text!r} is not a decimal number", field) from None
    if not number.is_finite() or number < 0:
        raise InvalidInputError(f"{text!r} must be a finite number, zero or more", field)
    if len(text) > _LONGEST_DECIMAL or abs(number.adjusted()) > _LONGEST_DECIMAL:  # 1E+999999 is cheap to write
        raise InvalidInputError(f"{text[:_LONGEST_DECIMAL]!r} is out of range", field)
    numerator, denominator = number.as_integer_ratio()
    units, rest = divmod(numerator * units_per_one, denominator)
    if rest:
        raise InvalidInputError(f"{text!r} is not a whole number of base units (1 = {units_per_one})", field)
    if units > LIMIT_MAX:
        raise InvalidInputError(f"{text!r} is too large", field)
    return units


def format_whole(units: int, units_per_one: int) -> str:
    """Write whole base units as the shortest exact decimal string; inverse of :func:`parse_whole`.

    ``units_per_one`` has no prime factors but 2 and 5, or is a multiple of
    3600: the fraction is then written to at most 12 digits, rounded half even.
    """
    number = Decimal(units) / Decimal(units_per_one)
    text = f"{number:.12f}".rstrip("0").rstrip(".")
    return text or "0"


@dataclass(frozen=True, order=True, slots=True)
class Energy:
    """Energy in whole millijoules."""

    mj: int

    def __add__(self, other: Self) -> Energy:
        """Add exactly."""
        return Energy(self.mj + other.mj)

    def __sub__(self, other: Self) -> Energy:
        """Subtract exactly; the result may be negative (a correction)."""
        return Energy(self.mj - other.mj)


@dataclass(frozen=True, order=True, slots=True)
class Power:
    """Power in whole milliwatts."""

    mw: int

    def over(self, duration_ns: int) -> Energy:
        """Energy of this power held for ``duration_ns``, rounded half even."""
        return Energy(divide_half_even(self.mw * duration_ns, NS_PER_SECOND))


@dataclass(frozen=True, order=True, slots=True)
class Carbon:
    """Greenhouse gases in whole micrograms of CO2 equivalent."""

    ug: int

    def __add__(self, other: Self) -> Carbon:
        """Add exactly."""
        return Carbon(self.ug + other.ug)

    def __sub__(self, other: Self) -> Carbon:
        """Subtract exactly; the result may be negative (a correction)."""
        return Carbon(self.ug - other.ug)


@dataclass(frozen=True, slots=True)
class Money:
    """Money in whole millionths of a named currency (ISO 4217); currencies never mix."""

    micros: int
    currency: str

    def __add__(self, other: Self) -> Money:
        """Add exactly; raises ``ValueError`` for another currency: nothing is converted."""
        self._same_currency(other)
        return Money(self.micros + other.micros, self.currency)

    def __sub__(self, other: Self) -> Money:
        """Subtract exactly; raises ``ValueError`` for another currency."""
        self._same_currency(other)
        return Money(self.micros - other.micros, self.currency)

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            message = f"{self.currency} and {other.currency} are different currencies"
            raise ValueError(message)
