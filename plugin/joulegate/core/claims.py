"""Published footprints, recomputed from the inputs that were published with them.

A claim is checked, never trusted: energy is ``energy_kwh``, else ``gpu_hours`` x
``watts`` / 1000; then x ``pue`` (blank: 1); mass is that energy x
``intensity_g_per_kwh``. Arithmetic is exact; only a printed ratio is rounded. A
figure that was claimed and cannot be recomputed leaves the claim undecidable,
even where another one agrees.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from joulegate.core import display
from joulegate.core.cells import read_table
from joulegate.core.errors import InvalidInputError

KG_PER: Final = {
    "g": Fraction(1, 1000),
    "kg": Fraction(1),
    "t": Fraction(1000),
    "lb": Fraction("0.45359237"),
}
"""Kilograms in the mass units of printed tables; the pound is exact (agreement of 1959)."""

NUMBERS: Final = (
    "gpu_hours",
    "energy_kwh",
    "watts",
    "pue",
    "intensity_g_per_kwh",
    "claimed_kwh",
    "claimed_mass",
    "tolerance_percent",
)
COLUMNS: Final = ("name", *NUMBERS[:-1], "unit", NUMBERS[-1])

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_LONGEST_NUMBER: Final = 40
_LARGEST_EXPONENT: Final = 18
_EXACT: Final = Context(prec=400)


class ClaimVerdict(StrEnum):
    """What recomputing says about a published figure."""

    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True, slots=True)
class PublishedClaim:
    """One row of a published table; None where it says nothing.

    ``unit`` is that of ``claimed_mass``: g, kg, t or lb.
    """

    name: str
    gpu_hours: Fraction | None = None
    energy_kwh: Fraction | None = None
    watts: Fraction | None = None
    pue: Fraction | None = None
    intensity_g_per_kwh: Fraction | None = None
    claimed_kwh: Fraction | None = None
    claimed_mass: Fraction | None = None
    unit: str | None = None
    tolerance_percent: Fraction | None = None


@dataclass(frozen=True, slots=True)
class ClaimCheck:
    """A claim beside what its own inputs give.

    Ratios are recomputed / claimed; None where there is nothing to divide.
    """

    name: str
    recomputed_kwh: Fraction | None
    recomputed_kg: Fraction | None
    ratio_energy: Fraction | None
    ratio_mass: Fraction | None
    verdict: ClaimVerdict
    reason: str

    def row(self) -> dict[str, str | float | None]:
        """The object of ``joulegate claims --json``.

        Quantities are exact decimal strings, ratios are numbers of nine digits.
        """
        return {
            "name": self.name,
            "recomputed_kwh": _written(self.recomputed_kwh),
            "recomputed_kg": _written(self.recomputed_kg),
            "ratio_energy": _rounded(self.ratio_energy),
            "ratio_mass": _rounded(self.ratio_mass),
            "verdict": self.verdict.value,
            "reason": self.reason,
        }


def read_claims(lines: Iterable[str], file: str) -> Iterator[PublishedClaim]:
    """Read a table of claims from the lines of a CSV file, keeping their line ends.

    Columns may come in any order; unknown ones are passed over and a known one that
    is missing is blank in every row, except ``name``. Lines that begin with ``#`` and
    empty lines are passed over. Raises :class:`InvalidInputError` that names
    ``file:line`` for anything that cannot be read.
    """
    return (_claim(row, place) for place, row in read_table(lines, file, COLUMNS, "name"))


def _claim(row: Mapping[str, str], place: str) -> PublishedClaim:
    if not row["name"]:
        raise InvalidInputError("the row has no name", place)
    unit = row["unit"] or None
    if unit is not None and unit not in KG_PER:
        message = f"unit {unit[:_LONGEST_NUMBER]!r} is none of {', '.join(KG_PER)}"
        raise InvalidInputError(message, place)
    numbers = {column: _number(row[column], column, place) for column in NUMBERS}
    return PublishedClaim(name=row["name"], unit=unit, **numbers)


def _number(text: str, column: str, place: str) -> Fraction | None:
    if not text:
        return None
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        message = f"{column} {text[:_LONGEST_NUMBER]!r} is not a decimal number"
        raise InvalidInputError(message, place)
    number = Decimal(text)
    if number < 0:
        raise InvalidInputError(f"{column} {text} is negative", place)
    if number and abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise InvalidInputError(f"{column} {text} is out of range", place)
    return Fraction(number)


def check_claim(claim: PublishedClaim) -> ClaimCheck:
    """Recompute one claim and compare each figure that it states.

    The tolerance is a percentage of the claimed figure. Raises nothing: what cannot be
    decided is an answer.
    """
    kwh = _energy_kwh(claim)
    kg = _mass_kg(claim, kwh)
    to_kg = KG_PER.get(claim.unit or "")
    claimed_kg = claim.claimed_mass * to_kg if claim.claimed_mass is not None and to_kg else None
    comparable = kg if to_kg else "the unit of claimed_mass is blank"
    claimed_mass = claim.claimed_mass if claimed_kg is None else claimed_kg
    findings = [
        _compare(what, recomputed, claimed, claim.tolerance_percent)
        for what, recomputed, claimed in (
            ("energy", kwh, claim.claimed_kwh),
            ("mass", comparable, claimed_mass),
        )
        if claimed is not None
    ]
    return ClaimCheck(
        name=claim.name,
        recomputed_kwh=_value(kwh),
        recomputed_kg=_value(kg),
        ratio_energy=_ratio(kwh, claim.claimed_kwh),
        ratio_mass=_ratio(kg, claimed_kg),
        verdict=_worst({verdict for verdict, _ in findings}),
        reason="; ".join(text for _, text in findings) or "nothing is claimed",
    )


_Known = Fraction | str
"""A figure, or why there is none."""


def _worst(verdicts: set[ClaimVerdict]) -> ClaimVerdict:
    for verdict in (ClaimVerdict.INCONSISTENT, ClaimVerdict.UNDECIDABLE, ClaimVerdict.CONSISTENT):
        if verdict in verdicts:
            return verdict
    return ClaimVerdict.UNDECIDABLE


def _energy_kwh(claim: PublishedClaim) -> _Known:
    pue = 1 if claim.pue is None else claim.pue
    if claim.energy_kwh is not None:
        return claim.energy_kwh * pue
    if claim.gpu_hours is None:
        return "energy_kwh and gpu_hours are blank"
    if claim.watts is None:
        return "energy_kwh and watts are blank"
    return claim.gpu_hours * claim.watts / 1000 * pue


def _mass_kg(claim: PublishedClaim, kwh: _Known) -> _Known:
    if isinstance(kwh, str):
        return kwh
    if claim.intensity_g_per_kwh is None:
        return "intensity_g_per_kwh is blank"
    return kwh * claim.intensity_g_per_kwh / 1000


def _compare(
    what: str, recomputed: _Known, claimed: Fraction, tolerance_percent: Fraction | None
) -> tuple[ClaimVerdict, str]:
    if isinstance(recomputed, str):
        return ClaimVerdict.UNDECIDABLE, f"{what} cannot be compared: {recomputed}"
    if recomputed == claimed:
        return ClaimVerdict.CONSISTENT, f"{what} agrees exactly"
    if claimed == 0:
        return ClaimVerdict.INCONSISTENT, f"{what} is claimed to be 0, and its inputs give more"
    words = f"{what} recomputes to {_deviation(recomputed / claimed)} the claim"
    if tolerance_percent is None:
        return ClaimVerdict.UNDECIDABLE, f"{words}, and tolerance_percent is blank"
    tolerance = f"{_written(tolerance_percent)} %"
    if abs(recomputed - claimed) * 100 <= tolerance_percent * claimed:
        return ClaimVerdict.CONSISTENT, f"{words}, within {tolerance}"
    return ClaimVerdict.INCONSISTENT, f"{words}, outside {tolerance}"


def _deviation(ratio: Fraction) -> str:
    if not Fraction(1, 2) < ratio < 2:  # noqa: PLR2004 -- from two on, a factor reads better
        return f"{float(ratio):.4g} times"
    return f"{display.percent(abs(ratio - 1))} {'above' if ratio > 1 else 'below'}"


def _value(known: _Known) -> Fraction | None:
    return None if isinstance(known, str) else known


def _ratio(recomputed: _Known, claimed: Fraction | None) -> Fraction | None:
    return recomputed / claimed if isinstance(recomputed, Fraction) and claimed else None


def _rounded(ratio: Fraction | None) -> float | None:
    return None if ratio is None else float(f"{float(ratio):.9g}")


def _written(value: Fraction | None) -> str | None:
    # The decimal is exact: products of decimal numbers always end.
    if value is None:
        return None
    text = f"{_EXACT.divide(Decimal(value.numerator), Decimal(value.denominator)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
