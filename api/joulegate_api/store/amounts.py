"""Energy, carbon and money side by side, as they stand in one row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Row

from joulegate.core.units import Unit

UNITS = tuple(Unit)
_PLACE = {unit: place for place, unit in enumerate(UNITS)}


class Amounts(NamedTuple):
    """Base units of energy, carbon and money; None is unknown, which is not zero."""

    mj: int | None = 0
    ug: int | None = 0
    micros: int | None = 0

    def of(self, unit: Unit) -> int | None:
        """The amount in ``unit``."""
        return self[_PLACE[unit]]

    def plus(self, other: Amounts) -> Amounts:
        """What is known of both; unknown only where neither is known."""
        return Amounts(*map(_known_sum, self, other))

    def negated(self) -> Amounts:
        """The amounts that take these back."""
        return Amounts(*(None if amount is None else -amount for amount in self))

    def known(self) -> Amounts:
        """Zero where unknown: what a sum can be changed by."""
        return Amounts(self.mj or 0, self.ug or 0, self.micros or 0)

    def where(self, known: Amounts) -> Amounts:
        """Zero in the units in which ``known`` is unknown."""
        return Amounts(*(0 if other is None else amount for amount, other in zip(self, known, strict=True)))

    def columns(self, stem: str) -> dict[str, int | None]:
        """As the columns ``stem_mj``, ``stem_ug`` and ``stem_micros``."""
        return {f"{stem}_{unit}": amount for unit, amount in zip(UNITS, self, strict=True)}

    def written(self) -> dict[str, str | None]:
        """As decimal strings for the log."""
        return {unit.value: None if amount is None else str(amount) for unit, amount in zip(UNITS, self, strict=True)}

    def text(self) -> str:
        """As :meth:`written`, in the canonical form of an entry."""
        mj, ug, micros = ("null" if amount is None else f'"{amount}"' for amount in self)
        return f'{{"micros":{micros},"mj":{mj},"ug":{ug}}}'

    @classmethod
    def read(cls, row: Row[Any], stem: str) -> Amounts:
        """From the columns of ``stem``."""
        return cls(*(getattr(row, f"{stem}_{unit}") for unit in UNITS))


NOTHING = Amounts(0, 0, 0)
UNKNOWN = Amounts(None, None, None)


def total(parts: Iterable[Amounts]) -> Amounts:
    """The sum of what is known; a unit in which no part is known stays unknown."""
    whole = UNKNOWN
    for part in parts:
        whole = whole.plus(part)
    return whole


def _known_sum(mine: int | None, theirs: int | None) -> int | None:
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    return mine + theirs
